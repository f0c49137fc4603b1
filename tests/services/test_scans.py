"""Scanning: uploads before they are stored, and stored files periodically."""

import asyncio
import dataclasses
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.stored_state import NOTHING_STORED, audited, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.fixtures.callers import CustomerClients
from tests.fixtures.clamd import MISBEHAVIOURS, FakeClamd, read_stream
from tests.fixtures.seaweedfs import BUCKET, S3Server

from docvault.errors import ScannerUnavailable, StorageUnavailable
from docvault.observability import metrics
from docvault.scanning import clamd as client
from docvault.services import scans as module
from docvault.services.previews import render_version
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.services.scans import rescan
from docvault.settings import Settings

PATH = "/v1/customer/documents/letter"
ADMIN_PATH = "/v1/admin/customers/c-1/documents/letter"
KEY_PATH = "/v1/integration/customers/c-1/documents/letter"
NAME = "Docvault.Eicar.UNOFFICIAL"
INFECTED = b"Dear all, " + files.EICAR + b"\n"
CLEAN = b"Dear all, hello\n"
_PREFIXES = count()


@pytest.fixture
def settings(tmp_path: Path, clamd: FakeClamd) -> Settings:
    return Settings(data_dir=tmp_path / "data", clamd_url=clamd.address)


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """The customer c-1, with a required letter of up to three files."""
    await make_type(admin, "Letter", upload_mode="required", max_files=3)
    await make_type(admin, "Photo")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def letter(body: bytes = CLEAN) -> dict[str, Any]:
    return upload_of(body, "letter.txt")


def pages(*bodies: bytes) -> dict[str, Any]:
    return {"files": [("file", (f"{n}.txt", body)) for n, body in enumerate(bodies)]}


async def scan_of(client: httpx.AsyncClient, document: str = PATH) -> list[str]:
    """Return the scan states of a document's files."""
    return [file["scan"] for file in (await client.get(document)).json()["files"]]


