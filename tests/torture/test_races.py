"""Two want what only one can have: one of them gets it, and nothing is left between (T08)."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from fastapi import FastAPI
from sqlalchemy import text as sql
from tests.factories.setups import make_type
from tests.torture.figures import Figure, Size
from tests.torture.inside import Inside, happened, put, text, unlimited
from tests.torture.load import make_known
from tests.torture.model import SlotModel

from docvault.services.blobs import delete_queued_blobs, reap
from docvault.settings import Settings
from docvault.storage.base import BlobStore

pytestmark = pytest.mark.torture

_Result = TypeVar("_Result")
CHECK_EVERY = 25
AT_ONCE = 20
LATEST_SECONDS = 0.02
_LET_EXPIRE = "UPDATE blobs SET expires_at = now() WHERE state = 'pending'"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data")


class Race:
    """Two or more operations on one customer, begun at about the same moment."""

    def __init__(self, app: FastAPI, inside: Inside) -> None:
        self.app = app
        self.inside = inside
        self.client = inside.client
        self.chance = Random(8)
        self.ends: Counter[str] = Counter()

    async def prepare(self) -> None:
        """Make what all rounds need."""

    async def run(self, slot: SlotModel) -> None:
        """Run one round in a slot of its own; fail unless it ends as it may."""
        raise NotImplementedError

    async def soon(self, operation: Awaitable[_Result], latest: float = LATEST_SECONDS) -> _Result:
        """Do it in a moment, a little earlier or later each time."""
        await asyncio.sleep(self.chance.uniform(0, latest))
        return await operation

    async def upload(self, slot: SlotModel, name: str) -> str:
        """Upload before the race; return the entity tag of the document."""
        content = text(f"{slot.customer} {name}")
        answer = await put(self.client, slot.path, content)
        assert answer.is_success, answer.text
        happened(slot, content)
        return answer.headers["etag"]

    async def replace(self, slot: SlotModel, name: str, tag: str) -> bool:
        """Replace what has the tag; return whether it happened."""
        content = text(f"{slot.customer} {name}")
        answer = await put(self.client, slot.path, content, {"If-Match": tag})
        assert answer.status_code in {200, 412}, answer.text
        if answer.is_success:
            happened(slot, content)
        return answer.is_success

    async def delete(self, slot: SlotModel, tag: str = "*") -> bool:
        """Delete what has the tag; return whether it happened."""
        answer = await self.client.delete(slot.path, headers={"If-Match": tag})
        assert answer.status_code in {204, 412}, answer.text
        if answer.is_success:
            happened(slot, None)
        return answer.is_success


class TwoReplacements(Race):
    """Both replace what both have seen."""

    async def run(self, slot: SlotModel) -> None:
        tag = await self.upload(slot, "first")
        both = [self.soon(self.replace(slot, f"by {name}", tag)) for name in ("one", "two")]
        won = await asyncio.gather(*both)
        assert sum(won) == 1
        self.ends["the first won" if won[0] else "the second won"] += 1


class ReplacementAndDeletion(Race):
    """One replaces and one deletes what both have seen."""

    async def run(self, slot: SlotModel) -> None:
        tag = await self.upload(slot, "first")
        won = await asyncio.gather(
            self.soon(self.replace(slot, "second", tag)), self.soon(self.delete(slot, tag))
        )
        assert sum(won) == 1
        self.ends["replaced" if won[0] else "deleted"] += 1


class DeletionAndDownload(Race):
    """One downloads while another deletes, and the bytes go at once."""

    async def run(self, slot: SlotModel) -> None:
        await self.upload(slot, "first")

        async def delete() -> None:
            await self.delete(slot)
            await delete_queued_blobs(self.inside.resources)

        _, answer = await asyncio.gather(
            self.soon(delete()),
            self.soon(self.client.get(f"{slot.path}/content"), 3 * LATEST_SECONDS),
        )
        assert answer.status_code in {200, 404}, answer.text
        if answer.status_code == 200:
            assert answer.content == text(f"{slot.customer} first").body
        self.ends["given out whole" if answer.status_code == 200 else "not there any more"] += 1


class ErasureAndUpload(Race):
    """A customer uploads while being erased."""

    async def run(self, slot: SlotModel) -> None:
        await self.upload(slot, "first")
        uploads = [
            self.soon(put(self.client, slot.path, text(f"{slot.customer} {n}"))) for n in range(3)
        ]
        erased, *answers = await asyncio.gather(
            self.soon(self.client.delete(f"/v1/admin/customers/{slot.customer}")), *uploads
        )
        assert erased.status_code == 202
        for answer in answers:
            assert answer.status_code in {200, 404, 409}, answer.text
            self.ends["uploaded before" if answer.is_success else "refused"] += 1
        self.inside.ledger.forget(slot.customer)
        await self.inside.check([])
        answer = await self.client.get(erased.headers["location"])
        assert answer.json()["state"] == "completed"


class TwoReapers(Race):
    """Two reapers at once, while others upload."""

    async def run(self, slot: SlotModel) -> None:
        await self.upload(slot, "first")
        await self.delete(slot)
        reapers = [self.soon(reap(self.inside.resources)) for _ in range(2)]
        content = text(f"{slot.customer} second")
        answer, *_ = await asyncio.gather(self.soon(put(self.client, slot.path, content)), *reapers)
        assert answer.status_code == 201, answer.text
        happened(slot, content)
        self.ends["uploaded beside two reapers"] += 1


class SlowStore:
    """A store that takes its time to say that it has written."""

    def __init__(self, inner: BlobStore, wait: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._wait = wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, source: Path) -> None:
        """Write, and say so in a moment."""
        await self._inner.put(key, source)
        await self._wait()


class ReaperAndLateUpload(Race):
    """The bytes are written, their time is over, and the reaper comes before they are attached."""

    async def prepare(self) -> None:
        resources = self.inside.resources
        slow = SlowStore(resources.store, self._begin_to_reap)
        self.app.state.resources = dataclasses.replace(resources, store=slow)

    async def _begin_to_reap(self) -> None:
        self._reaper = asyncio.create_task(self.soon(self._let_expire()))
        await asyncio.sleep(self.chance.uniform(0, LATEST_SECONDS))

    async def _let_expire(self) -> None:
        async with self.inside.resources.database.transaction() as session:
            await session.execute(sql(_LET_EXPIRE))
        await reap(self.inside.resources)

    async def run(self, slot: SlotModel) -> None:
        content = text(f"{slot.customer} first")
        answer = await put(self.client, slot.path, content)
        await self._reaper
        assert answer.status_code in {201, 503}, answer.text
        if answer.is_success:
            happened(slot, content)
        else:
            assert "retry-after" in answer.headers
        self.ends["in time" if answer.is_success else "late, and refused"] += 1


class LastPlace(Race):
    """Twenty want the last place that the quota leaves."""

    async def prepare(self) -> None:
        for number in range(AT_ONCE):
            await make_type(self.client, f"T {number}")
        resources = self.inside.resources
        limited = resources.settings.model_copy(update={"customer_max_files": 2})
        self.app.state.resources = dataclasses.replace(resources, settings=limited)

    async def run(self, slot: SlotModel) -> None:
        await self.upload(slot, "first")
        base = slot.path.rpartition("/")[0]
        slots = [self.inside.ledger.slot(slot.customer, f"t-{n}") for n in range(AT_ONCE)]
        content = text(f"{slot.customer} last")
        answers = await asyncio.gather(
            *(self.soon(put(self.client, f"{base}/{other.key}", content)) for other in slots)
        )
        for other, answer in zip(slots, answers, strict=True):
            if answer.is_success:
                happened(other, content)
            else:
                assert answer.json()["code"] == "quota-exceeded", answer.text
        assert sum(answer.is_success for answer in answers) == 1
        self.ends["one of twenty had it"] += 1


RACES: dict[str, type[Race]] = {
    "two replacements": TwoReplacements,
    "replacement and deletion": ReplacementAndDeletion,
    "deletion and download": DeletionAndDownload,
    "erasure and uploads": ErasureAndUpload,
    "two reapers and an upload": TwoReapers,
    "reaper and late upload": ReaperAndLateUpload,
    "twenty for the last place": LastPlace,
}


@pytest.mark.guarantee(
    "T08",
    promise="Of those who want what only one can have, one gets it, and the others are told.",
    tried="Each race is run again and again, its sides beginning up to 20 ms apart, in this "
    "process against a real PostgreSQL. Two with the same `If-Match`: one succeeds, the other "
    "gets 412. A download beside a deletion is whole or 404. An upload beside an erasure leaves "
    "nothing. An upload whose time is over is 503, and its bytes go. With a quota of two files, "
    "twenty uploads beside the first: one succeeds. No answer is a 500; after every 25th round "
    "and at the end documents, store, rows and audit trail are compared.",
    not_shown="Sides in different processes: see T01, several processes.",
)
@pytest.mark.parametrize("name", RACES)
async def test_a_race_has_one_winner(
    name: str, app: FastAPI, inside: Inside, size: Size, figures: dict[str, Figure]
) -> None:
    race = RACES[name](app, inside)
    await race.prepare()
    rounds = size.of(ci=5, full=500)
    slots = []
    for number in range(1, rounds + 1):
        slot = inside.ledger.slot(f"c-{number}", "contract")
        await make_known(inside.client, slot.customer)
        await race.run(slot)
        slots.append(slot)
        if number % CHECK_EVERY == 0 or number == rounds:
            await inside.check(
                [slot for slot in slots if slot.customer not in inside.ledger.erased]
            )
            slots = []
    figures["rounds"] = rounds
    figures.update(sorted(race.ends.items()))
    figures.update(inside.report())
