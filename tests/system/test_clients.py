"""Clients that people generate from the contracts compile strictly, and work with the service.

The programs are in the directory `clients`, one for each generator and API. Those of openapi-fetch
and openapi-python-client use the packages that docvault offers, as built by these generators.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.fixtures.pages import program_of
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.fixtures.workshop import AUDIENCES, OPENAPI, ROOT, Workshop, run

from docvault.api.openapi.webhook_message_examples import example_of_message
from docvault.domain.events import EventType
from docvault.webhooks.signatures import new_ed25519_key, new_hmac_secret, public_key_of, sign

PROGRAMS = Path(__file__).with_name("clients")
PAGE = ROOT / "docs" / "how-to" / "follow-the-feed.md"
TYPESCRIPT = ("openapi-fetch", "hey-api", "orval")
SCOPES = ["customers:write", "documents:read", "documents:write", "content:read"]
FEED_SCOPES = ["customers:read", "customers:write", "events:read"]
DOCUMENT_TYPES = (
    {
        "name": "Card",
        "key": "card",
        "accepted_media_types": ["image/jpeg"],
        "collects_fields": True,
        "fields": [{"label": "Date of issue"}],
    },
    {"name": "Letter", "key": "letter", "accepted_media_types": ["text/plain"]},
)

pytestmark = [pytest.mark.system, pytest.mark.req("B-141")]

each_audience = pytest.mark.parametrize("audience", AUDIENCES)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service with two document types."""

    server: RunningServer
    admin: httpx.Client

    def environment(self, audience: str, tool: str) -> dict[str, str]:
        """Return what a program is given; each has a customer of its own."""
        customer = f"c-{audience}-{tool}"
        return {
            "DOCVAULT_URL": self.server.url,
            "DOCVAULT_CREDENTIAL": self._credential(audience, customer),
            "CUSTOMER_ID": customer,
            "PHOTO": base64.b64encode(files.jpeg()).decode(),
        }

    def feed_environment(self, tool: str) -> dict[str, str]:
        """Return what a program is given that follows the feed and verifies webhooks."""
        return {
            "DOCVAULT_URL": self.server.url,
            "DOCVAULT_CREDENTIAL": self.create_key(FEED_SCOPES),
            "CUSTOMER_ID": f"c-feed-{tool}",
            "PHOTO": base64.b64encode(files.jpeg()).decode(),
            "MESSAGES": json.dumps(list(messages())),
        }

    def create_key(self, scopes: list[str]) -> str:
        """Return a new API key."""
        key = {"name": "program", "scopes": scopes}
        return str(self.admin.post("/v1/admin/api-keys", json=key).json()["key"])

    def _credential(self, audience: str, customer: str) -> str:
        if audience == "integration":
            return self.create_key(SCOPES)
        if audience == "customer":
            registered = self.admin.put(f"/v1/admin/customers/{customer}", json={})
            assert registered.status_code == 201, registered.text
            return printed(self.server, "token", "customer", customer)
        return printed(self.server, "token", "admin")


def messages() -> Iterator[dict[str, Any]]:
    """Yield messages of webhooks that have to be accepted, or refused."""
    body = json.dumps(example_of_message(EventType.CUSTOMER_UPDATED), separators=(",", ":"))
    secret, private = new_hmac_secret(), new_ed25519_key()
    public, now = public_key_of(private), int(time.time())

    def make(name: str, key: str, signatures: str, at: int = now, **changes: Any) -> dict[str, Any]:
        headers = {"webhook-id": "1", "webhook-timestamp": str(at), "webhook-signature": signatures}
        made = {"name": name, "body": body, "headers": headers, "secret": key, "valid": False}
        return made | changes

    def signed(key: str, at: int = now) -> str:
        return sign(key, "1", at, body.encode())

    other = new_hmac_secret()
    yield make("hmac", secret, signed(secret), valid=True)
    yield make("ed25519", public, signed(private), valid=True)
    yield make("during a rotation", secret, f"{signed(other)} {signed(secret)}", valid=True)
    yield make("nearly old", secret, signed(secret, now - 240), now - 240, valid=True)
    for name, key, private_key in (("hmac", secret, secret), ("ed25519", public, private)):
        good = signed(private_key)
        yield make(f"{name}, another body", key, good, body=f"{body} ")
        yield make(f"{name}, another time", key, good, now - 1)
        yield make(f"{name}, old", key, signed(private_key, now - 360), now - 360)
        yield make(f"{name}, from the future", key, signed(private_key, now + 360), now + 360)
        yield make(f"{name}, of another version", key, f"v2,{good.partition(',')[2]}")
        yield make(f"{name}, cut off", key, good[:-4])
    yield make("another secret", other, signed(secret))
    yield make("another public key", public_key_of(new_ed25519_key()), signed(private))
    for name, signatures in (("none", ""), ("no version", "AAAA"), ("no base64", "v1,%% v1a,%%")):
        yield make(name, secret, signatures)
    yield make("no timestamp", secret, signed(secret)) | {"headers": {"webhook-id": "1"}}


