"""Concurrent claims on one resource: exactly one succeeds, and the state is consistent (T08)."""

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
from tests.torture.inside import LocalService, acknowledge, put, text, unlimited
from tests.torture.load import register_customer
from tests.torture.model import DocumentModel

from docvault.services.blobs import delete_queued_blobs
from docvault.services.reaper import reap
from docvault.settings import Settings
from docvault.storage.base import BlobStore

pytestmark = pytest.mark.torture

_Result = TypeVar("_Result")
CHECK_EVERY = 25
CONCURRENT = 20
LATEST_SECONDS = 0.02
_LET_EXPIRE = "UPDATE blobs SET expires_at = now() WHERE state = 'pending'"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data")


class Race:
    """Two or more operations on one customer, started at about the same time."""

    def __init__(self, app: FastAPI, local_service: LocalService) -> None:
        self.app = app
        self.local_service = local_service
        self.client = local_service.client
        self.chance = Random(8)
        self.outcomes: Counter[str] = Counter()

    async def prepare(self) -> None:
        """Create what all rounds need."""

    async def run(self, document: DocumentModel) -> None:
        """Run one round on its own document; fail on an unexpected outcome."""
        raise NotImplementedError

    async def soon(self, operation: Awaitable[_Result], latest: float = LATEST_SECONDS) -> _Result:
        """Run an operation after a short random delay."""
        await asyncio.sleep(self.chance.uniform(0, latest))
        return await operation

    async def upload(self, document: DocumentModel, name: str) -> str:
        """Upload before the race; return the entity tag of the document."""
        content = text(f"{document.customer} {name}")
        response = await put(self.client, document.path, content)
        assert response.is_success, response.text
        acknowledge(document, content)
        return response.headers["etag"]

    async def replace(self, document: DocumentModel, name: str, tag: str) -> bool:
        """Replace the document if it has the tag; return whether it was replaced."""
        content = text(f"{document.customer} {name}")
        response = await put(self.client, document.path, content, {"If-Match": tag})
        assert response.status_code in {200, 412}, response.text
        if response.is_success:
            acknowledge(document, content)
        return response.is_success

    async def delete(self, document: DocumentModel, tag: str = "*") -> bool:
        """Delete the document if it has the tag; return whether it was deleted."""
        response = await self.client.delete(document.path, headers={"If-Match": tag})
        assert response.status_code in {204, 412}, response.text
        if response.is_success:
            acknowledge(document, None)
        return response.is_success


class TwoReplacements(Race):
    """Two replacements with the same entity tag."""

    async def run(self, document: DocumentModel) -> None:
        tag = await self.upload(document, "first")
        both = [self.soon(self.replace(document, f"by {name}", tag)) for name in ("one", "two")]
        won = await asyncio.gather(*both)
        assert sum(won) == 1
        self.outcomes["the first won" if won[0] else "the second won"] += 1


class ReplacementAndDeletion(Race):
    """A replacement and a deletion with the same entity tag."""

    async def run(self, document: DocumentModel) -> None:
        tag = await self.upload(document, "first")
        won = await asyncio.gather(
            self.soon(self.replace(document, "second", tag)), self.soon(self.delete(document, tag))
        )
        assert sum(won) == 1
        self.outcomes["replaced" if won[0] else "deleted"] += 1


class DeletionAndDownload(Race):
    """A download during a deletion whose bytes are deleted immediately."""

    async def run(self, document: DocumentModel) -> None:
        await self.upload(document, "first")

        async def delete() -> None:
            await self.delete(document)
            await delete_queued_blobs(self.local_service.resources)

        _, response = await asyncio.gather(
            self.soon(delete()),
            self.soon(self.client.get(f"{document.path}/content"), 3 * LATEST_SECONDS),
        )
        assert response.status_code in {200, 404}, response.text
        if response.status_code == 200:
            assert response.content == text(f"{document.customer} first").body
        self.outcomes["served complete" if response.status_code == 200 else "already deleted"] += 1


class ErasureAndUpload(Race):
    """A customer uploads while being erased."""

    async def run(self, document: DocumentModel) -> None:
        await self.upload(document, "first")
        uploads = [
            self.soon(put(self.client, document.path, text(f"{document.customer} {n}")))
            for n in range(3)
        ]
        erased, *responses = await asyncio.gather(
            self.soon(self.client.delete(f"/v1/admin/customers/{document.customer}")), *uploads
        )
        assert erased.status_code == 202
        for response in responses:
            assert response.status_code in {200, 404, 409}, response.text
            self.outcomes["uploaded before" if response.is_success else "rejected"] += 1
        self.local_service.ledger.forget(document.customer)
        await self.local_service.check([])
        response = await self.client.get(erased.headers["location"])
        assert response.json()["state"] == "completed"


