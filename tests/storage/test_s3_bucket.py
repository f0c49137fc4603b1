"""Creating the bucket of a new deployment."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import boto3
import pytest
from tests.fixtures.seaweedfs import S3Server

from docvault.errors import StorageUnavailable
from docvault.settings import Settings
from docvault.storage import s3_bucket
from docvault.storage.s3_bucket import create_bucket


@pytest.fixture
def server(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A store that reports whose buckets are whose; commands have its credentials."""
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3_bucket, "TRY_SECONDS", 0)
    # It would keep the credentials of another test.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return moto_server


def settings_for(bucket: str) -> Settings:
    return Settings.model_validate({"storage_url": f"s3://{bucket}/documents"})


def region_of(server: S3Server, bucket: str) -> str | None:
    region: str | None = server.client().get_bucket_location(Bucket=bucket)["LocationConstraint"]
    return region


def test_bucket_is_created_once(server: S3Server) -> None:
    for _ in range(2):
        create_bucket(settings_for("created-once"))
    server.client().head_bucket(Bucket="created-once")


def test_bucket_of_aws_is_created_in_own_region(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # boto's own variable: docvault takes the store for that of AWS.
    monkeypatch.delenv("DOCVAULT_S3_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint_url)
    for region in ("eu-central-1", "us-east-1"):
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        create_bucket(settings_for(f"in-{region}"))
    assert region_of(server, "in-eu-central-1") == "eu-central-1"
    assert region_of(server, "in-us-east-1") is None


class SomebodyElses(BaseHTTPRequestHandler):
    """What AWS responds for a bucket of another account; there is none to try it with."""

    def do_PUT(self) -> None:
        self._respond(409, b"<Error><Code>BucketAlreadyExists</Code></Error>")

    def do_HEAD(self) -> None:
        self._respond(403, b"")

    def _respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_bucket_of_another_account_is_refused(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    with HTTPServer(("127.0.0.1", 0), SomebodyElses) as others:
        Thread(target=others.serve_forever, args=(0.1,), daemon=True).start()
        url = f"http://127.0.0.1:{others.server_port}"
        monkeypatch.setenv("DOCVAULT_S3_ENDPOINT_URL", url)
        with pytest.raises(StorageUnavailable) as caught:
            create_bucket(settings_for("of-others"))
        others.shutdown()
    assert caught.value.cause is not None
    assert "403" in caught.value.cause


def test_store_that_does_not_respond_is_reported_with_cause(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    monkeypatch.setenv("DOCVAULT_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageUnavailable) as caught:
        create_bucket(settings_for("unreachable"))
    assert caught.value.cause is not None
