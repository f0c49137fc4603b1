"""Debian's clamd, with `deploy/clamd.conf` and our own signatures for EICAR."""

import asyncio
import dataclasses
import os
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import FastAPI
from tests.api.stored_state import NOTHING_STORED, audited, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.clamd import ROOT, RealClamd
from tests.fixtures.server import DOCVAULT, running_server
from tests.torture.figures import Figure

from docvault.errors import ScannerUnavailable
from docvault.scanning.clamd import Scanner, ScanRefused
from docvault.services.resources import Resources
from docvault.services.scans import rescan
from docvault.settings import Settings

pytestmark = pytest.mark.system

DOCUMENT_PATH = "/v1/admin/customers/c-1/documents/letter"
RECOVERY_SECONDS = 30


def in_pdf(stream: bytes, entries: bytes = b"") -> bytes:
    return files.pdf_with_catalog(
        b"/Names<</EmbeddedFiles<</Names[(a.txt)6 0 R]>>>>",
        b"<</Type/Filespec/F(a.txt)/EF<</F 7 0 R>>>>",
        b"<</Type/EmbeddedFile/Length %d%b>>stream\n%b\nendstream" % (len(stream), entries, stream),
    )


def in_jpeg(comment: bytes) -> bytes:
    sample = files.jpeg()
    return sample[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + sample[2:]


def in_png(comment: bytes) -> bytes:
    sample = files.png()
    return sample[:33] + files.png_chunk(b"tEXt", b"Comment\0" + comment) + sample[33:]


def in_gif(comment: bytes) -> bytes:
    return files.gif()[:-1] + b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0;"


def in_webp(comment: bytes) -> bytes:
    chunk = b"XMP " + struct.pack("<I", len(comment)) + comment + b"\0" * (len(comment) % 2)
    body = files.webp()[8:] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


CARRIERS: dict[str, Callable[[bytes], bytes]] = {
    "a.txt": lambda body: b"Dear all,\n" + body + b"\n",
    "a.csv": lambda body: b"name;note\nMax;" + body + b"\n",
    "a.docx": lambda body: files.archive(files.docx_parts() | {"word/media/a.bin": body}),
    "stored.docx": lambda body: files.archive(
        files.docx_parts() | {"word/media/a.bin": body}, compression=0
    ),
    "nested.docx": lambda body: files.archive(
        files.docx_parts() | {"word/embeddings/a.zip": files.archive({"a.txt": body})}
    ),
    "a.odt": lambda body: files.archive(
        files.odf_parts(files.ODT, "<office:text/>") | {"Pictures/a.bin": body}
    ),
    "plain.pdf": in_pdf,
    "flate.pdf": lambda body: in_pdf(zlib.compress(body), b"/Filter/FlateDecode"),
    "a.jpg": in_jpeg,
    "a.png": in_png,
    "a.gif": in_gif,
    "a.webp": in_webp,
}


async def chunks_of(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1 << 20):
        yield body[start : start + (1 << 20)]


async def malware(clamd: RealClamd, body: bytes) -> str | None:
    return (await Scanner(clamd.address).scan(chunks_of(body))).malware


@contextmanager
def served(data_dir: Path, clamd: RealClamd) -> Iterator[httpx.Client]:
    """Yield a staff client of a server with a scanner, a customer c-1 and a type `letter`."""
    with running_server(data_dir, DOCVAULT_CLAMD_URL=clamd.address) as server:
        token = subprocess.run(
            [DOCVAULT, "token", "admin"],
            env=server.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[-1]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as staff:
            staff.post("/v1/admin/document-types", json={"name": "Letter"}).raise_for_status()
            staff.put("/v1/admin/customers/c-1", json={}).raise_for_status()
            yield staff


def stored_bytes(data_dir: Path) -> list[Path]:
    """Return everything in the directory of the blobs except the locks of spools."""
    found = [path for path in (data_dir / "blobs").rglob("*") if path.is_file()]
    return [path for path in found if path.name != ".lock"]


@pytest.mark.guarantee(
    "T27",
    promise="With a scanner configured, no infected file is stored.",
    tried="EICAR in files of each kind that passes the type check, sent to a server with Debian's "
    "clamd; then the same files with other bytes in its place.",
    not_shown="Real malware and official signatures: clamd knows only this one pattern here.",
)
def test_infected_files_of_every_kind_are_rejected_and_clean_ones_stored(
    data_dir: Path, real_clamd: RealClamd, figures: dict[str, Figure]
) -> None:
    with served(data_dir, real_clamd) as staff:
        for name, carry in CARRIERS.items():
            response = staff.put(DOCUMENT_PATH, **upload_of(carry(files.EICAR), name))
            assert refusal(response) == (422, "malware-detected", "/file"), name
        assert stored_bytes(data_dir) == []
        for name, carry in CARRIERS.items():
            response = staff.put(DOCUMENT_PATH, **upload_of(carry(b"nothing to see here"), name))
            assert response.is_success, (name, response.text)
            assert [file["scan"] for file in response.json()["files"]] == ["clean"]
    figures["infected files, all rejected"] = len(CARRIERS)
    figures["clean files, all stored"] = len(CARRIERS)


@pytest.mark.guarantee(
    "T27",
    promise="A scanner that fails lets no file pass, and is used again once it is back.",
    tried="clamd stalled (SIGSTOP), killed, and started again, with uploads each time.",
    not_shown="The other ways in which it can fail are shown with one that misbehaves on demand "
    "(tests/scanning/test_clamd.py).",
)
def test_killed_or_stalled_scanner_passes_nothing_and_recovers(
    data_dir: Path, real_clamd: RealClamd, figures: dict[str, Figure]
) -> None:
    assert real_clamd.process is not None
    with served(data_dir, real_clamd) as staff:
        real_clamd.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        response = staff.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        figures["response while stalled, seconds"] = round(time.monotonic() - began, 1)
        assert refusal(response)[:2] == (503, "scanner-unavailable")
        assert staff.get("/readyz").json()["code"] == "scanner-unavailable"
        real_clamd.kill()
        response = staff.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        assert refusal(response)[:2] == (503, "scanner-unavailable")
        assert stored_bytes(data_dir) == []
        real_clamd.start()
        began = time.monotonic()
        while staff.put(DOCUMENT_PATH, **upload_of(b"hello", "a.txt")).status_code != 201:
            assert time.monotonic() - began < RECOVERY_SECONDS
            time.sleep(0.2)
        figures["in use again after, seconds"] = round(time.monotonic() - began, 1)
        response = staff.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        assert response.status_code == 422


async def test_scanner_killed_during_scan_gives_no_verdict(real_clamd: RealClamd) -> None:
    process = real_clamd.process
    assert process is not None

    async def chunks() -> AsyncIterator[bytes]:
        yield b"hello"
        process.kill()
        process.wait()
        yield b"hello"

    with pytest.raises(ScannerUnavailable):
        await Scanner(real_clamd.address).scan(chunks())


async def test_file_over_scanner_limits_has_no_verdict(real_clamd: RealClamd) -> None:
    real_clamd.kill()
    real_clamd.settings = {"StreamMaxLength": "2M", "MaxFileSize": "1M"}
    real_clamd.start()
    scanner = Scanner(real_clamd.address)
    with pytest.raises((ScanRefused, ScannerUnavailable)):
        await scanner.scan(chunks_of(os.urandom(3 << 20)))
    # A file that is accepted but too large to scan is not clean either.
    with pytest.raises(ScanRefused):
        await scanner.scan(chunks_of(os.urandom(3 << 19)))
    assert await malware(real_clamd, files.EICAR)


async def test_stalled_clients_do_not_delay_others(real_clamd: RealClamd) -> None:
    stalled = [await asyncio.open_unix_connection(str(real_clamd.path)) for _ in range(8)]
    for _, writer in stalled:
        writer.write(b"zINSTREAM\0\0\0\0\5hel")
        await writer.drain()
    assert await malware(real_clamd, files.EICAR)
    for _, writer in stalled:
        writer.close()


async def test_concurrent_large_scans_finish_within_ten_seconds(real_clamd: RealClamd) -> None:
    assert real_clamd.process is not None
    scanner, process = Scanner(real_clamd.address), psutil.Process(real_clamd.process.pid)
    bodies = [os.urandom(10 << 20) for _ in range(8)]
    before = process.cpu_times()
    results = await asyncio.gather(*(scanner.scan(chunks_of(body)) for body in bodies))
    after = process.cpu_times()
    assert [result.malware for result in results] == [None] * 8
    # CPU time, because the tests may share the machine.
    assert after.user + after.system - before.user - before.system < 10


def test_configuration_accepts_largest_upload_and_scans_it_fully() -> None:
    lines = (ROOT / "deploy" / "clamd.conf").read_text().splitlines()
    conf = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    largest = Settings.model_fields["max_upload_bytes"].default
    for name in ("StreamMaxLength", "MaxFileSize", "MaxScanSize"):
        assert int(conf[name].removesuffix("M")) << 20 >= largest
    assert conf["AlertExceedsMax"] == "yes"


class TestSignatures:
    """Signatures that change while documents are stored."""

    @pytest.fixture
    def settings(self, tmp_path: Path, real_clamd: RealClamd) -> Settings:
        return Settings(data_dir=tmp_path / "data", clamd_url=real_clamd.address)

    async def test_document_is_quarantined_while_signatures_match(
        self, admin: httpx.AsyncClient, resources: Resources, real_clamd: RealClamd
    ) -> None:
        await make_type(admin, "Letter")
        await make_customer(admin, "c-1")
        real_clamd.use(2, b"something else")
        assert (
            await admin.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        ).status_code == 201
        await rescan(resources)
        assert (await admin.get(f"{DOCUMENT_PATH}/content")).content == files.EICAR
        real_clamd.use(3, files.EICAR)
        await rescan(resources)
        response = await admin.get(f"{DOCUMENT_PATH}/content")
        assert refusal(response)[:2] == (409, "document-quarantined")
        assert len(await audited(admin, "document.quarantine")) == 1
        real_clamd.use(4, b"something else")
        await rescan(resources)
        assert (await admin.get(f"{DOCUMENT_PATH}/content")).content == files.EICAR
        assert len(await audited(admin, "document.release")) == 1

    async def test_documents_older_than_scanner_are_scanned(
        self, admin: httpx.AsyncClient, resources: Resources, app: FastAPI
    ) -> None:
        await make_type(admin, "Letter")
        await make_customer(admin, "c-1")
        app.state.resources = dataclasses.replace(resources, scanner=None)
        response = await admin.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        assert response.json()["files"][0]["scan"] == "not_configured"
        app.state.resources = resources
        await rescan(resources)
        assert (await admin.get(DOCUMENT_PATH)).json()["files"][0]["scan"] == "infected"

    async def test_infected_files_are_not_kept(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_type(admin, "Letter")
        await make_customer(admin, "c-1")
        assert (
            await admin.put(DOCUMENT_PATH, **upload_of(files.EICAR, "a.txt"))
        ).status_code == 422
        assert await stored_state(resources) == NOTHING_STORED
