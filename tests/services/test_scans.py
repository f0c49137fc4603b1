"""Scanning: what is uploaded before it is stored, and what is stored again and again."""

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
from tests.api.holdings import NOTHING, audited, holdings, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.clamd import MISBEHAVIOURS, FakeClamd, read_stream
from tests.fixtures.storage import BUCKET, S3Server

from docvault import metrics
from docvault.errors import ScannerUnavailable, StorageUnavailable
from docvault.scanning import clamd as client
from docvault.services import scans as module
from docvault.services.blobs import reap
from docvault.services.previews import render_version
from docvault.services.resources import Resources
from docvault.services.scans import rescan
from docvault.settings import Settings

SLOT = "/v1/customer/documents/letter"
ADMIN_SLOT = "/v1/admin/customers/c-1/documents/letter"
KEY_SLOT = "/v1/integration/customers/c-1/documents/letter"
NAME = "Docvault.Eicar.UNOFFICIAL"
INFECTED = b"Dear all, " + files.EICAR + b"\n"
CLEAN = b"Dear all, hello\n"
_PREFIXES = count()


@pytest.fixture
def settings(tmp_path: Path, clamd: FakeClamd) -> Settings:
    return Settings(data_dir=tmp_path / "data", clamd=clamd.address)


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """The customer c-1, who owes a letter of up to three pages."""
    await make_type(admin, "Letter", upload_mode="required", max_files=3)
    await make_type(admin, "Photo")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def letter(body: bytes = CLEAN) -> dict[str, Any]:
    return upload_of(body, "letter.txt")


def pages(*bodies: bytes) -> dict[str, Any]:
    return {"files": [("file", (f"{n}.txt", body)) for n, body in enumerate(bodies)]}


async def scan_of(client: httpx.AsyncClient, slot: str = SLOT) -> list[str]:
    """What the files of a document say of their scans."""
    return [file["scan"] for file in (await client.get(slot)).json()["files"]]


