"""`verify`: rows against bytes, both ways."""

import os
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of

from docvault.services.blobs import LocalBytes, store_bytes
from docvault.services.resources import Resources
from docvault.services.verification import Findings, count_stored_blobs, verify

DAY = 24 * 3600


def path_of(resources: Resources, key: str) -> Path:
    return resources.store.spool_dir.parent / key.split("/", maxsplit=1)[0][-2:] / key


async def check(resources: Resources, *, rehash: bool = False) -> Findings:
    return await verify(resources, rehash=rehash, progress=lambda _: None)


@pytest.fixture
async def stored(admin: httpx.AsyncClient, resources: Resources) -> list[Path]:
    """The paths of five stored files."""
    await make_type(admin, "Contract")
    for number in range(5):
        await make_customer(admin, f"c-{number}")
        path = f"/v1/admin/customers/c-{number}/documents/contract"
        await admin.put(path, **upload_of(files.pdf(f"page {number}")))
    return [path_of(resources, b.key) async for b in resources.store.list_blobs()]


def key_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def orphan(resources: Resources, *, age: float) -> Path:
    path = path_of(resources, f"{uuid4()}/{uuid4().hex}")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nobody's")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


@pytest.mark.req("R-009")
class TestVerify:
    """verify()."""

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_a_sound_store_is_clean(
        self, stored: list[Path], resources: Resources, *, rehash: bool
    ) -> None:
        findings = await check(resources, rehash=rehash)
        assert (findings.checked, findings.is_clean) == (len(stored), True)

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_missing_bytes_are_found(
        self, stored: list[Path], resources: Resources, *, rehash: bool
    ) -> None:
        stored[1].unlink()
        stored[3].unlink()
        findings = await check(resources, rehash=rehash)
        assert set(findings.missing) == {key_of(stored[1]), key_of(stored[3])}
        assert (findings.damaged, findings.orphaned) == ([], [])

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_truncated_and_grown_bytes_are_found(
        self, stored: list[Path], resources: Resources, *, rehash: bool
    ) -> None:
        os.truncate(stored[0], 10)
        stored[2].write_bytes(stored[2].read_bytes() + b"x")
        findings = await check(resources, rehash=rehash)
        assert set(findings.damaged) == {key_of(stored[0]), key_of(stored[2])}
        assert (findings.missing, findings.orphaned) == ([], [])

    async def test_one_flipped_bit_is_found_by_rehashing(
        self, stored: list[Path], resources: Resources
    ) -> None:
        flip(stored[4])
        assert (await check(resources)).is_clean
        findings = await check(resources, rehash=True)
        assert findings.damaged == [key_of(stored[4])]

    async def test_swapped_bytes_are_found_by_rehashing(
        self, stored: list[Path], resources: Resources
    ) -> None:
        one, two = stored[0].read_bytes(), stored[1].read_bytes()
        stored[0].write_bytes(two)
        stored[1].write_bytes(one)
        findings = await check(resources, rehash=True)
        assert set(findings.damaged) == {key_of(stored[0]), key_of(stored[1])}

    async def test_bytes_without_a_row_are_found_once_they_are_a_day_old(
        self, stored: list[Path], resources: Resources
    ) -> None:
        old = orphan(resources, age=DAY + 60)
        orphan(resources, age=DAY - 60)
        findings = await check(resources)
        assert findings.orphaned == [key_of(old)]
        assert (findings.checked, findings.missing, findings.damaged) == (len(stored), [], [])

    async def test_old_bytes_of_an_unfinished_upload_are_no_orphans(
        self, resources: Resources
    ) -> None:
        file = resources.spool.create()
        await file.write(b"x")
        await file.finish()
        await store_bytes(resources, uuid4(), [LocalBytes(file.path, 1, file.sha256)])
        async for blob in resources.store.list_blobs():
            os.utime(path_of(resources, blob.key), (0, 0))
        assert (await check(resources)).is_clean

    async def test_nothing_is_changed(self, stored: list[Path], resources: Resources) -> None:
        flip(stored[0])
        old = orphan(resources, age=2 * DAY)
        await check(resources, rehash=True)
        assert old.exists()
        assert all(path.exists() for path in stored)

    async def test_progress_counts_every_blob(
        self, stored: list[Path], resources: Resources
    ) -> None:
        steps: list[int] = []
        await verify(resources, rehash=False, progress=steps.append)
        assert sum(steps) == await count_stored_blobs(resources) == len(stored)

    async def test_more_than_one_batch_is_checked(
        self, stored: list[Path], resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("docvault.services.verification.BATCH", 2)
        old = {key_of(orphan(resources, age=2 * DAY)) for _ in range(5)}
        findings = await check(resources)
        assert findings.checked == len(stored)
        assert set(findings.orphaned) == old
