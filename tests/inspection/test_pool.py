"""Inspecting files in child processes: results, and children that fail."""

import asyncio
import contextlib
import io
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
import uvloop
from tests.factories import files
from tests.fixtures.corpus import Corpus
from tests.observability.test_metrics import Grown

from docvault import inspection
from docvault.inspection import child_process, pool
from docvault.inspection.inspector import InspectionUnavailable
from docvault.inspection.pool import Inspectors
from docvault.inspection.result import Content, CorruptContent

ODD_CHILD = Path(__file__).with_name("odd_child.py")
TEXT = Content("text/plain", has_active_content=False)
OWNER = uuid4()

Inspect = Callable[..., Coroutine[None, None, Content]]


def children() -> list[psutil.Process]:
    """Return the misbehaving inspectors of this process."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if str(ODD_CHILD) in process.cmdline():
                found.append(process)
    return found


def replaced(reason: str) -> Grown:
    return Grown("docvault_inspectors_replaced_total", reason=reason)


@pytest.fixture
async def odd() -> AsyncIterator[Inspectors]:
    """Inspectors that behave as the name of a file requests."""
    inspectors = Inspectors(ODD_CHILD)
    yield inspectors
    await inspectors.close()
    assert children() == []


@pytest.fixture
def inspect(odd: Inspectors, tmp_path: Path) -> Inspect:
    """Inspect a small text under a name that controls the inspector."""
    path = tmp_path / "file"
    path.write_bytes(b"Some text.\n")

    async def inspect(name: str = "a.txt", owner: UUID = OWNER) -> Content:
        return await odd.inspect_file(owner, path, path.stat().st_size, name)

    return inspect


async def working_child() -> psutil.Process:
    """Return the only child, once it has received the file."""
    await asyncio.sleep(0.1)
    (child,) = children()
    return child


def outcome(call: Callable[[], Content]) -> str:
    try:
        return str(call())
    except Exception as refusal:  # noqa: BLE001 - whatever the rules raise is the outcome
        return f"{type(refusal).__name__}{refusal.args}"


class TestOutcomes:
    """The result is that of the rules."""

    async def test_every_file_has_inspection_outcome(
        self, inspectors: Inspectors, tmp_path: Path, corpus: Corpus
    ) -> None:
        kinds = [*files.GOOD_FILES.values(), *files.RARE_FILES.values()]
        samples = [(f"a.{ending}", make()) for make, ending in kinds]
        samples += [(f"cut.{name[2:]}", body[: len(body) // 2]) for name, body in samples]
        samples += [("a.png", files.jpeg()), ("a.svg", files.svg()), ("a.php", files.text())]
        samples += [(path.name, path.read_bytes()) for path in corpus.files() if small(path)]
        path = tmp_path / "file"
        for name, body in samples:
            path.write_bytes(body)
            expected = outcome(lambda: inspection.inspect(io.BytesIO(body), len(body), name))  # noqa: B023
            try:
                found = str(await inspectors.inspect_file(OWNER, path, len(body), name))
            except Exception as refusal:  # noqa: BLE001 - as above
                found = f"{type(refusal).__name__}{refusal.args}"
            assert found == expected, name

    async def test_empty_file_raises_corrupt_content(
        self, inspectors: Inspectors, tmp_path: Path
    ) -> None:
        path = tmp_path / "empty"
        path.touch()
        with pytest.raises(CorruptContent):
            await inspectors.inspect_file(OWNER, path, 0, "a.txt")

    async def test_unopenable_file_uses_no_child(
        self, odd: Inspectors, inspect: Inspect, tmp_path: Path
    ) -> None:
        assert await inspect() == TEXT
        before = children()
        with pytest.raises(InspectionUnavailable):
            await odd.inspect_file(OWNER, tmp_path / "missing", 1, "a.txt")
        assert await inspect() == TEXT
        assert children() == before


def small(path: Path) -> bool:
    return 0 < path.stat().st_size < 1 << 20


class TestLimits:
    """Limits per file."""

    @pytest.mark.req("B-001")
    @pytest.mark.parametrize("name", ["burn.txt", "burn-unwatched.txt"])
    async def test_cpu_bound_file_is_rejected_without_delaying_others(
        self, inspect: Inspect, name: str
    ) -> None:
        grown = replaced("cpu")
        assert await inspect() == TEXT
        burning = asyncio.create_task(inspect(name))
        longest = 0.0
        began = last = time.monotonic()
        while not burning.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert await inspect(owner=uuid4()) == TEXT
        with pytest.raises(CorruptContent, match="too complex to inspect"):
            await burning
        # It uses at least two seconds of CPU, during which the event loop is not blocked.
        assert time.monotonic() - began > 1.9
        assert longest < 1.0
        assert await inspect() == TEXT
        assert grown() == 1

    async def test_file_using_too_much_memory_is_rejected(self, inspect: Inspect) -> None:
        grown = replaced("memory")
        with pytest.raises(CorruptContent, match="too complex to inspect"):
            await inspect("memory.txt")
        assert await inspect() == TEXT
        assert grown() == 1

    async def test_cpu_time_is_limited_per_file(self, odd: Inspectors, tmp_path: Path) -> None:
        path = tmp_path / "long.txt"
        path.write_bytes(b"A line of a long text.\n" * 1_000_000)
        grown = replaced("cpu")
        await odd.start()
        used = 0.0
        while used < 2.2:
            assert await odd.inspect_file(OWNER, path, path.stat().st_size, "a.txt") == TEXT
            used = max(sum(child.cpu_times()[:2]) for child in children())
        assert grown() == 0

    @pytest.mark.req("B-001")
    @pytest.mark.parametrize("name", ["open.txt", "socket.txt", "fork.txt", "kill.txt"])
    async def test_inspector_cannot_open_files_or_start_processes(
        self, inspect: Inspect, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(CorruptContent, match="cannot be inspected"):
            await inspect(name)
        assert "PermissionError" in caplog.text


class TestFailures:
    """A child that fails is replaced, and the others continue."""

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("exit.txt", "crashed"), ("lie.txt", "nonsense"), ("talk.txt", "nonsense")],
    )
    async def test_crashing_or_lying_child_is_replaced_and_file_rejected(
        self, inspect: Inspect, name: str, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        grown = replaced(reason)
        assert await inspect() == TEXT
        before = children()
        with pytest.raises(CorruptContent, match="cannot be inspected"):
            await inspect(name)
        assert await inspect() == TEXT
        assert not set(children()) & set(before)
        assert grown() == 1
        assert f"an inspector is replaced: {reason}" in caplog.text
        assert name not in caplog.text

    async def test_parser_exception_is_logged_and_file_rejected(
        self, inspect: Inspect, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(CorruptContent, match="cannot be inspected"):
            await inspect("raise.txt")
        assert "a file could not be inspected: KeyError" in caplog.text
        assert "missing" not in caplog.text

    @pytest.mark.req("B-002")
    async def test_child_killed_during_inspection_is_replaced(self, inspect: Inspect) -> None:
        grown = replaced("killed")
        assert await inspect() == TEXT
        sleeping = asyncio.create_task(inspect("sleep.txt"))
        (await working_child()).kill()
        with pytest.raises(InspectionUnavailable):
            await sleeping
        assert await inspect() == TEXT
        assert grown() == 1

    async def test_cancelled_caller_does_not_stop_replacement(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(b"text")
        only = Inspectors(ODD_CHILD, number=1)
        with pytest.raises(CorruptContent):
            await only.inspect_file(OWNER, path, 4, "exit.txt")
        left = asyncio.create_task(only.inspect_file(OWNER, path, 4, "a.txt"))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert await only.inspect_file(OWNER, path, 4, "a.txt") == TEXT
        await only.close()

    async def test_killed_idle_child_is_replaced(self, inspect: Inspect) -> None:
        assert await inspect() == TEXT
        (child,) = children()
        child.kill()
        child.wait()
        await asyncio.sleep(0.05)
        assert await inspect() == TEXT

    async def test_stopped_child_is_replaced(
        self, inspect: Inspect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(child_process, "WALL_SECONDS", 1.0)
        grown = replaced("stalled")
        assert await inspect() == TEXT
        stopped = asyncio.create_task(inspect("sleep.txt"))
        (await working_child()).send_signal(signal.SIGSTOP)
        with pytest.raises(InspectionUnavailable):
            await stopped
        assert await inspect() == TEXT
        assert grown() == 1

    async def test_failed_child_start_is_retried_for_next_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        program = tmp_path / "child.py"
        path = tmp_path / "a.txt"
        path.write_bytes(b"text")
        inspectors = Inspectors(program)
        with pytest.raises(InspectionUnavailable):
            await inspectors.start()
        with pytest.raises(InspectionUnavailable):
            await inspectors.inspect_file(OWNER, path, 4, "a.txt")
        assert "no inspector can be started" in caplog.text
        program.symlink_to(ODD_CHILD)
        assert await inspectors.inspect_file(OWNER, path, 4, "a.txt") == TEXT
        await inspectors.close()


class TestFairness:
    """The order in which files are inspected."""

    @pytest.mark.req("B-003")
    async def test_one_owner_cannot_use_all_inspectors(self, inspect: Inspect) -> None:
        await asyncio.gather(inspect(), inspect(owner=uuid4()))
        many = [asyncio.create_task(inspect("nap.txt")) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert await inspect(owner=uuid4()) == TEXT
        assert not many[-1].done()
        await asyncio.gather(*many)

    async def test_waiting_timeout_can_be_retried(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "WAIT_SECONDS", 0.1)
        path = tmp_path / "a.txt"
        path.write_bytes(b"text")
        impatient = Inspectors(ODD_CHILD)
        first = asyncio.create_task(impatient.inspect_file(OWNER, path, 4, "nap.txt"))
        await asyncio.sleep(0.01)
        with pytest.raises(InspectionUnavailable):
            await impatient.inspect_file(OWNER, path, 4, "a.txt")
        assert await first == TEXT
        await impatient.close()

    @pytest.mark.req("B-003")
    async def test_slow_reads_leave_an_inspector_for_others(
        self, odd: Inspectors, inspect: Inspect
    ) -> None:
        arrives = asyncio.Event()

        async def read_block(_: int) -> bytes:
            await arrives.wait()
            return b"text"

        slow = [
            asyncio.create_task(odd.inspect_blocks(uuid4(), read_block, 4, "a.txt"))
            for _ in range(4)
        ]
        await asyncio.sleep(0.1)
        assert await inspect(owner=uuid4()) == TEXT
        arrives.set()
        assert await asyncio.gather(*slow) == [TEXT] * 4

    async def test_inspector_is_reused_only_after_cancelled_inspection_ends(
        self, inspect: Inspect
    ) -> None:
        assert await inspect() == TEXT
        before = children()
        left = asyncio.create_task(inspect("nap.txt"))
        await working_child()
        left.cancel()
        assert await inspect() == TEXT
        with pytest.raises(asyncio.CancelledError):
            await left
        assert children() == before

    async def test_cancelled_inspection_stops_reading(self, odd: Inspectors) -> None:
        read: list[int] = []
        begun = asyncio.Event()

        async def read_block(number: int) -> bytes:
            read.append(number)
            begun.set()
            await asyncio.sleep(60)
            raise AssertionError

        left = asyncio.create_task(odd.inspect_blocks(OWNER, read_block, 1 << 24, "read.txt"))
        await begun.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert read == [0]


class TestShutdown:
    """No processes or descriptors leak."""

    async def test_no_descriptor_leaks_after_many_files_and_replacements(
        self, odd: Inspectors, inspect: Inspect
    ) -> None:
        process = psutil.Process()
        await odd.start()
        before = process.num_fds(), children()[0].num_fds()
        for _ in range(200):
            await inspect()
        assert (process.num_fds(), children()[0].num_fds()) == before
        for _ in range(3):
            with pytest.raises(CorruptContent):
                await inspect("exit.txt")
        await odd.start()
        assert process.num_fds() == before[0]

    async def test_close_ends_busy_children(self, odd: Inspectors, inspect: Inspect) -> None:
        assert await inspect() == TEXT
        sleeping = asyncio.create_task(inspect("sleep.txt"))
        await working_child()
        await odd.close()
        with pytest.raises(InspectionUnavailable):
            await sleeping
        assert children() == []

    @pytest.mark.req("B-004")
    @pytest.mark.parametrize("name", ["sleep.txt", "burn.txt"])
    def test_busy_children_die_with_killed_process(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "a.txt").write_bytes(b"text")
        script = f"""
            import asyncio, uuid
            from pathlib import Path
            from docvault.inspection.pool import Inspectors
            async def main():
                inspectors = Inspectors(Path({str(ODD_CHILD)!r}))
                await inspectors.start()
                path = Path({str(tmp_path / "a.txt")!r})
                await asyncio.gather(
                    inspectors.inspect_file(uuid.uuid4(), path, 4, {name!r}),
                    asyncio.to_thread(print, "started", flush=True),
                )
            asyncio.run(main())
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            inspectors = psutil.Process(process.pid).children()
            assert len(inspectors) == 2
            process.kill()
        _, alive = psutil.wait_procs(inspectors, timeout=1.5)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


def test_inspection_works_under_uvloop(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"text" * 1_000_000)

    async def read_block(number: int) -> bytes:
        return path.read_bytes()[number << 20 : (number + 1) << 20]

    async def inspect() -> None:
        inspectors = Inspectors(ODD_CHILD)
        await inspectors.start()
        before = psutil.Process().num_fds()
        for _ in range(20):
            assert await inspectors.inspect_file(OWNER, path, 4_000_000, "a.txt") == TEXT
            assert await inspectors.inspect_blocks(OWNER, read_block, 4_000_000, "a.txt") == TEXT
        with pytest.raises(CorruptContent):
            await inspectors.inspect_file(OWNER, path, 4_000_000, "exit.txt")
        assert await inspectors.inspect_file(OWNER, path, 4_000_000, "a.txt") == TEXT
        await inspectors.start()
        assert psutil.Process().num_fds() == before
        await inspectors.close()
        assert children() == []

    uvloop.run(inspect())