class TwoReapers(Race):
    """Two concurrent reapers during uploads."""

    async def run(self, document: DocumentModel) -> None:
        await self.upload(document, "first")
        await self.delete(document)
        reapers = [self.soon(reap(self.local_service.resources)) for _ in range(2)]
        content = text(f"{document.customer} second")
        response, *_ = await asyncio.gather(
            self.soon(put(self.client, document.path, content)), *reapers
        )
        assert response is not None
        assert response.status_code == 201, response.text
        acknowledge(document, content)
        self.outcomes["uploaded while two reapers ran"] += 1


class SlowStore:
    """A store that delays the confirmation of a write."""

    def __init__(self, inner: BlobStore, wait: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._wait = wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, source: Path) -> None:
        """Write, and return after a delay."""
        await self._inner.put(key, source)
        await self._wait()


class ReaperAndLateUpload(Race):
    """The reaper runs on expired bytes between their write and their attachment."""

    async def prepare(self) -> None:
        resources = self.local_service.resources
        slow = SlowStore(resources.store, self._begin_to_reap)
        self.app.state.resources = dataclasses.replace(resources, store=slow)

    async def _begin_to_reap(self) -> None:
        self._reaper = asyncio.create_task(self.soon(self._let_expire()))
        await asyncio.sleep(self.chance.uniform(0, LATEST_SECONDS))

    async def _let_expire(self) -> None:
        async with self.local_service.resources.database.transaction() as session:
            await session.execute(sql(_LET_EXPIRE))
        await reap(self.local_service.resources)

    async def run(self, document: DocumentModel) -> None:
        content = text(f"{document.customer} first")
        response = await put(self.client, document.path, content)
        await self._reaper
        assert response.status_code in {201, 503}, response.text
        if response.is_success:
            acknowledge(document, content)
        else:
            assert "retry-after" in response.headers
        self.outcomes["in time" if response.is_success else "late, rejected"] += 1


class LastPlace(Race):
    """Twenty uploads compete for the last file that the quota allows."""

    async def prepare(self) -> None:
        for number in range(CONCURRENT):
            await make_type(self.client, f"T {number}")
        resources = self.local_service.resources
        limited = resources.settings.model_copy(update={"customer_max_files": 2})
        self.app.state.resources = dataclasses.replace(resources, settings=limited)

    async def run(self, document: DocumentModel) -> None:
        await self.upload(document, "first")
        base = document.path.rpartition("/")[0]
        documents = [
            self.local_service.ledger.document(document.customer, f"t-{n}")
            for n in range(CONCURRENT)
        ]
        content = text(f"{document.customer} last")
        responses = await asyncio.gather(
            *(self.soon(put(self.client, f"{base}/{other.key}", content)) for other in documents)
        )
        for other, response in zip(documents, responses, strict=True):
            if response.is_success:
                acknowledge(other, content)
            else:
                assert response.json()["code"] == "quota-exceeded", response.text
        assert sum(response.is_success for response in responses) == 1
        self.outcomes["one of twenty accepted"] += 1


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
    promise="Concurrent claims on one resource have exactly one winner, and the others receive an "
    "error.",
    tried="Each race is repeated many times, its sides starting up to 20 ms apart, in this "
    "process against a real PostgreSQL. Two requests with the same `If-Match`: one succeeds, the "
    "other gets 412. A download concurrent with a deletion is complete or 404. An upload "
    "concurrent with an erasure leaves nothing behind. An upload whose reservation has expired "
    "gets 503, and its bytes are deleted. With a quota of two files, one of twenty uploads after "
    "the first succeeds. No response is a 500; after every 25th round and at the end the "
    "documents, the store, the rows and the audit trail are compared.",
    not_shown="Sides in different processes: see T01, several processes.",
)
@pytest.mark.parametrize("name", RACES)
async def test_races_have_one_winner(
    name: str, app: FastAPI, local_service: LocalService, size: Size, figures: dict[str, Figure]
) -> None:
    race = RACES[name](app, local_service)
    await race.prepare()
    rounds = size.of(ci=5, full=500)
    documents = []
    for number in range(1, rounds + 1):
        document = local_service.ledger.document(f"c-{number}", "contract")
        await register_customer(local_service.client, document.customer)
        await race.run(document)
        documents.append(document)
        if number % CHECK_EVERY == 0 or number == rounds:
            await local_service.check(
                [
                    document
                    for document in documents
                    if document.customer not in local_service.ledger.erased
                ]
            )
            documents = []
    figures["rounds"] = rounds
    figures.update(sorted(race.outcomes.items()))
    figures.update(local_service.report())
