"""The clamd client: two verdicts; everything else is a failure, and no file passes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from tests.factories import files
from tests.fixtures.clamd import MISBEHAVIOURS, FakeClamd, read_stream

from docvault import circuit_breaker
from docvault.errors import ScannerUnavailable, StorageUnavailable
from docvault.observability import metrics
from docvault.scanning import clamd as module
from docvault.scanning.clamd import CHUNK_BYTES, PARALLEL, Scanner, ScanRefused, ScanResult

LARGE = os.urandom(1 << 20) * 3


async def chunks_of(body: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def scan(scanner: Scanner, body: bytes, *, seconds: float = 20) -> ScanResult:
    return await scanner.scan(chunks_of(body), seconds=seconds)


async def fails(scanner: Scanner, body: bytes = LARGE, *, seconds: float = 0.5) -> str:
    """Return the name of the failure."""
    with pytest.raises((ScannerUnavailable, ScanRefused)) as caught:
        await scan(scanner, body, seconds=seconds)
    return type(caught.value).__name__


@pytest.fixture
def scanner(clamd: FakeClamd) -> Scanner:
    return Scanner(clamd.address)


class TestVerdicts:
    """Verdicts of clamd."""

    async def test_clean_verdict_names_signatures(self, scanner: Scanner, clamd: FakeClamd) -> None:
        assert await scan(scanner, b"hello") == ScanResult(None, clamd.version)

    async def test_malware_verdict_names_signature(
        self, scanner: Scanner, clamd: FakeClamd
    ) -> None:
        result = await scan(scanner, b"before " + files.EICAR)
        assert result == ScanResult("Docvault.Eicar.UNOFFICIAL", clamd.version)

    @pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 << 20])
    async def test_clamd_receives_all_bytes_in_bounded_chunks(
        self, scanner: Scanner, clamd: FakeClamd, size: int
    ) -> None:
        body = LARGE[:size]
        await scan(scanner, body)
        assert clamd.scanned == [body]
        assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in clamd.streams[0])

    async def test_tcp_is_supported(self, clamd: FakeClamd) -> None:
        server = await asyncio.start_server(clamd._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert (await scan(Scanner(f"tcp://127.0.0.1:{port}"), files.EICAR)).malware
        server.close()


class TestFailures:
    """No failure makes a file count as clean (T27)."""

    @pytest.mark.parametrize("name", MISBEHAVIOURS)
    @pytest.mark.parametrize("body", [LARGE, files.EICAR], ids=["large", "eicar"])
    async def test_misbehaviour_gives_no_verdict(
        self, scanner: Scanner, clamd: FakeClamd, name: str, body: bytes
    ) -> None:
        clamd.instead = MISBEHAVIOURS[name]
        if name == "reports clean too early":
            body = LARGE * 3  # more than socket buffers hold
        await fails(scanner, body)

    @pytest.mark.parametrize("name", MISBEHAVIOURS)
    def test_misbehaviour_under_uvloop_gives_no_verdict(self, tmp_path: Path, name: str) -> None:
        async def tried() -> None:
            fake = FakeClamd(tmp_path)
            await fake.start()
            try:
                fake.instead = MISBEHAVIOURS[name]
                await fails(Scanner(fake.address), LARGE * 3)
                fake.instead = None
                assert (await scan(Scanner(fake.address), files.EICAR)).malware
            finally:
                await fake.stop()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(tried())

    async def test_connection_refused_is_unavailable(
        self, scanner: Scanner, clamd: FakeClamd
    ) -> None:
        await clamd.stop()
        assert await fails(scanner) == "ScannerUnavailable"

    async def test_unreachable_host_fails_before_scan_timeout(
        self, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scanner = Scanner(clamd.address)

        async def never() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(scanner, "_connect", never)
        async with asyncio.timeout(10):
            assert await fails(scanner, seconds=20) == "ScannerUnavailable"

    async def test_endless_reply_is_cut_off(self, scanner: Scanner, clamd: FakeClamd) -> None:
        clamd.instead = MISBEHAVIOURS["never ends its response"]
        async with asyncio.timeout(20):
            await fails(scanner, b"hello", seconds=300)

    async def test_missing_version_is_unavailable(self, scanner: Scanner, clamd: FakeClamd) -> None:
        clamd.version = ""
        assert await fails(scanner) == "ScannerUnavailable"

    @pytest.mark.parametrize(
        "name", ["exceeds its size limit", "exceeds a scan limit", "has an error"]
    )
    async def test_rejected_file_is_distinguished_from_failure(
        self, scanner: Scanner, clamd: FakeClamd, name: str
    ) -> None:
        clamd.instead = MISBEHAVIOURS[name]
        assert await fails(scanner, files.EICAR) == "ScanRefused"

    async def test_reason_is_logged(
        self, scanner: Scanner, clamd: FakeClamd, caplog: pytest.LogCaptureFixture
    ) -> None:
        clamd.instead = MISBEHAVIOURS["exceeds its size limit"]
        with caplog.at_level(logging.WARNING):
            await fails(scanner, files.EICAR + LARGE[:300_000])
        assert "INSTREAM size limit exceeded." in caplog.text

    async def test_failing_source_is_not_a_scanner_failure(
        self, scanner: Scanner, clamd: FakeClamd
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"x"
            raise StorageUnavailable

        for _ in range(circuit_breaker.FAILURES):
            with pytest.raises(StorageUnavailable):
                await scanner.scan(broken(), seconds=20)
        assert (await scan(scanner, b"hello")).malware is None
        assert clamd.scanned == [b"hello"]

    async def test_cancelled_scan_disconnects(self, scanner: Scanner, clamd: FakeClamd) -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del writer
            await read_stream(reader)
            began.set()
            assert await reader.read() == b""
            ended.set()

        clamd.instead = wait
        task = asyncio.create_task(scan(scanner, b"hello"))
        await began.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            await ended.wait()


class TestConcurrency:
    """At most four concurrent scans (D18, D30)."""

    async def test_concurrent_scans_are_limited(self, scanner: Scanner, clamd: FakeClamd) -> None:
        running, most, go_on = 0, 0, asyncio.Event()
        all_in = asyncio.Event()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal running, most
            await read_stream(reader)
            running += 1
            most = max(most, running)
            if running == PARALLEL:
                all_in.set()
            await go_on.wait()
            running -= 1
            writer.write(b"stream: OK\0")

        clamd.instead = count
        scans = [asyncio.create_task(scan(scanner, b"hello")) for _ in range(3 * PARALLEL)]
        await all_in.wait()
        go_on.set()
        results = await asyncio.gather(*scans)
        assert [result.malware for result in results] == [None] * 3 * PARALLEL
        assert most == PARALLEL

    async def test_waiting_times_out(
        self, scanner: Scanner, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
        clamd.instead = MISBEHAVIOURS["never responds"]
        stalled = [asyncio.create_task(scan(scanner, b"hello")) for _ in range(PARALLEL)]
        await asyncio.sleep(0)
        with pytest.raises(ScannerUnavailable):
            await scan(scanner, b"hello")
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        clamd.instead = None
        assert (await scan(scanner, b"hello")).malware is None


class TestCircuitBreaker:
    """A scanner that fails is not contacted for a while (D31)."""

    async def test_circuit_opens_after_five_failures(
        self, scanner: Scanner, clamd: FakeClamd
    ) -> None:
        clamd.instead = MISBEHAVIOURS["closes without a response"]
        for _ in range(circuit_breaker.FAILURES):
            await fails(scanner)
        clamd.instead = None
        assert await fails(scanner) == "ScannerUnavailable"
        assert clamd.scanned == []

    async def test_circuit_closes_after_recovery(
        self, scanner: Scanner, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit_breaker, "OPEN_SECONDS", 0)
        clamd.instead = MISBEHAVIOURS["closes without a response"]
        for _ in range(circuit_breaker.FAILURES + 3):
            await fails(scanner)
        clamd.instead = None
        assert (await scan(scanner, b"hello")).malware is None

    async def test_success_resets_failure_count(self, scanner: Scanner, clamd: FakeClamd) -> None:
        for _ in range(3):
            clamd.instead = MISBEHAVIOURS["garbage"]
            for _ in range(circuit_breaker.FAILURES - 1):
                await fails(scanner)
            clamd.instead = None
            assert (await scan(scanner, b"hello")).malware is None

    async def test_rejected_file_does_not_count_as_failure(
        self, scanner: Scanner, clamd: FakeClamd
    ) -> None:
        clamd.instead = MISBEHAVIOURS["has an error"]
        for _ in range(circuit_breaker.FAILURES):
            await fails(scanner)
        clamd.instead = None
        assert (await scan(scanner, b"hello")).malware is None


async def test_scan_duration_is_measured(scanner: Scanner, clamd: FakeClamd) -> None:
    def count(result: str) -> float:
        name = "docvault_scan_duration_seconds_count"
        return metrics.REGISTRY.get_sample_value(name, {"result": result}) or 0

    before = count("ok"), count("failed")
    await scan(scanner, b"hello")
    clamd.instead = MISBEHAVIOURS["garbage"]
    await fails(scanner)
    assert (count("ok"), count("failed")) == (before[0] + 1, before[1] + 1)
