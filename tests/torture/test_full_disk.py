"""The disk is full, can only be read, or is not ours: refused, nothing half-written (T32)."""

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
from tests.torture.load import TYPES, make_known, make_types
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
    """A disk of 16 MiB, in memory, where the store is."""
    place = data_dir.parent / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "docvault", str(place))
    yield place
    unmount(place, "--lazy")


def mount(*arguments: str) -> None:
    """Mount, or leave the test out where that is not allowed."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if os.geteuid() != 0 or "permission denied" in done.stderr:
        pytest.skip("only an account that may mount can make a small disk")
    assert done.returncode == 0, done.stderr


def unmount(place: Path, *options: str) -> None:
    """Take away what was mounted last."""
    subprocess.run(["umount", *options, str(place)], check=True)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let the disk be read and not written, for a while."""
    mount("--bind", str(disk), str(disk))
    mount("-o", "remount,bind,ro", str(disk))
    try:
        yield
    finally:
        unmount(disk)


@contextmanager
def gone(disk: Path) -> Iterator[None]:
    """Let an empty disk be there instead, on which nothing may appear."""
    mount("-t", "tmpfs", "docvault", str(disk))
    try:
        yield
        assert list(disk.iterdir()) == []
    finally:
        unmount(disk)


class Uploads:
    """Uploads one file after the other, as long as the disk takes them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._number = 0
        self.ledger = Ledger()
        self.answers: Counter[str] = Counter()

    async def another(self) -> bool:
        """Upload one more; return whether it was stored. Any refusal has `Retry-After`."""
        customer, key = divmod(self._number, len(TYPES))
        self._number += 1
        await make_known(self._client, f"c-{customer}")
        slot = self.ledger.slot(f"c-{customer}", TYPES[key])
        body = f"{self._number}\n".encode() * (FILE_BYTES // len(f"{self._number}\n"))
        content = Content(body, "a.txt", "text/plain")
        part = (content.filename, content.body)
        answer = await self._client.put(slot.path, files={"file": part})
        if answer.status_code == 201:
            self.answers["stored"] += 1
            slot.doubt = Change(stored(content))
            slot.confirm()
            return True
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (503, "storage-unavailable"), problem
        assert int(answer.headers["retry-after"]) > 0
        self.answers["refused"] += 1
        return False

    async def deletion(self, disk: Path) -> None:
        """Delete the first document, and wait until its bytes are gone from the disk."""
        stored_before = len(files_below(disk))
        await self.delete()
        deadline = time.monotonic() + BACK_SECONDS
        while len(files_below(disk)) >= stored_before:
            assert time.monotonic() < deadline, "the bytes stay"
            await asyncio.sleep(WATCH_SECONDS)

    async def delete(self) -> None:
        """Delete the first document."""
        slot = next(slot for slot in self.ledger.slots.values() if slot.current is not None)
        answer = await self._client.delete(slot.path)
        assert answer.status_code == 204, answer.text
        slot.doubt = Change(None)
        slot.confirm()

    async def until_stored(self) -> float:
        """Upload until one is stored; return after how many seconds."""
        began = time.monotonic()
        while not await self.another():
            assert time.monotonic() < began + BACK_SECONDS
        return time.monotonic() - began


@pytest.mark.guarantee(
    "T32",
    promise="A store whose disk is full, can only be read, or is gone refuses uploads, keeps no "
    "part of them, and takes them again afterwards.",
    tried="The store is on a disk of 16 MiB. Files of 1.5 MiB are uploaded until it is full, then "
    "one is deleted; the disk is made read-only and writable again; an empty disk is mounted over "
    "it, a document is deleted, and that disk is taken away. Refusals have to be 503 "
    "`storage-unavailable` with `Retry-After`. Documents stay readable where their disk is, and "
    "are 503 where it is not. Everything is read back, and store, rows and audit trail are "
    "compared.",
    not_shown="A disk that fails while it is read; missing and damaged files have tests of their "
    "own. An account without permission: these tests run as root.",
)
async def test_a_disk_that_takes_nothing_refuses_uploads_and_recovers(
    disk: Path, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment(
        "filesystem", DOCVAULT_WORKER="inside", DOCVAULT_STORAGE_URL=disk.as_uri()
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
        # Room, so that what comes next is not refused for want of it.
        await uploads.deletion(disk)
        with read_only(disk):
            await check_refusing(client, uploads, reads=200)
        back.append(await uploads.until_stored())
        await uploads.deletion(disk)
        with gone(disk):
            await check_refusing(client, uploads, reads=503)
            await uploads.delete()
        back.append(await uploads.until_stored())
    figures["uploads stored"] = uploads.answers["stored"]
    figures["uploads refused with 503"] = uploads.answers["refused"]
    figures["slowest first upload afterwards, seconds"] = round(max(back), 2)
    await check_afterwards(deployment, uploads.ledger, figures)


async def check_refusing(client: httpx.AsyncClient, uploads: Uploads, *, reads: int) -> None:
    """Check that uploads are refused, and what is said of documents."""
    for _ in range(2):
        assert not await uploads.another()
    slot = next(slot for slot in uploads.ledger.slots.values() if slot.current is not None)
    assert (await client.get(slot.path)).status_code == 200
    content = await client.get(f"{slot.path}/content")
    assert content.status_code == reads, content.text
    assert (await client.get("/livez")).status_code == 200