async def rows(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def counted(kind: str, result: str) -> float:
    labels = {"kind": kind, "result": result}
    return metrics.REGISTRY.get_sample_value("docvault_scans_total", labels) or 0


class TestUploads:
    """Before anything is stored."""

    async def test_what_is_clean_is_stored_and_says_so(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        assert (await customer.put(SLOT, **letter())).status_code == 201
        assert await scan_of(customer) == ["clean"]
        assert clamd.scanned == [CLEAN]
        assert await rows(resources, "SELECT scanned_with FROM document_files") == [
            (clamd.version,)
        ]

    async def test_what_is_infected_is_refused_and_nothing_of_it_is_kept(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        before = counted("upload", "infected")
        answer = await customer.put(SLOT, **letter(INFECTED))
        assert refusal(answer) == (422, "malware-detected", "/file")
        assert await holdings(resources) == NOTHING
        assert counted("upload", "infected") == before + 1

    async def test_the_sender_is_not_told_what_was_found_but_operators_are(
        self, customer: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            answer = await customer.put(SLOT, **letter(INFECTED))
        assert "eicar" not in answer.text.lower()
        assert [record.malware for record in caplog.records if hasattr(record, "malware")] == [NAME]

    async def test_the_attempt_is_in_the_audit_trail(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await customer.put(SLOT, **letter(INFECTED))
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["customer"], event["document_type"]) == (
            "denied",
            "c-1",
            "letter",
        )

    async def test_an_infected_replacement_leaves_the_document_as_it_was(
        self, customer: httpx.AsyncClient
    ) -> None:
        await customer.put(SLOT, **letter())
        before = (await customer.get(SLOT)).json()
        assert (await customer.put(SLOT, **letter(INFECTED))).status_code == 422
        assert (await customer.get(SLOT)).json() == before
        assert (await customer.get(f"{SLOT}/content")).content == CLEAN

    async def test_one_infected_page_refuses_all(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        answer = await customer.put(SLOT, **pages(CLEAN, INFECTED, CLEAN))
        assert refusal(answer) == (422, "malware-detected", "/file")
        assert await holdings(resources) == NOTHING

    async def test_what_is_refused_for_its_type_is_not_scanned(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        answer = await customer.put(SLOT, **pages(CLEAN, files.executable()))
        assert answer.status_code == 415
        assert clamd.scanned == []

    async def test_staff_and_third_parties_are_scanned_too(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
    ) -> None:
        del customer
        for client_, slot in ((admin, ADMIN_SLOT), (integration, KEY_SLOT)):
            assert (await client_.put(slot, **letter(INFECTED))).status_code == 422

    async def test_items_of_a_batch_are_scanned_each(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [{"key": "letter", "files": ["a"]}, {"key": "photo", "files": ["b"]}]
        answer = await customer.post(
            "/v1/customer/document-batches",
            files=[
                ("items", (None, json.dumps(items))),
                ("a", ("a.txt", INFECTED)),
                ("b", ("b.txt", CLEAN)),
            ],
        )
        assert answer.status_code == 207
        results = answer.json()["items"]
        assert [result["status"] for result in results] == [422, 201]
        assert results[0]["problem"]["code"] == "malware-detected"
        assert results[1]["document"]["files"][0]["scan"] == "clean"
        assert (await holdings(resources)).versions == 1
        denied, stored = sorted(
            await audited(admin, "document.upload"), key=lambda event: event["document_type"]
        )
        assert (denied["result"], stored["result"]) == ("denied", "ok")

    async def test_a_copy_is_scanned_as_if_it_were_sent(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        clamd.pattern = None
        await customer.put(SLOT, **letter(INFECTED))
        clamd.pattern = files.EICAR
        copy = "/v1/admin/customers/c-1/documents/photo/copy"
        answer = await admin.post(copy, json={"from": {"key": "letter"}})
        assert refusal(answer) == (422, "malware-detected", "/from")


class TestFailingScanner:
    """An upload fails with the scanner."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SCAN_SECONDS", 0.5)

    @pytest.mark.parametrize("name", MISBEHAVIOURS)
    async def test_no_misbehaviour_stores_anything(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources, name: str
    ) -> None:
        clamd.instead = MISBEHAVIOURS[name]
        answer = await customer.put(SLOT, **letter(b"x" * 4_000_000))
        assert refusal(answer)[:2] == (503, "scanner-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert await holdings(resources) == NOTHING

    async def test_the_same_request_succeeds_once_the_scanner_is_back(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await clamd.stop()
        headers = {"Idempotency-Key": "letter-1"}
        assert (await customer.put(SLOT, **letter(), headers=headers)).status_code == 503
        await clamd.start()
        assert (await customer.put(SLOT, **letter(), headers=headers)).status_code == 201
        assert await scan_of(customer) == ["clean"]

    async def test_everything_else_goes_on(
        self, customer: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await customer.put(SLOT, **letter())
        await clamd.stop()
        assert (await customer.get(f"{SLOT}/content")).content == CLEAN
        assert (await customer.get(SLOT)).status_code == 200

    async def test_a_batch_can_be_repeated_and_does_only_what_is_left(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        items = [{"key": "letter", "files": ["a"]}, {"key": "photo", "files": ["b"]}]
        body = [
            ("items", (None, json.dumps(items))),
            ("a", ("a.txt", CLEAN)),
            ("b", ("b.txt", b"second")),
        ]

        async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if b"".join(await read_stream(reader)) == CLEAN:
                writer.write(b"stream: OK\0")

        clamd.instead = first_only
        headers = {"Idempotency-Key": "batch-1"}
        path = "/v1/customer/document-batches"
        answer = await customer.post(path, files=body, headers=headers)
        assert [item["status"] for item in answer.json()["items"]] == [201, 503]
        assert answer.json()["items"][1]["problem"]["code"] == "scanner-unavailable"
        clamd.instead = None
        answer = await customer.post(path, files=body, headers=headers)
        assert [item["status"] for item in answer.json()["items"]] == [201, 201]
        assert (await holdings(resources)).versions == 2


class TestReadiness:
    """GET /readyz."""

    @pytest.fixture(autouse=True)
    def _nothing_known(self, app: FastAPI) -> None:
        app.state._state.pop("scanner_checked_at", None)

    async def test_a_scanner_that_does_not_answer_is_not_ready(
        self, http: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        await clamd.stop()
        assert refusal(await http.get("/readyz"))[:2] == (503, "scanner-unavailable")
        await clamd.start()
        assert (await http.get("/readyz")).status_code == 200

    async def test_it_is_not_asked_each_time(
        self, http: httpx.AsyncClient, clamd: FakeClamd
    ) -> None:
        assert (await http.get("/readyz")).status_code == 200
        await clamd.stop()
        assert (await http.get("/readyz")).status_code == 200


class TestUploadSessions:
    """Bytes that came by a signed URL are scanned when the session is completed."""

    @pytest.fixture(params=["filesystem", "s3"])
    def settings(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        clamd: FakeClamd,
    ) -> Settings:
        if request.param == "filesystem":
            return Settings(data_dir=tmp_path / "data", clamd=clamd.address)
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        return Settings(
            data_dir=tmp_path / "data",
            clamd=clamd.address,
            storage_url=f"s3://{BUCKET}/scans-{next(_PREFIXES)}",
        )

    @pytest.fixture
    def send(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> Callable[[bytes], Awaitable[str]]:
        async def send(body: bytes) -> str:
            digest = hashlib.sha256(body).hexdigest()
            data = {"filename": "letter.txt", "size_bytes": len(body), "sha256": digest}
            answer = await customer.post(f"{SLOT}/uploads", json=data)
            session = answer.json()
            arguments = {"content": body, "headers": session["headers"]}
            if session["url"].startswith(str(http.base_url)):
                sent = await http.put(session["url"], **arguments)
            else:
                async with httpx.AsyncClient() as outside:
                    sent = await outside.put(session["url"], **arguments)
            assert sent.is_success
            return f"{SLOT}/uploads/{session['id']}"

        return send

    async def test_what_is_clean_is_attached(
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

    async def test_infected_bytes_end_the_session_and_go_with_their_blob(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        send: Callable[[bytes], Awaitable[str]],
    ) -> None:
        path = await send(INFECTED)
        answer = await customer.post(f"{path}/complete")
        assert refusal(answer)[:2] == (422, "malware-detected")
        # With other signatures they could pass; nobody gets a second try.
        clamd.pattern = None
        assert (await customer.post(f"{path}/complete")).status_code == 404
        assert (await customer.get(SLOT)).json()["upload_state"] == "missing"
        events = await audited(admin, "document.upload")
        assert [event["result"] for event in events] == ["denied"]
        await rows(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")
        await reap(resources)
        assert await holdings(resources) == NOTHING

    async def test_without_a_verdict_the_session_stays_open(
        self,
        customer: httpx.AsyncClient,
        clamd: FakeClamd,
        send: Callable[[bytes], Awaitable[str]],
    ) -> None:
        path = await send(CLEAN)
        clamd.instead = MISBEHAVIOURS["has an error"]
        answer = await customer.post(f"{path}/complete")
        assert refusal(answer)[:2] == (503, "scanner-unavailable")
        clamd.instead = None
        assert (await customer.post(f"{path}/complete")).status_code == 201


@pytest.fixture
async def infected_later(
    customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
) -> None:
    """A stored letter that the signatures know since today."""
    clamd.pattern = None
    assert (await customer.put(SLOT, **letter(INFECTED))).status_code == 201
    clamd.pattern = files.EICAR
    clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"
    assert await rescan(resources) is False


@pytest.mark.usefixtures("infected_later")
class TestQuarantine:
    """A stored file that is found infected."""

    @pytest.mark.parametrize("end", ["content", "content?disposition=inline", "preview"])
    async def test_its_bytes_are_given_to_nobody(
        self,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        end: str,
    ) -> None:
        for client_, slot in ((customer, SLOT), (admin, ADMIN_SLOT), (integration, KEY_SLOT)):
            if client_ is integration and end == "preview":
                continue  # there is none for third parties
            answer = await client_.get(f"{slot}/{end}")
            assert refusal(answer)[:2] == (409, "document-quarantined"), slot
            assert files.EICAR not in answer.content

    async def test_nor_by_its_version_a_range_or_a_condition(
        self, admin: httpx.AsyncClient
    ) -> None:
        digest = hashlib.sha256(INFECTED).hexdigest()
        for headers in ({}, {"Range": "bytes=0-3"}, {"If-None-Match": f'"{digest}"'}):
            answer = await admin.get(f"{ADMIN_SLOT}/content?version=1", headers=headers)
            assert answer.status_code == 409
        assert (await admin.head(f"{ADMIN_SLOT}/content")).status_code == 409

    async def test_nor_copied(self, admin: httpx.AsyncClient) -> None:
        copy = "/v1/admin/customers/c-1/documents/photo/copy"
        answer = await admin.post(copy, json={"from": {"key": "letter"}})
        assert refusal(answer)[:2] == (409, "document-quarantined")

    async def test_the_document_says_so(self, customer: httpx.AsyncClient) -> None:
        assert await scan_of(customer) == ["infected"]

    async def test_a_picture_has_no_preview_and_none_is_made(
        self, customer: httpx.AsyncClient, resources: Resources, clamd: FakeClamd
    ) -> None:
        await customer.put(SLOT, **upload_of(files.png(), "a.png"))
        assert (await customer.get(SLOT)).json()["files"][0]["has_preview"] is True
        clamd.pattern = files.png()
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        await rescan(resources)
        assert (await customer.get(SLOT)).json()["files"][0]["has_preview"] is False
        ((version_id,),) = await rows(
            resources, "SELECT id FROM document_versions WHERE number = 2"
        )
        await render_version(resources, version_id)
        assert await rows(resources, "SELECT * FROM previews") == []

    async def test_it_still_counts_so_that_signatures_close_no_gate(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        document = (await customer.get(SLOT)).json()
        assert (document["upload_state"], document["status"]) == ("uploaded", "accepted")
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"

    async def test_the_system_is_in_the_audit_trail(self, admin: httpx.AsyncClient) -> None:
        (event,) = await audited(admin, "document.quarantine")
        assert event["actor"] == {"kind": "system", "id": "docvault"}
        assert (event["customer"], event["document_type"], event["version"]) == ("c-1", "letter", 1)
        assert event["changes"] == {"files/1/scan": {"old": "clean", "new": "infected"}}

    @pytest.mark.parametrize("who", ["customer", "staff"])
    async def test_it_can_be_replaced(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, who: str
    ) -> None:
        client_, slot = (customer, SLOT) if who == "customer" else (admin, ADMIN_SLOT)
        assert (await client_.put(slot, **letter())).status_code == 200
        assert (await client_.get(f"{slot}/content")).content == CLEAN
        # The version before stays what it is.
        assert (await admin.get(f"{ADMIN_SLOT}/content?version=1")).status_code == 409

    async def test_it_can_be_deleted_and_is_then_due_again(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await admin.delete(ADMIN_SLOT)).status_code == 204
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        assert await holdings(resources) == NOTHING

    async def test_a_later_clean_scan_lifts_it(
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
        assert (await customer.get(f"{SLOT}/content")).content == INFECTED
        (event,) = await audited(admin, "document.release")
        assert event["changes"] == {"files/1/scan": {"old": "infected", "new": "clean"}}

    async def test_a_scan_without_a_verdict_does_not_lift_it(
        self, customer: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        clamd.instead = MISBEHAVIOURS["has an error"]
        await rescan(resources)
        assert await scan_of(customer) == ["infected"]

    async def test_found_again_it_is_told_once(
        self, admin: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        clamd.version = "ClamAV 1.4.3/3/Tue Nov 24 09:00:00 2026"
        await rescan(resources)
        assert len(await audited(admin, "document.quarantine")) == 1


class TestRescan:
    """Going through what is stored."""

    @pytest.fixture
    async def stored(self, customer: httpx.AsyncClient, clamd: FakeClamd) -> list[bytes]:
        """Five files, from the oldest to the newest; nothing of their upload is left in clamd."""
        bodies = [f"page {number}\n".encode() for number in range(5)]
        await customer.put(SLOT, **pages(*bodies[:3]))
        await customer.put(SLOT, **pages(*bodies[3:]))
        clamd.streams.clear()
        clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"
        return bodies

    async def test_new_signatures_scan_everything_newest_first(
        self, resources: Resources, clamd: FakeClamd, stored: list[bytes]
    ) -> None:
        assert await rescan(resources) is False
        assert clamd.scanned == stored[::-1]
        assert set(await rows(resources, "SELECT scan, scanned_with FROM document_files")) == {
            ("clean", clamd.version)
        }

    @pytest.mark.usefixtures("stored")
    async def test_the_same_signatures_scan_nothing_again(
        self, resources: Resources, clamd: FakeClamd
    ) -> None:
        await rescan(resources)
        clamd.streams.clear()
        await rescan(resources)
        assert clamd.scanned == []

    async def test_each_run_is_bounded_and_the_next_goes_on(
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

    async def test_signatures_that_change_midway_do_not_begin_it_anew(
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
        # The next pass does what the change has left, and no more.
        await rescan(resources)
        assert clamd.scanned[5:] == stored[:2:-1]

    async def test_a_pass_a_day_repeats_what_had_no_verdict(
        self,
        customer: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
        stored: list[bytes],
    ) -> None:
        clamd.instead = MISBEHAVIOURS["has an error"]
        await rescan(resources)
        assert await scan_of(customer) == ["error", "error"]
        assert (await customer.get(f"{SLOT}/content")).content == stored[3]
        clamd.instead = None
        await rescan(resources)
        assert clamd.scanned == []
        await rows(resources, "UPDATE scan_passes SET began_at = now() - interval '25 hours'")
        await rescan(resources)
        assert clamd.scanned == stored[::-1]
        assert await scan_of(customer) == ["clean", "clean"]

    async def test_files_from_before_there_was_a_scanner_are_scanned(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(SLOT, **letter())
        await rows(
            resources, "UPDATE document_files SET scan = 'not_configured', scanned_with = NULL"
        )
        assert await scan_of(customer) == ["not_configured"]
        await rescan(resources)
        assert await scan_of(customer) == ["clean"]

    @pytest.mark.usefixtures("stored")
    async def test_without_a_scanner_nothing_happens(self, resources: Resources) -> None:
        assert await rescan(dataclasses.replace(resources, scanner=None)) is False
        assert await rows(resources, "SELECT count(*) FROM scan_passes") == [(0,)]

    async def test_while_the_scanner_is_away_every_verdict_stays(
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

    async def test_a_file_that_brings_down_the_scanner_is_passed_by(
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
    async def test_bytes_that_are_missing_have_no_verdict(
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
    async def test_a_store_that_is_away_ends_the_run(
        self,
        resources: Resources,
        clamd: FakeClamd,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def away() -> None:
            raise StorageUnavailable

        monkeypatch.setattr(resources.store, "check", away)
        with pytest.raises(StorageUnavailable):
            await rescan(resources)
        assert clamd.scanned == []

    @pytest.mark.usefixtures("stored")
    async def test_a_file_deleted_meanwhile_is_no_failure(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        clamd: FakeClamd,
    ) -> None:
        async def delete(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_stream(reader)
            await admin.delete(ADMIN_SLOT)
            writer.write(b"stream: Eicar FOUND\0")

        clamd.instead = delete
        assert await rescan(resources) is False
        assert await audited(admin, "document.quarantine") == []

    @pytest.mark.usefixtures("stored")
    async def test_nothing_is_written_about_a_customer_erased_meanwhile(
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

    async def test_rescans_are_counted_apart(
        self, resources: Resources, stored: list[bytes]
    ) -> None:
        before = counted("rescan", "clean"), counted("upload", "clean")
        await rescan(resources)
        assert counted("rescan", "clean") == before[0] + len(stored)
        assert counted("upload", "clean") == before[1]


def test_stored_bytes_have_time_to_come() -> None:
    class Reader:
        size_bytes = 5 << 30
        sha256 = None

        def chunks(self, *_: int) -> None:
            return None

    _, seconds = module._stored_bytes(Reader())  # type: ignore[arg-type]
    assert seconds == client.SCAN_SECONDS + 5 * 1024 / 4
