"""The filesystem store: order of writes, permissions, and a disk that fails."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from docvault.errors import StorageUnavailable
from docvault.settings import Settings
from docvault.storage import open_store
from docvault.storage.base import CHUNK_BYTES, BlobMissing
from docvault.storage.filesystem import FilesystemBlobStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


# Not random: a test must have the same name in every process of the run.
CUSTOMER = "785edb84-b68c-4253-9eb3-6adbb502b6bf"


def new_key() -> str:
    return f"{uuid4()}/{uuid4().hex}"


def spooled(store: FilesystemBlobStore, body: bytes = b"body") -> Path:
    path = store.spool_dir / uuid4().hex
    path.write_bytes(body)
    path.chmod(0o600)
    return path


def path_of(root: Path, key: str) -> Path:
    return root / key.split("/", maxsplit=1)[0][-2:] / key


def modes_below(root: Path) -> set[tuple[bool, int]]:
    """Return for every path whether it is a directory, and its permissions."""
    paths = [root, *root.rglob("*")]
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths}


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestLayout:
    """The path of a blob, and its permissions."""

    async def test_blob_is_below_customer_folder(
        self, blob_store: FilesystemBlobStore, root: Path
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        assert path_of(root, key).read_bytes() == b"body"

    async def test_files_and_folders_are_readable_only_by_owner(
        self, blob_store: FilesystemBlobStore, root: Path
    ) -> None:
        previous = os.umask(0)
        try:
            await blob_store.put(new_key(), spooled(blob_store))
        finally:
            os.umask(previous)
        assert modes_below(root) == {(True, 0o700), (False, 0o600)}

    async def test_source_is_moved(self, blob_store: FilesystemBlobStore) -> None:
        source = spooled(blob_store)
        await blob_store.put(new_key(), source)
        assert list(blob_store.spool_dir.iterdir()) == []

    async def test_last_deletion_removes_customer_folder(
        self, blob_store: FilesystemBlobStore, root: Path
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        await blob_store.delete(key)
        assert not path_of(root, key).parent.exists()

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "x",
            "../etc/passwd",
            f"{CUSTOMER}/../../x",
            f"{CUSTOMER}/{'0' * 31}",
            f"{CUSTOMER}/{'0' * 33}",
            f"{CUSTOMER}/{'0' * 32}\n",
            f"{CUSTOMER}/{'0' * 32}/x",
            f"/{CUSTOMER}/{'0' * 32}",
            f"{CUSTOMER.upper()}/{'0' * 32}",
        ],
    )
    async def test_invalid_key_is_rejected(self, blob_store: FilesystemBlobStore, key: str) -> None:
        for operation in (blob_store.open, blob_store.delete):
            with pytest.raises(ValueError, match="not a blob key"):
                await operation(key)
        with pytest.raises(ValueError, match="not a blob key"):
            await blob_store.put(key, spooled(blob_store))

    async def test_symbolic_link_is_not_followed(
        self, blob_store: FilesystemBlobStore, root: Path, tmp_path: Path
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        secret = tmp_path / "secret"
        secret.write_text("secret")
        path_of(root, key).unlink()
        path_of(root, key).symlink_to(secret)
        with pytest.raises((StorageUnavailable, BlobMissing)):
            await blob_store.open(key)


class TestFlushOrder:
    """The order in which writes reach the disk."""

    async def test_put_flushes_in_safe_order(
        self, blob_store: FilesystemBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The directories already exist, so that only the steps for the blob are recorded.
        customer = uuid4()
        await blob_store.put(f"{customer}/{uuid4().hex}", spooled(blob_store))
        steps = record_steps(monkeypatch)
        source = spooled(blob_store)
        key = f"{customer}/{uuid4().hex}"
        await blob_store.put(key, source)
        path = path_of(root, key)
        assert steps == [
            ("fsync", str(source)),
            ("link", str(path)),
            ("fsync", str(path.parent)),
            ("unlink", str(source)),
        ]

    async def test_new_folders_are_flushed_into_parents(
        self, blob_store: FilesystemBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = record_steps(monkeypatch)
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        folder = path_of(root, key).parent
        flushed = [path for step, path in steps if step == "fsync"]
        assert {str(root), str(folder.parent), str(folder)} <= set(flushed)

    async def test_deletion_is_flushed(
        self, blob_store: FilesystemBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        steps = record_steps(monkeypatch)
        await blob_store.delete(key)
        path = path_of(root, key)
        assert steps == [("unlink", str(path)), ("fsync", str(path.parent))]

    async def test_vanished_folder_is_recreated(
        self, blob_store: FilesystemBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, real, calls = new_key(), Path.hardlink_to, []

        def vanish_once(path: Path, target: Path) -> None:
            calls.append(path)
            if len(calls) == 1:
                path.parent.rmdir()
            real(path, target)

        monkeypatch.setattr(Path, "hardlink_to", vanish_once)
        await blob_store.put(key, spooled(blob_store))
        assert path_of(root, key).read_bytes() == b"body"
        assert len(calls) == 2

    async def test_missing_source_stores_nothing(self, blob_store: FilesystemBlobStore) -> None:
        with pytest.raises(StorageUnavailable):
            await blob_store.put(new_key(), blob_store.spool_dir / "gone")
        assert [blob async for blob in blob_store.list_blobs()] == []


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record every flush, link and unlink, and perform them."""
    steps: list[tuple[str, str]] = []
    fsync, link, unlink = os.fsync, os.link, os.unlink

    def noted_fsync(descriptor: int) -> None:
        steps.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_link(source: Path, target: Path, **options: Any) -> None:
        link(source, target, **options)
        steps.append(("link", str(target)))

    def noted_unlink(path: Path, **options: Any) -> None:
        unlink(path, **options)
        steps.append(("unlink", str(path)))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "unlink", noted_unlink)
    return steps


