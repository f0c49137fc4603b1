"""The disk is full, read-only or replaced: uploads are rejected, nothing is partial (T32)."""

import asyncio
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.torture.deployments import MakeDeployment, files_below
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_types, register_customer
from tests.torture.model import Change, Content, Ledger, stored
from tests.torture.outages import check_afterwards

MEBIBYTE = 1024 * 1024
DISK_BYTES = 16 * MEBIBYTE
FILE_BYTES = 3 * MEBIBYTE // 2
BACK_SECONDS = 30
WATCH_SECONDS = 0.05

pytestmark = pytest.mark.torture


@pytest.fixture
def disk(data_dir: Path) -> Iterator[Path]:
    """A disk of 16 MiB, in memory, that holds the store."""
    place = data_dir.parent / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "docvault", str(place))
    yield place
    unmount(place, "--lazy")


def mount(*arguments: str) -> None:
    """Mount, or skip the test where that is not permitted."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if os.geteuid() != 0 or "permission denied" in done.stderr:
        pytest.skip("mounting a small disk requires root")
    assert done.returncode == 0, done.stderr


def unmount(place: Path, *options: str) -> None:
    """Unmount the last mount."""
    subprocess.run(["umount", *options, str(place)], check=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Make the disk read-only within the block."""
    mount("--bind", str(disk), str(disk))
    mount("-o", "remount,bind,ro", str(disk))
    try:
        yield
    finally:
        unmount(disk)


@contextmanager
def empty_disk(disk: Path) -> Iterator[None]:
    """Mount an empty disk over it, which must stay empty."""
    mount("-t", "tmpfs", "docvault", str(disk))
    try:
        yield
        assert list(disk.iterdir()) == []
    finally:
        unmount(disk)


class Uploads:
    """Uploads one file after another until the disk is full."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._number = 0
        self.ledger = Ledger()
        self.responses: Counter[str] = Counter()

    async def another(self) -> bool:
        """Upload one more; return whether it was stored. A rejection must have `Retry-After`."""
        customer, key = divmod(self._number, len(TYPES))
        self._number += 1
        await register_customer(self._client, f"c-{customer}")
        document = self.ledger.document(f"c-{customer}", TYPES[key])
        body = f"{self._number}\n".encode() * (FILE_BYTES // len(f"{self._number}\n"))
        content = Content(body, "a.txt", "text/plain")
        part = (content.filename, content.body)
        response = await self._client.put(document.path, files={"file": part})
        if response.status_code == 201:
            self.responses["stored"] += 1
            document.doubt = Change(stored(content))
            document.confirm()
            return True
        problem = response.json()
        assert (response.status_code, problem["code"]) == (503, "storage-unavailable"), problem
        assert int(response.headers["retry-after"]) > 0
        self.responses["rejected"] += 1
        return False

    async def deletion(self, disk: Path) -> None:
        """Delete the first document, and wait until its bytes are deleted."""
        stored_before = len(files_below(disk))
        await self.delete()
        deadline = time.monotonic() + BACK_SECONDS
        while len(files_below(disk)) >= stored_before:
            assert time.monotonic() < deadline, "the bytes were not deleted"
            await asyncio.sleep(WATCH_SECONDS)

    async def delete(self) -> None:
        """Delete the first document."""
        document = next(
            document for document in self.ledger.documents.values() if document.current is not None
        )
        response = await self._client.delete(document.path)
        assert response.status_code == 204, response.text
        document.doubt = Change(None)
        document.confirm()

    async def until_stored(self) -> float:
        """Upload until one is stored; return the seconds this took."""
        began = time.monotonic()
        while not await self.another():
            assert time.monotonic() < began + BACK_SECONDS
        return time.monotonic() - began


@pytest.mark.guarantee(
    "T32",
    promise="A store whose disk is full, read-only or missing rejects uploads, keeps no partial "
    "data, and accepts uploads again afterwards.",
    tried="The store is on a disk of 16 MiB. Files of 1.5 MiB are uploaded until it is full, then "
    "one is deleted; the disk is made read-only and writable again; an empty disk is mounted over "
    "it, a document is deleted, and the empty disk is unmounted. Rejections must be 503 "
    "`storage-unavailable` with `Retry-After`. Documents stay readable while their disk is "
    "mounted, and get 503 otherwise. Everything is read back, and the store, the rows and the "
    "audit trail are compared.",
    not_shown="A disk that fails during reads; missing and corrupt files have tests of their own. "
    "An account without permission: these tests run as root.",
)
async def test_full_disk_rejects_uploads_and_recovers(
    disk: Path, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment(
        "filesystem", DOCVAULT_WORKER="embedded", DOCVAULT_STORAGE_URL=disk.as_uri()
    )
    client = deployment.start()
    await make_types(client)
    uploads = Uploads(client)
    back = [0.0]
    for _ in range(size.of(ci=1, full=10)):
        while await uploads.another():
            pass
        await check_refusing(client, uploads, reads=200)
        await uploads.deletion(disk)
        back.append(await uploads.until_stored())
        # Free space, so that later uploads are not rejected for lack of it.
        await uploads.deletion(disk)
        with read_only(disk):
            await check_refusing(client, uploads, reads=200)
        back.append(await uploads.until_stored())
        await uploads.deletion(disk)
        with empty_disk(disk):
            await check_refusing(client, uploads, reads=503)
            await uploads.delete()
        back.append(await uploads.until_stored())
    figures["uploads stored"] = uploads.responses["stored"]
    figures["uploads rejected with 503"] = uploads.responses["rejected"]
    figures["longest wait for the next stored upload, seconds"] = round(max(back), 2)
    await check_afterwards(deployment, uploads.ledger, figures)


async def check_refusing(client: httpx.AsyncClient, uploads: Uploads, *, reads: int) -> None:
    """Check that uploads are rejected, and the status of downloads."""
    for _ in range(2):
        assert not await uploads.another()
    document = next(
        document for document in uploads.ledger.documents.values() if document.current is not None
    )
    assert (await client.get(document.path)).status_code == 200
    content = await client.get(f"{document.path}/content")
    assert content.status_code == reads, content.text
    assert (await client.get("/livez")).status_code == 200
