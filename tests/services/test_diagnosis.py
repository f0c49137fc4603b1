"""The checks of `docvault doctor`."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest

from docvault.auth.jwks import RemoteKeys
from docvault.auth.tokens import TokenVerifier
from docvault.db.engine import Database
from docvault.db.health import DatabaseState
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.services.diagnosis import (
    MIN_MEMORY_BYTES,
    _check_memory,
    _judge_database,
    _probe_store,
    diagnose,
)
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore
from docvault.storage.filesystem import FilesystemBlobStore

SOUND = DatabaseState(
    is_migrated=True, is_read_only=False, now=datetime.now(UTC), free_connections=50
)


class ReplacingStore:
    """A store that ignores `If-None-Match`."""

    def __init__(self, store: FilesystemBlobStore) -> None:
        self._store = store
        self.spool_dir = store.spool_dir

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def put(self, key: str, source: Path) -> None:
        await self._store.delete(key)
        await self._store.put(key, source)


class KeepingStore(ReplacingStore):
    """A store that locks its objects."""

    async def put(self, key: str, source: Path) -> None:
        await self._store.put(key, source)

    async def delete(self, key: str) -> None:
        pass


async def test_sound_deployment_passes_every_check(resources: Resources) -> None:
    # The machine of the tests may limit memory.
    findings = [one async for one in diagnose(resources) if one.check != "memory"]
    assert {one.check for one in findings} == {
        "database",
        "clock",
        "store",
        "spool",
        "issuer default",
    }
    assert [str(one) for one in findings if one.problem is not None] == []


async def test_probe_leaves_nothing_in_store(resources: Resources) -> None:
    await _probe_store(resources)
    assert [blob async for blob in resources.store.list_blobs()] == []


@pytest.mark.own_store("it wraps a filesystem store")
@pytest.mark.parametrize(
    ("store", "problem"),
    [
        (ReplacingStore, "it replaces objects in spite of If-None-Match"),
        (KeepingStore, "deleted objects remain"),
    ],
)
async def test_unsuitable_store_is_reported(
    resources: Resources,
    blob_store: FilesystemBlobStore,
    store: type[ReplacingStore],
    problem: str,
) -> None:
    unsuitable = dataclasses.replace(resources, store=cast("BlobStore", store(blob_store)))
    assert (await _probe_store(unsuitable)).problem == problem


async def test_unreachable_database_is_reported(resources: Resources) -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/none")
    broken = dataclasses.replace(resources, database=database)
    findings = {one.check: one.problem async for one in diagnose(broken)}
    await database.close()
    assert findings["database"] == "nothing listens at its address"
    assert findings["store"] is None


async def test_unmigrated_database_is_reported(
    resources: Resources, postgres: EmbeddedPostgres
) -> None:
    database = Database(postgres.create_database("doctor_unmigrated"))
    findings = [
        str(one) async for one in diagnose(dataclasses.replace(resources, database=database))
    ]
    await database.close()
    assert "database: it is not at this version; run `docvault migrate`" in findings


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (
            dataclasses.replace(SOUND, is_read_only=True),
            "database: it is read-only; connect to the primary",
        ),
        (
            dataclasses.replace(SOUND, free_connections=3),
            (
                "database: 3 connections are free, and a process opens 10; "
                "raise max_connections or lower DOCVAULT_DATABASE_POOL_SIZE"
            ),
        ),
    ],
)
def test_problem_of_database_has_advice(state: DatabaseState, line: str) -> None:
    assert [str(one) for one in _judge_database(state, 10) if one.check == "database"] == [line]


def test_wrong_clock_is_reported() -> None:
    state = dataclasses.replace(SOUND, now=datetime.now(UTC) - timedelta(minutes=2))
    (clock,) = [one for one in _judge_database(state, 10) if one.check == "clock"]
    assert clock.problem == "it differs by 120 seconds from the database's"


async def test_unreachable_issuer_is_reported(resources: Resources) -> None:
    async with httpx.AsyncClient() as client:
        (trusted,) = resources.tokens.trusted
        keys = RemoteKeys("http://127.0.0.1:9/jwks", client)
        tokens = TokenVerifier([dataclasses.replace(trusted, keys=keys)])
        broken = dataclasses.replace(resources, tokens=tokens)
        findings = {one.check: one.problem async for one in diagnose(broken)}
    assert findings["issuer default"] == "its keys cannot be fetched: connection refused"


@pytest.mark.parametrize(
    ("limit", "is_sufficient"),
    [
        ("max\n", True),
        (f"{MIN_MEMORY_BYTES}\n", True),
        (f"{MIN_MEMORY_BYTES - 1}\n", False),
        (None, True),
    ],
)
def test_memory_limit_is_compared(tmp_path: Path, limit: str | None, is_sufficient: bool) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    assert (_check_memory(file).problem is None) == is_sufficient