async def rows(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def counted(kind: str, result: str) -> float:
    labels = {"kind": kind, "result": result}
    return metrics.REGISTRY.get_sample_value("docvault_scans_total", labels) or 0


class TestUploads:
    """Scans of uploads, before anything is stored."""

    async def test_clean_file_is_stored_and_marked(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        assert (await customer.put(PATH, **letter())).status_code == 201
        assert await scan_of(customer) == ["clean"]
        assert clamd.scanned == [CLEAN]
        assert await rows(resources, "SELECT scanned_with FROM document_files") == [
            (clamd.version,)
        ]

    async def test_infected_file_is_rejected_and_not_kept(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        before = counted("upload", "infected")
        response = await customer.put(PATH, **letter(INFECTED))
        assert refusal(response) == (422, "malware-detected", "/file")
        assert await stored_state(resources) == NOTHING_STORED
        assert counted("upload", "infected") == before + 1

    async def test_signature_is_hidden_from_sender_and_shown_to_operators(
        self, customer: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            response = await customer.put(PATH, **letter(INFECTED))
        assert "eicar" not in response.text.lower()
        assert [record.malware for record in caplog.records if hasattr(record, "malware")] == [NAME]

    async def test_infected_upload_is_audited(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await customer.put(PATH, **letter(INFECTED))
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["customer"], event["document_type"]) == (
            "denied",
            "c-1",
            "letter",
        )

    async def test_infected_replacement_keeps_document(self, customer: httpx.AsyncClient) -> None:
        await customer.put(PATH, **letter())
        before = (await customer.get(PATH)).json()
        assert (await customer.put(PATH, **letter(INFECTED))).status_code == 422
        assert (await customer.get(PATH)).json() == before
        assert (await customer.get(f"{PATH}/content")).content == CLEAN

    async def test_one_infected_file_rejects_all(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.put(PATH, **pages(CLEAN, INFECTED, CLEAN))
        assert refusal(response) == (422, "malware-detected", "/file")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_file_of_rejected_type_is_not_scanned(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        response = await customer.put(PATH, **pages(CLEAN, files.executable()))
        assert response.status_code == 415
        assert clamd.scanned == []

    async def test_staff_and_integration_uploads_are_scanned(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
    ) -> None:
        del customer
        for client_, document in ((admin, ADMIN_PATH), (integration, KEY_PATH)):
            assert (await client_.put(document, **letter(INFECTED))).status_code == 422

    async def test_batch_items_are_scanned(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [{"key": "letter", "files": [0]}, {"key": "photo", "files": [1]}]
        response = await customer.post(
            "/v1/customer/document-batches",
            files=[
                ("batch", (None, json.dumps({"items": items}))),
                ("files", ("a.txt", INFECTED)),
                ("files", ("b.txt", CLEAN)),
            ],
        )
        assert response.status_code == 207
        results = response.json()["items"]
        assert [result["status"] for result in results] == [422, 201]
        assert results[0]["problem"]["code"] == "malware-detected"
        assert results[1]["document"]["files"][0]["scan"] == "clean"
        assert (await stored_state(resources)).versions == 1
        denied, stored = sorted(
            await audited(admin, "document.upload"), key=lambda event: event["document_type"]
        )
        assert (denied["result"], stored["result"]) == ("denied", "ok")

    async def test_copy_is_scanned(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        clamd.pattern = None
        await customer.put(PATH, **letter(INFECTED))
        clamd.pattern = files.EICAR
        copy = "/v1/admin/customers/c-1/documents/photo/copy"
        response = await admin.post(copy, json={"from": {"key": "letter"}})
        assert refusal(response) == (422, "malware-detected", "/from")


class TestFailingScanner:
    """Uploads while the scanner fails."""

    @pytest.fixture(autouse=True)
    def _time_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SCAN_SECONDS", 0.5)

    @pytest.mark.parametrize("name", MISBEHAVIOURS)
    async def test_misbehaving_scanner_stores_nothing(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources, name: str
    ) -> None:
        clamd.instead = MISBEHAVIOURS[name]
        response = await customer.put(PATH, **letter(b"x" * 4_000_000))
        assert refusal(response)[:2] == (503, "scanner-unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert await stored_state(resources) == NOTHING_STORED

    async def test_request_succeeds_after_scanner_recovers(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await clamd.stop()
        headers = {"Idempotency-Key": "letter-1"}
        assert (await customer.put(PATH, **letter(), headers=headers)).status_code == 503
        await clamd.start()
        assert (await customer.put(PATH, **letter(), headers=headers)).status_code == 201
        assert await scan_of(customer) == ["clean"]

    async def test_other_operations_keep_working(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await customer.put(PATH, **letter())
        await clamd.stop()
        assert (await customer.get(f"{PATH}/content")).content == CLEAN
        assert (await customer.get(PATH)).status_code == 200

    async def test_repeated_batch_saves_only_remaining_items(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        items = [{"key": "letter", "files": [0]}, {"key": "photo", "files": [1]}]
        body: list[Any] = [
            ("batch", (None, json.dumps({"items": items}))),
            ("files", ("a.txt", CLEAN)),
            ("files", ("b.txt", b"second")),
        ]

        async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if b"".join(await read_stream(reader)) == CLEAN:
                writer.write(b"stream: OK\0")

        clamd.instead = first_only
        headers = {"Idempotency-Key": "batch-1"}
        path = "/v1/customer/document-batches"
        response = await customer.post(path, files=body, headers=headers)
        assert [item["status"] for item in response.json()["items"]] == [201, 503]
        assert response.json()["items"][1]["problem"]["code"] == "scanner-unavailable"
        clamd.instead = None
        response = await customer.post(path, files=body, headers=headers)
        assert [item["status"] for item in response.json()["items"]] == [201, 201]
        assert (await stored_state(resources)).versions == 2


class TestReadiness:
    """GET /readyz."""

    @pytest.fixture(autouse=True)
    def _no_cached_check(self, app: FastAPI) -> None:
        app.state._state.pop("scanner_checked_at", None)

    async def test_unresponsive_scanner_is_not_ready(
        self, http: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await clamd.stop()
        assert refusal(await http.get("/readyz"))[:2] == (503, "scanner-unavailable")
        await clamd.start()
        assert (await http.get("/readyz")).status_code == 200

    async def test_scanner_check_is_cached(self, http: httpx.AsyncClient, clamd: FakeClamd) -> None:
        assert (await http.get("/readyz")).status_code == 200
        await clamd.stop()
        assert (await http.get("/readyz")).status_code == 200


class TestUploadSessions:
    """Bytes sent to a signed URL are scanned when the session is completed."""

    @pytest.fixture(params=["filesystem", "s3"])
    def settings(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        clamd: FakeClamd,
    ) -> Settings:
        if request.param == "filesystem":
            return Settings(data_dir=tmp_path / "data", clamd_url=clamd.address)
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        return Settings(
            data_dir=tmp_path / "data",
            clamd_url=clamd.address,
            storage_url=f"s3://{BUCKET}/scans-{next(_PREFIXES)}",
        )

    @pytest.fixture
    def send(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> Callable[[bytes], Awaitable[str]]:
        async def send(body: bytes) -> str:
            digest = hashlib.sha256(body).hexdigest()
            data = {"filename": "letter.txt", "size_bytes": len(body), "sha256": digest}
            response = await customer.post(f"{PATH}/uploads", json=data)
            session = response.json()
            assert (await send_bytes(http, session, body)).is_success
            return f"{PATH}/uploads/{session['id']}"

        return send

    async def test_clean_file_is_attached(
        self,
        customer: httpx.AsyncClient,
        clamd: FakeClamd,
        send: Callable[[bytes], Awaitable[str]],
    ) -> None:
        path = await send(CLEAN)
        assert clamd.scanned == []
        assert (await customer.post(f"{path}/complete")).status_code == 201
        assert await scan_of(customer) == ["clean"]
        assert clamd.scanned == [CLEAN]

    async def test_infected_bytes_end_session_and_are_deleted(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        send: Callable[[bytes], Awaitable[str]],
    ) -> None:
        path = await send(INFECTED)
        response = await customer.post(f"{path}/complete")
        assert refusal(response)[:2] == (422, "malware-detected")
        # Other signatures could accept the bytes, but completion cannot be retried.
        clamd.pattern = None
        assert (await customer.post(f"{path}/complete")).status_code == 404
        assert (await customer.get(PATH)).json()["upload_state"] == "missing"
        events = await audited(admin, "document.upload")
        assert [event["result"] for event in events] == ["denied"]
        await rows(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")
        await reap(resources)
        assert await stored_state(resources) == NOTHING_STORED

    async def test_session_stays_open_without_verdict(
        self,
        customer: httpx.AsyncClient,
        clamd: FakeClamd,
        send: Callable[[bytes], Awaitable[str]],
    ) -> None:
        path = await send(CLEAN)
        clamd.instead = MISBEHAVIOURS["has an error"]
        response = await customer.post(f"{path}/complete")
        assert refusal(response)[:2] == (503, "scanner-unavailable")
        clamd.instead = None
        assert (await customer.post(f"{path}/complete")).status_code == 201


@pytest.fixture
async def infected_later(
    customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
) -> None:
    """A stored letter that new signatures detect."""
    clamd.pattern = None
    assert (await customer.put(PATH, **letter(INFECTED))).status_code == 201
    clamd.pattern = files.EICAR
    clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"
    assert await rescan(resources) is False


@pytest.mark.usefixtures("infected_later")
class TestQuarantine:
    """A stored file that is found infected."""

    @pytest.mark.parametrize("end", ["content", "content?disposition=inline", "preview"])
    async def test_quarantined_bytes_are_not_served(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        end: str,
    ) -> None:
        for client_, document in ((customer, PATH), (admin, ADMIN_PATH), (integration, KEY_PATH)):
            if client_ is integration and end == "preview":
                continue  # third parties have no previews
            response = await client_.get(f"{document}/{end}")
            assert refusal(response)[:2] == (409, "document-quarantined"), document
            assert files.EICAR not in response.content

    async def test_quarantined_version_range_and_condition_are_not_served(
        self, admin: httpx.AsyncClient
    ) -> None:
        digest = hashlib.sha256(INFECTED).hexdigest()
        for headers in ({}, {"Range": "bytes=0-3"}, {"If-None-Match": f'"{digest}"'}):
            response = await admin.get(f"{ADMIN_PATH}/content?version=1", headers=headers)
            assert response.status_code == 409
        assert (await admin.head(f"{ADMIN_PATH}/content")).status_code == 409

    async def test_quarantined_file_is_not_copied(self, admin: httpx.AsyncClient) -> None:
        copy = "/v1/admin/customers/c-1/documents/photo/copy"
        response = await admin.post(copy, json={"from": {"key": "letter"}})
        assert refusal(response)[:2] == (409, "document-quarantined")

    async def test_document_shows_quarantine(self, customer: httpx.AsyncClient) -> None:
        assert await scan_of(customer) == ["infected"]

    async def test_quarantined_image_has_no_preview(
        self, customer: httpx.AsyncClient, resources: Resources, clamd: FakeClamd
    ) -> None:
        await customer.put(PATH, **upload_of(files.png(), "a.png"))
        assert (await customer.get(PATH)).json()["files"][0]["has_preview"] is True
        clamd.pattern = files.png()
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        await rescan(resources)
        assert (await customer.get(PATH)).json()["files"][0]["has_preview"] is False
        ((version_id,),) = await rows(
            resources, "SELECT id FROM document_versions WHERE number = 2"
        )
        await render_version(resources, version_id)
        assert await rows(resources, "SELECT * FROM previews") == []

    async def test_quarantined_document_counts_for_gate(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        document = (await customer.get(PATH)).json()
        assert (document["upload_state"], document["status"]) == ("uploaded", "accepted")
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"

    async def test_quarantine_is_audited_as_system(self, admin: httpx.AsyncClient) -> None:
        (event,) = await audited(admin, "document.quarantine")
        assert event["actor"] == {"kind": "system", "id": "docvault"}
        assert (event["customer"], event["document_type"], event["version"]) == ("c-1", "letter", 1)
        assert event["changes"] == {"files/1/scan": {"old": "clean", "new": "infected"}}

    @pytest.mark.parametrize("who", ["customer", "staff"])
    async def test_quarantined_document_can_be_replaced(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, who: str
    ) -> None:
        client_, document = (customer, PATH) if who == "customer" else (admin, ADMIN_PATH)
        assert (await client_.put(document, **letter())).status_code == 200
        assert (await client_.get(f"{document}/content")).content == CLEAN
        # The previous version stays quarantined.
        assert (await admin.get(f"{ADMIN_PATH}/content?version=1")).status_code == 409

    async def test_quarantined_document_can_be_deleted_and_is_due_again(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await admin.delete(ADMIN_PATH)).status_code == 204
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        assert await stored_state(resources) == NOTHING_STORED

    async def test_later_clean_scan_lifts_quarantine(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        clamd: FakeClamd,
        resources: Resources,
    ) -> None:
        clamd.pattern = None
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        await rescan(resources)
        assert await scan_of(customer) == ["clean"]
        assert (await customer.get(f"{PATH}/content")).content == INFECTED
        (event,) = await audited(admin, "document.release")
        assert event["changes"] == {"files/1/scan": {"old": "infected", "new": "clean"}}

    async def test_scan_without_verdict_keeps_quarantine(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        clamd.instead = MISBEHAVIOURS["has an error"]
        await rescan(resources)
        assert await scan_of(customer) == ["infected"]

    async def test_repeated_detection_is_audited_once(
        self, admin: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        await rescan(resources)
        assert len(await audited(admin, "document.quarantine")) == 1


class TestRescan:
    """Rescans of stored files."""

    @pytest.fixture
    async def stored(self, customer: httpx.AsyncClient, clamd: FakeClamd) -> list[bytes]:
        """Five files, oldest first; clamd has forgotten their uploads."""
        bodies = [f"page {number}\n".encode() for number in range(5)]
        await customer.put(PATH, **pages(*bodies[:3]))
        await customer.put(PATH, **pages(*bodies[3:]))
        clamd.streams.clear()
        clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"
        return bodies

    async def test_new_signatures_rescan_newest_first(
        self, resources: Resources, clamd: FakeClamd, stored: list[bytes]
    ) -> None:
        assert await rescan(resources) is False
        assert clamd.scanned == stored[::-1]
        assert set(await rows(resources, "SELECT scan, scanned_with FROM document_files")) == {
            ("clean", clamd.version)
        }

    @pytest.mark.usefixtures("stored")
    async def test_same_signatures_rescan_nothing(
        self, resources: Resources, clamd: FakeClamd
    ) -> None:
        await rescan(resources)
        clamd.streams.clear()
        await rescan(resources)
        assert clamd.scanned == []

    async def test_each_run_is_bounded_and_continues(
        self,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "RUN_SECONDS", 0)
        monkeypatch.setattr(module, "WINDOW", 2)
        for number in range(1, 6):
            assert await rescan(resources) is True
            assert clamd.scanned == stored[: -number - 1 : -1]
        while await rescan(resources):
            pass
        assert len(clamd.scanned) == 5

    async def test_signature_change_during_pass_does_not_restart_it(
        self,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "RUN_SECONDS", 0)
        await rescan(resources)
        await rescan(resources)
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        monkeypatch.setattr(module, "RUN_SECONDS", 10)
        await rescan(resources)
        assert clamd.scanned == stored[::-1]
        # The next pass scans only the files that had the previous signatures.
        await rescan(resources)
        assert clamd.scanned[5:] == stored[:2:-1]

    async def test_daily_pass_repeats_files_without_verdict(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
    ) -> None:
        clamd.instead = MISBEHAVIOURS["has an error"]
        await rescan(resources)
        assert await scan_of(customer) == ["error", "error"]
        assert (await customer.get(f"{PATH}/content")).content == stored[3]
        clamd.instead = None
        await rescan(resources)
        assert clamd.scanned == []
        await rows(resources, "UPDATE scan_passes SET began_at = now() - interval '25 hours'")
        await rescan(resources)
        assert clamd.scanned == stored[::-1]
        assert await scan_of(customer) == ["clean", "clean"]

    async def test_files_older_than_scanner_are_scanned(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(PATH, **letter())
        await rows(
            resources, "UPDATE document_files SET scan = 'not_configured', scanned_with = NULL"
        )
        assert await scan_of(customer) == ["not_configured"]
        await rescan(resources)
        assert await scan_of(customer) == ["clean"]

    @pytest.mark.usefixtures("stored")
    async def test_rescan_without_scanner_does_nothing(self, resources: Resources) -> None:
        assert await rescan(dataclasses.replace(resources, scanner=None)) is False
        assert await rows(resources, "SELECT count(*) FROM scan_passes") == [(0,)]

    async def test_verdicts_are_kept_while_scanner_is_down(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
    ) -> None:
        await clamd.stop()
        for _ in range(3):
            with pytest.raises(ScannerUnavailable):
                await rescan(resources)
        assert await scan_of(customer) == ["clean", "clean"]
        await clamd.start()
        await rescan(resources)
        assert clamd.scanned == stored[::-1]

    async def test_file_crashing_scanner_is_skipped(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
    ) -> None:
        async def crash(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if b"".join(await read_stream(reader)) != stored[4]:
                writer.write(b"stream: OK\0")

        clamd.instead = crash
        with pytest.raises(ScannerUnavailable):
            await rescan(resources)
        assert await rescan(resources) is False
        assert await scan_of(customer) == ["clean", "error"]

    @pytest.mark.usefixtures("stored")
    async def test_missing_bytes_have_no_verdict(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        ((key,),) = await rows(
            resources,
            "SELECT key FROM blobs JOIN document_files f ON f.blob_id = blobs.id"
            " ORDER BY f.id DESC LIMIT 1",
        )
        await resources.store.delete(key)
        assert await rescan(resources) is False
        assert await scan_of(customer) == ["clean", "error"]

    @pytest.mark.usefixtures("stored")
    async def test_unavailable_store_ends_run(
        self,
        resources: Resources,
        clamd: FakeClamd,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fail() -> None:
            raise StorageUnavailable

        monkeypatch.setattr(resources.store, "check", fail)
        with pytest.raises(StorageUnavailable):
            await rescan(resources)
        assert clamd.scanned == []

    @pytest.mark.usefixtures("stored")
    async def test_concurrently_deleted_file_is_not_a_failure(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
    ) -> None:
        async def delete(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_stream(reader)
            await admin.delete(ADMIN_PATH)
            writer.write(b"stream: Eicar FOUND\0")

        clamd.instead = delete
        assert await rescan(resources) is False
        assert await audited(admin, "document.quarantine") == []

    @pytest.mark.usefixtures("stored")
    async def test_nothing_is_written_for_concurrently_erased_customer(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
    ) -> None:
        async def erase(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_stream(reader)
            await admin.delete("/v1/admin/customers/c-1")
            writer.write(b"stream: Eicar FOUND\0")

        clamd.instead = erase
        await rescan(resources)
        assert await audited(admin, "document.quarantine") == []
        assert await rows(resources, "SELECT * FROM audit_details WHERE customer = 'c-1'") == []

    async def test_rescans_are_counted_separately(
        self, resources: Resources, stored: list[bytes]
    ) -> None:
        before = counted("rescan", "clean"), counted("upload", "clean")
        await rescan(resources)
        assert counted("rescan", "clean") == before[0] + len(stored)
        assert counted("upload", "clean") == before[1]


def test_time_limit_grows_with_stored_size() -> None:
    class Reader:
        size_bytes = 5 << 30
        sha256 = None

        def chunks(self, *_: int) -> None:
            return None

    _, seconds = module._stored_bytes(Reader())  # type: ignore[arg-type]
    assert seconds == client.SCAN_SECONDS + 5 * 1024 / 4
