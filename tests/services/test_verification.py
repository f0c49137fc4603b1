"""`verify`: compares rows with bytes in both directions."""

import time
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from tests.factories import files
from tests.factories.blobs import leave_bytes
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import flipped, overwrite, stored_bytes, stored_keys

from docvault.services import verification
from docvault.services.resources import Resources
from docvault.services.verification import Findings, count_stored_blobs, verify

DAY = 24 * 3600


async def check(resources: Resources, *, rehash: bool = False) -> Findings:
    return await verify(resources, rehash=rehash, progress=lambda _: None)


@pytest.fixture
async def stored(admin: httpx.AsyncClient, resources: Resources) -> list[str]:
    """The keys of five stored files."""
    await make_type(admin, "Contract")
    for number in range(5):
        await make_customer(admin, f"c-{number}")
        path = f"/v1/admin/customers/c-{number}/documents/contract"
        await admin.put(path, **upload_of(files.pdf(f"page {number}")))
    return await stored_keys(resources)


async def flip(resources: Resources, key: str) -> None:
    await overwrite(resources, key, flipped(await stored_bytes(resources, key)))


async def orphan(resources: Resources) -> str:
    key = f"{uuid4()}/{uuid4().hex}"
    await overwrite(resources, key, b"orphan")
    return key


def let_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock of the verification into the future."""
    clock = SimpleNamespace(time=lambda: time.time() + seconds)
    monkeypatch.setattr(verification, "time", clock)


@pytest.mark.req("R-009")
class TestVerify:
    """verify()."""

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_sound_store_has_no_findings(
        self, stored: list[str], resources: Resources, *, rehash: bool
    ) -> None:
        findings = await check(resources, rehash=rehash)
        assert (findings.checked, findings.is_clean) == (len(stored), True)

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_missing_bytes_are_found(
        self, stored: list[str], resources: Resources, *, rehash: bool
    ) -> None:
        await resources.store.delete(stored[1])
        await resources.store.delete(stored[3])
        findings = await check(resources, rehash=rehash)
        assert set(findings.missing) == {stored[1], stored[3]}
        assert (findings.corrupt, findings.orphaned) == ([], [])

    @pytest.mark.parametrize("rehash", [False, True])
    async def test_truncated_and_extended_bytes_are_found(
        self, stored: list[str], resources: Resources, *, rehash: bool
    ) -> None:
        await overwrite(resources, stored[0], (await stored_bytes(resources, stored[0]))[:10])
        await overwrite(resources, stored[2], await stored_bytes(resources, stored[2]) + b"x")
        findings = await check(resources, rehash=rehash)
        assert set(findings.corrupt) == {stored[0], stored[2]}
        assert (findings.missing, findings.orphaned) == ([], [])

    async def test_flipped_bit_is_found_by_rehashing(
        self, stored: list[str], resources: Resources
    ) -> None:
        await flip(resources, stored[4])
        assert (await check(resources)).is_clean
        findings = await check(resources, rehash=True)
        assert findings.corrupt == [stored[4]]

    async def test_swapped_bytes_are_found_by_rehashing(
        self, stored: list[str], resources: Resources
    ) -> None:
        one, two = [await stored_bytes(resources, key) for key in stored[:2]]
        await overwrite(resources, stored[0], two)
        await overwrite(resources, stored[1], one)
        findings = await check(resources, rehash=True)
        assert set(findings.corrupt) == {stored[0], stored[1]}

    async def test_bytes_without_row_are_found_after_a_day(
        self, stored: list[str], resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = await orphan(resources)
        let_pass(monkeypatch, DAY - 60)
        assert (await check(resources)).is_clean
        let_pass(monkeypatch, DAY + 60)
        findings = await check(resources)
        assert findings.orphaned == [key]
        assert (findings.checked, findings.missing, findings.corrupt) == (len(stored), [], [])

    async def test_old_bytes_of_unfinished_upload_are_not_orphans(
        self, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await leave_bytes(resources)
        let_pass(monkeypatch, 2 * DAY)
        assert (await check(resources)).is_clean

    async def test_verification_changes_nothing(
        self, stored: list[str], resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await flip(resources, stored[0])
        key = await orphan(resources)
        let_pass(monkeypatch, 2 * DAY)
        await check(resources, rehash=True)
        assert set(await stored_keys(resources)) == {key, *stored}

    async def test_progress_counts_every_blob(
        self, stored: list[str], resources: Resources
    ) -> None:
        steps: list[int] = []
        await verify(resources, rehash=False, progress=steps.append)
        assert sum(steps) == await count_stored_blobs(resources) == len(stored)

    async def test_more_than_one_batch_is_checked(
        self, stored: list[str], resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification, "BATCH", 2)
        let_pass(monkeypatch, 2 * DAY)
        old = {await orphan(resources) for _ in range(5)}
        findings = await check(resources)
        assert findings.checked == len(stored)
        assert set(findings.orphaned) == old