@contextmanager
def empty_disk(root: Path) -> Iterator[None]:
    """Replace the store with an empty directory, as if its disk were not mounted."""
    away = root.rename(root.with_name("away"))
    root.mkdir()
    yield
    root.rmdir()
    away.rename(root)


class TestFailures:
    """A disk that is full, read-only or broken."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
    @pytest.mark.parametrize("function", ["fsync", "link", "mkdir", "open"])
    async def test_failing_write_is_storage_unavailable_and_stores_nothing(
        self,
        blob_store: FilesystemBlobStore,
        monkeypatch: pytest.MonkeyPatch,
        function: str,
        number: int,
    ) -> None:
        source = spooled(blob_store)
        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing(number))
            with pytest.raises(StorageUnavailable):
                await blob_store.put(new_key(), source)
        assert [blob async for blob in blob_store.list_blobs()] == []

    async def test_failing_read_is_storage_unavailable(
        self, blob_store: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        reader = await blob_store.open(key)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", failing(errno.EIO))
            with pytest.raises(StorageUnavailable):
                await anext(aiter(reader.chunks(0, 4)))
        await reader.close()

    async def test_truncated_file_never_yields_short_read(
        self, blob_store: FilesystemBlobStore, root: Path
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store, bytes(CHUNK_BYTES + 10)))
        os.truncate(path_of(root, key), CHUNK_BYTES)
        reader = await blob_store.open(key)
        with pytest.raises(StorageUnavailable):
            async for _ in reader.chunks(0, CHUNK_BYTES + 10):
                pass
        await reader.close()

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
    async def test_failing_deletion_is_storage_unavailable(
        self, blob_store: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", failing(number))
            with pytest.raises(StorageUnavailable):
                await blob_store.delete(key)
        reader = await blob_store.open(key)
        await reader.close()

    async def test_deletion_fails_on_missing_disk(
        self, blob_store: FilesystemBlobStore, root: Path
    ) -> None:
        key = new_key()
        await blob_store.put(key, spooled(blob_store))
        with empty_disk(root), pytest.raises(StorageUnavailable):
            await blob_store.delete(key)
        await blob_store.delete(key)
        assert [blob async for blob in blob_store.list_blobs()] == []

    async def test_folder_vanishing_during_listing_is_skipped(
        self, blob_store: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await blob_store.put(new_key(), spooled(blob_store))
        monkeypatch.setattr(os, "scandir", failing(errno.ENOENT))
        assert [blob async for blob in blob_store.list_blobs()] == []

    async def test_unwritable_spool_fails_check(
        self, blob_store: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(StorageUnavailable):
            await blob_store.check()

    async def test_missing_folder_fails_check(self, blob_store: FilesystemBlobStore) -> None:
        blob_store.spool_dir.rmdir()
        with pytest.raises(StorageUnavailable):
            await blob_store.check()

    def test_uncreatable_root_is_storage_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageUnavailable):
            FilesystemBlobStore(tmp_path / "file" / "blobs")


class TestOpenStore:
    """DOCVAULT_STORAGE_URL."""

    async def test_default_location_is_data_directory(self, tmp_path: Path) -> None:
        async with open_store(Settings(data_dir=tmp_path / "data dir")) as store:
            assert store.spool_dir == tmp_path / "data dir" / "blobs" / ".spool"

    async def test_file_url_names_folder(self, tmp_path: Path) -> None:
        url = (tmp_path / "ünïcode %20").as_uri()
        async with open_store(Settings(data_dir=tmp_path, storage_url=url)) as store:
            assert store.spool_dir == tmp_path / "ünïcode %20" / ".spool"
