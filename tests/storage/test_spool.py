"""The spool: files in transit, and leftovers of killed processes."""

import asyncio
import errno
import hashlib
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from docvault.errors import StorageUnavailable
from docvault.storage.spool import BATCH_BYTES, Spool, SpoolFile

HOLDER = """
import sys
from pathlib import Path
from docvault.storage.spool import Spool
spool = Spool(Path(sys.argv[1]))
file = spool.create()
print(file.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(parent: Path) -> Iterator[Spool]:
    spool = Spool(parent)
    yield spool
    spool.close()


@pytest.fixture
def holder(parent: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process with a file in the same spool folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def file_of(holder: "subprocess.Popen[str]") -> Path:
    assert holder.stdout is not None
    return Path(holder.stdout.readline().strip())


async def written(spool: Spool, *chunks: bytes) -> SpoolFile:
    file = spool.create()
    for chunk in chunks:
        await file.write(chunk)
    await file.finish()
    return file


class TestSpoolFile:
    """A file being received."""

    @pytest.mark.parametrize("size", [0, 1, BATCH_BYTES - 1, BATCH_BYTES, 2 * BATCH_BYTES + 1])
    async def test_written_bytes_are_read_in_batches(self, spool: Spool, size: int) -> None:
        body = bytes(range(251)) * (size // 251 + 1)
        file = await written(spool, body[:size])
        chunks = [chunk async for chunk in file.chunks()]
        assert b"".join(chunks) == body[:size]
        assert all(0 < len(chunk) <= BATCH_BYTES for chunk in chunks)

    async def test_unreadable_file_is_storage_unavailable(self, spool: Spool) -> None:
        file = await written(spool, b"hello")
        file.path.unlink()
        with pytest.raises(StorageUnavailable):
            _ = [chunk async for chunk in file.chunks()]

    @pytest.mark.parametrize(
        "chunks",
        [
            [],
            [b""],
            [b"a", b"", b"bc"],
            [b"x" * (BATCH_BYTES - 1), b"y"],
            [b"x" * BATCH_BYTES],
            [b"x" * (2 * BATCH_BYTES + 3), b"tail"],
            [bytes([n % 256]) * 65_536 for n in range(50)],
        ],
        ids=["nothing", "empty", "small", "batch-1", "batch", "more", "many"],
    )
    async def test_size_and_digest_match_bytes(self, spool: Spool, chunks: list[bytes]) -> None:
        file = await written(spool, *chunks)
        body = b"".join(chunks)
        assert file.path.read_bytes() == body
        assert file.size_bytes == len(body)
        assert file.sha256 == hashlib.sha256(body).hexdigest()

    async def test_short_writes_lose_nothing(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = spool.create()
        real = file._file

        class Short:
            def write(self, data: memoryview) -> int:
                return real.write(data[:7])

            def close(self) -> None:
                real.close()

        monkeypatch.setattr(file, "_file", Short())
        await file.write(b"0123456789" * 10)
        await file.finish()
        assert file.path.read_bytes() == b"0123456789" * 10

    async def test_memory_is_independent_of_file_size(self, spool: Spool) -> None:
        file = spool.create()
        for _ in range(40):
            await file.write(bytes(100_000))
            assert file._pending_bytes < BATCH_BYTES
        file.discard()

    def test_files_and_folders_are_readable_only_by_owner(self, spool: Spool) -> None:
        file = spool.create()
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
        file.discard()

    async def test_discarded_file_is_deleted(self, spool: Spool) -> None:
        file = await written(spool, b"x")
        file.discard()
        assert not file.path.exists()

    async def test_descriptor_is_not_closed_during_write(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = spool.create()
        begun, discarded = threading.Event(), threading.Event()
        append, was_open = file._append, []

        def slow(pieces: list[bytes]) -> None:
            begun.set()
            discarded.wait(10)
            was_open.append(not file._file.closed)
            append(pieces)

        monkeypatch.setattr(file, "_append", slow)
        await file.write(bytes(BATCH_BYTES))
        await asyncio.to_thread(begun.wait, 10)
        file.discard()
        assert not file.path.exists()
        discarded.set()
        assert file._writing
        await asyncio.wait([file._writing], timeout=10)
        assert was_open == [True]
        assert file._file.closed

    async def test_file_moved_by_store_can_be_discarded(self, spool: Spool) -> None:
        file = await written(spool, b"x")
        file.path.unlink()
        file.discard()
        assert file.sha256 == hashlib.sha256(b"x").hexdigest()

    @pytest.mark.parametrize("size", [10, 2 * BATCH_BYTES])
    async def test_full_disk_is_storage_unavailable(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        file = spool.create()

        def full(_: bytes) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(file, "_append", full)
        with pytest.raises(StorageUnavailable):
            await written_to(file, size)
        file.discard()


async def written_to(file: SpoolFile, size: int) -> None:
    await file.write(bytes(size))
    await file.finish()


class TestSpool:
    """The directory of this process."""

    def test_close_removes_folder(self, parent: Path) -> None:
        spool = Spool(parent)
        spool.create().discard()
        spool.close()
        assert list(parent.iterdir()) == []

    def test_spools_of_one_process_are_separate(self, parent: Path) -> None:
        one, two = Spool(parent), Spool(parent)
        files = [one.create(), two.create()]
        assert files[0].path.parent != files[1].path.parent
        for file in files:
            file.discard()
        one.close()
        assert len(list(parent.iterdir())) == 1
        two.close()

    def test_uncreatable_parent_is_storage_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageUnavailable):
            Spool(tmp_path / "file" / "spool")

    def test_uncreatable_file_is_storage_unavailable(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def closed(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "closed")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", closed)
            with pytest.raises(StorageUnavailable):
                spool.create()


class TestRemoveLeftovers:
    """Spool.remove_leftovers()."""

    def test_files_of_live_process_are_kept(
        self, spool: Spool, holder: "subprocess.Popen[str]"
    ) -> None:
        path = file_of(holder)
        assert spool.remove_leftovers() == 0
        assert path.exists()

    def test_files_of_killed_process_are_deleted(
        self, spool: Spool, holder: "subprocess.Popen[str]"
    ) -> None:
        path = file_of(holder)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert path.exists()
        assert spool.remove_leftovers() == 1
        assert not path.parent.exists()

    def test_own_files_are_kept(self, spool: Spool) -> None:
        file = spool.create()
        assert spool.remove_leftovers() == 0
        assert file.path.exists()
        file.discard()

    def test_folder_without_lock_is_deleted(self, spool: Spool, parent: Path) -> None:
        (parent / "old").mkdir()
        (parent / "old" / "data").write_text("x")
        assert spool.remove_leftovers() == 1
        assert not (parent / "old").exists()

    def test_unrelated_files_are_kept(self, spool: Spool, parent: Path) -> None:
        (parent / "note").write_text("x")
        assert spool.remove_leftovers() == 0
        assert (parent / "note").exists()

    def test_no_descriptor_leaks(self, spool: Spool, parent: Path) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(20):
            (parent / f"old-{number}").mkdir()
        assert spool.remove_leftovers() == 20
        assert len(list(Path("/proc/self/fd").iterdir())) == before