def printed(server: RunningServer, *arguments: str) -> str:
    """Return the last line that a command prints."""
    command = [DOCVAULT, *arguments]
    return subprocess.check_output(command, env=server.environment, text=True).splitlines()[-1]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_server(folder / "data") as server:
        headers = {"Authorization": f"Bearer {printed(server, 'token', 'admin')}"}
        with httpx.Client(base_url=server.url, headers=headers) as admin:
            for document_type in DOCUMENT_TYPES:
                created = admin.post("/v1/admin/document-types", json=document_type)
                assert created.status_code == 201, created.text
            yield Service(server, admin)


@pytest.fixture(scope="module")
def programs(workshop: Workshop, typescript_package: Path) -> Path:
    """Return the programs, with what hey-api and orval generate."""
    assert (typescript_package / "dist" / "index.js").exists()
    folder = workshop.folder / "clients"
    shutil.copytree(PROGRAMS, folder)
    modules = workshop.modules
    contracts = {"DOCVAULT_CONTRACTS": str(OPENAPI)}
    hey_api = modules / "@hey-api" / "openapi-ts" / "bin" / "run.js"
    workshop.node(hey_api, "-f", "clients/hey-api/openapi-ts.config.mjs", variables=contracts)
    orval = modules / "orval" / "dist" / "bin" / "orval.mjs"
    workshop.node(orval, "--config", "clients/orval/orval.config.mjs", variables=contracts)
    return folder


def test_typescript_programs_compile(workshop: Workshop, programs: Path) -> None:
    workshop.node("node_modules/typescript/bin/tsc", "--pretty", "false", "-p", programs)


@each_audience
@pytest.mark.parametrize("tool", TYPESCRIPT)
def test_typescript_program_runs(
    workshop: Workshop, programs: Path, service: Service, tool: str, audience: str
) -> None:
    run_typescript(
        workshop, programs / tool / f"{audience}.ts", service.environment(audience, tool)
    )


def run_typescript(workshop: Workshop, source: Path, variables: Mapping[str, str]) -> None:
    """Bundle a program with the packages that it imports, and run it."""
    bundle = source.with_suffix(".mjs")
    esbuild = workshop.modules / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--format=esm", "--platform=node", "--log-level=warning")
    workshop.node(esbuild, source, *options, f"--outfile={bundle}")
    workshop.node(bundle, variables=variables)


@pytest.mark.req("B-256", "B-257")
def test_typescript_package_follows_feed_and_verifies_webhooks(
    workshop: Workshop, programs: Path, service: Service
) -> None:
    program = programs / "openapi-fetch" / "feed.ts"
    run_typescript(workshop, program, service.feed_environment("typescript"))


def test_python_programs_and_package_have_strict_types(
    client_python: Path, checkout: Path, tmp_path: Path
) -> None:
    package = checkout / "clients" / "python" / "src"
    run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}",
        f"--python-executable={client_python}", package / "docvault_client",
        *sorted((PROGRAMS / "python").glob("*.py")),
        cwd=tmp_path, variables={"MYPYPATH": f"{package}:{PROGRAMS / 'python'}"},
    )  # fmt: skip


@each_audience
def test_python_program_runs(
    client_python: Path, service: Service, audience: str, tmp_path: Path
) -> None:
    program = PROGRAMS / "python" / f"{audience}.py"
    run(client_python, program, cwd=tmp_path, variables=service.environment(audience, "python"))


@pytest.mark.req("B-256", "B-257")
def test_python_package_follows_feed_and_verifies_webhooks(
    client_python: Path, service: Service, tmp_path: Path
) -> None:
    program = PROGRAMS / "python" / "feed.py"
    run(client_python, program, cwd=tmp_path, variables=service.feed_environment("python"))


@pytest.mark.req("B-256")
def test_program_of_the_page_prints_what_happens(
    client_python: Path, service: Service, tmp_path: Path
) -> None:
    key = service.create_key(FEED_SCOPES)
    environment = {**os.environ, "DOCVAULT_URL": service.server.url, "DOCVAULT_KEY": key}
    output = tmp_path / "output"
    for customer in ("c-page-1", "c-page-2"):
        with output.open("w") as file:
            command = [str(client_python), "-u", "-c", program_of(PAGE, "python package")]
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file)
        try:
            wait_for(tmp_path / "after.txt", "-")
            service.admin.put(f"/v1/admin/customers/{customer}", json={})
            wait_for(output, f"customer.created {customer}")
        finally:
            process.kill()
            process.wait()


def wait_for(path: Path, text: str) -> None:
    """Wait until a file exists and has a text."""
    deadline = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
