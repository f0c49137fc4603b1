"""The write order of uploads: intent, bytes, rows; and the state after failures between."""

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.db.engine import Database
from docvault.errors import DatabaseUnavailable, StorageUnavailable
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore

PATH = "/v1/customer/documents/identity-card"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a required identity card."""
    await make_type(admin, "Identity card", upload_mode="required")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


async def rows(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


async def execute(resources: Resources, statement: str) -> None:
    async with resources.database.transaction() as session:
        await session.execute(text(statement))


async def states(resources: Resources) -> list[str]:
    return [state for (state,) in await rows(resources, "SELECT state FROM blobs ORDER BY id")]


async def stored_keys(resources: Resources) -> set[str]:
    return {blob.key async for blob in resources.store.list_blobs()}


async def upload(customer: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await customer.put(PATH, **upload_of(), headers=headers)


async def state_of(customer: httpx.AsyncClient) -> tuple[str, int]:
    document = (await customer.get(PATH)).json()
    return document["upload_state"], document["version"]


class Store:
    """A store that calls functions before and after each put."""

    def __init__(
        self,
        inner: BlobStore,
        *,
        before: Callable[[str], Awaitable[None]] | None = None,
        after: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._inner = inner
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, source: Path) -> None:
        if self._before:
            await self._before(key)
        await self._inner.put(key, source)
        if self._after:
            await self._after(key)


_VERSIONS_OF_THIS_TRANSACTION = """
SELECT count(*) FROM document_versions WHERE xmin::text = pg_current_xact_id()::xid::text
"""


class DoubtfulDatabase:
    """Loses the connection in the commit of a version, before or after it is applied."""

    def __init__(self, inner: Database, *, committed: bool, blind: bool = False) -> None:
        self._inner = inner
        self._committed = committed
        self._blind = blind
        self.in_doubt = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        if self._blind and self.in_doubt:
            raise DatabaseUnavailable
        async with self._inner.transaction() as session:
            yield session
            lost = bool(await session.scalar(text(_VERSIONS_OF_THIS_TRANSACTION)))
            if lost and not self._committed:
                await session.rollback()
        if lost:
            self.in_doubt += 1
            raise DatabaseUnavailable

    def autocommit(self) -> AbstractAsyncContextManager[AsyncSession]:
        """The statement that attaches, in a transaction whose end can be in doubt."""
        return self.transaction()


def use(app: FastAPI, resources: Resources, **parts: Any) -> None:
    app.state.resources = dataclasses.replace(resources, **parts)


class TestWriteOrder:
    """The order of the writes."""

    async def test_intent_is_committed_before_the_bytes_are_written(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        seen: list[Any] = []

        async def observe(key: str) -> None:
            query = "SELECT key, state, expires_at > now() + interval '5 minutes' FROM blobs"
            seen.append((key, await rows(resources, query)))

        use(app, resources, store=Store(resources.store, before=observe))
        assert (await upload(customer)).status_code == 201
        ((key, intents),) = seen
        assert intents == [(key, "pending", True)]

    async def test_document_is_missing_until_bytes_are_stored(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        seen: list[Any] = []

        async def observe(_: str) -> None:
            seen.append(await state_of(customer))

        use(app, resources, store=Store(resources.store, after=observe))
        assert (await upload(customer)).status_code == 201
        assert seen == [("missing", 0)]
        assert await state_of(customer) == ("uploaded", 1)

    @pytest.mark.req("R-009")
    async def test_rows_and_bytes_agree_after_upload(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer)
        found = await rows(resources, "SELECT key, state, expires_at FROM blobs")
        assert [(state, expires_at) for _, state, expires_at in found] == [("stored", None)]
        assert await stored_keys(resources) == {key for key, _, _ in found}

    async def test_replacement_has_new_key(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer)
        first = await stored_keys(resources)
        await upload(customer)
        assert len(await stored_keys(resources) - first) == 1
        assert first < await stored_keys(resources)

    async def test_keys_contain_only_internal_customer_id(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(PATH, **upload_of(filename="canary.pdf"))
        ((internal,),) = await rows(resources, "SELECT id FROM customers")
        (key,) = await stored_keys(resources)
        assert re.fullmatch(f"{internal}/[0-9a-f]{{32}}", key)

    async def test_spool_is_empty_after_upload(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer)
        await customer.put(PATH, **upload_of(files.executable(), "a.exe"))
        await customer.put(PATH, **upload_of(b"", "a.pdf"))
        assert [p for p in resources.store.spool_dir.rglob("*") if p.name != ".lock"] == [
            resources.spool._folder
        ]


class TestFailingStore:
    """Uploads while the store fails."""

    @pytest.fixture
    async def failed(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> httpx.Response:
        async def fail(_: str) -> None:
            raise StorageUnavailable

        use(app, resources, store=Store(resources.store, after=fail))
        response = await upload(customer, **{"Idempotency-Key": "k"})
        app.state.resources = resources
        return response

    async def test_upload_is_503_with_retry_after(self, failed: httpx.Response) -> None:
        assert (failed.status_code, failed.json()["code"]) == (503, "storage-unavailable")
        assert int(failed.headers["retry-after"]) > 0

    async def test_nothing_is_stored(
        self, failed: httpx.Response, customer: httpx.AsyncClient
    ) -> None:
        del failed
        assert await state_of(customer) == ("missing", 0)

    async def test_intent_is_kept_until_reaper_deletes_row_and_bytes(
        self, failed: httpx.Response, resources: Resources
    ) -> None:
        del failed
        assert await states(resources) == ["pending"]
        await reap(resources)
        assert await states(resources) == ["pending"]
        assert len(await stored_keys(resources)) == 1
        await execute(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")
        await reap(resources)
        assert await states(resources) == []
        assert await stored_keys(resources) == set()

    @pytest.mark.req("R-117")
    async def test_request_can_be_retried(
        self, failed: httpx.Response, customer: httpx.AsyncClient
    ) -> None:
        del failed
        response = await upload(customer, **{"Idempotency-Key": "k"})
        assert response.status_code == 201, response.text
        assert await state_of(customer) == ("uploaded", 1)


class TestCommitInDoubt:
    """The connection is lost during the commit."""

    @pytest.mark.req("R-117")
    async def test_applied_commit_is_reported_as_success(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        database = DoubtfulDatabase(resources.database, committed=True)
        use(app, resources, database=database)
        response = await upload(customer, **{"Idempotency-Key": "k"})
        assert database.in_doubt == 1
        assert (response.status_code, response.json()["version"]) == (201, 1)
        app.state.resources = resources
        again = await upload(customer, **{"Idempotency-Key": "k"})
        assert (again.status_code, again.json()) == (201, response.json())
        assert await state_of(customer) == ("uploaded", 1)

    @pytest.mark.req("R-117")
    async def test_unapplied_commit_is_503_and_can_be_retried(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        database = DoubtfulDatabase(resources.database, committed=False)
        use(app, resources, database=database)
        response = await upload(customer, **{"Idempotency-Key": "k"})
        assert database.in_doubt == 1
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert "retry-after" in response.headers
        app.state.resources = resources
        assert await state_of(customer) == ("missing", 0)
        again = await upload(customer, **{"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["version"]) == (201, 1)

    async def test_unverifiable_commit_is_503_and_loses_nothing(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        database = DoubtfulDatabase(resources.database, committed=True, blind=True)
        use(app, resources, database=database)
        response = await upload(customer, **{"Idempotency-Key": "k"})
        assert response.status_code == 503
        app.state.resources = resources
        await reap(resources)
        content = await customer.get(f"{PATH}/content")
        assert content.content == files.pdf()
        again = await upload(customer, **{"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["version"]) == (201, 1)

    async def test_bytes_of_uncommitted_version_are_reaped(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        use(app, resources, database=DoubtfulDatabase(resources.database, committed=False))
        await upload(customer)
        assert await states(resources) == ["pending"]
        await execute(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")
        await reap(resources)
        assert await stored_keys(resources) == set()


class TestLateUpload:
    """The store takes longer than the lifetime of the intent."""

    async def test_expired_intent_cannot_be_attached(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def expire(_: str) -> None:
            await execute(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")

        use(app, resources, store=Store(resources.store, after=expire))
        response = await upload(customer)
        app.state.resources = resources
        assert (response.status_code, response.json()["code"]) == (503, "storage-unavailable")
        assert await state_of(customer) == ("missing", 0)

    async def test_reaped_bytes_are_not_attached(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def expire_and_reap(_: str) -> None:
            await execute(resources, "UPDATE blobs SET expires_at = now() - interval '1 second'")
            await reap(resources)

        use(app, resources, store=Store(resources.store, after=expire_and_reap))
        assert (await upload(customer)).status_code == 503
        app.state.resources = resources
        assert await state_of(customer) == ("missing", 0)
        assert (await states(resources), await stored_keys(resources)) == ([], set())


class TestConcurrentChanges:
    """Concurrent changes while the bytes arrive."""

    @pytest.mark.req("R-106")
    async def test_bytes_of_concurrently_erased_customer_are_not_kept(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        resources: Resources,
    ) -> None:
        from docvault.services.blobs import delete_queued_blobs
        from docvault.services.erasures import finish_erasures

        async def erase(_: str) -> None:
            assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202

        use(app, resources, store=Store(resources.store, after=erase))
        response = await upload(customer)
        app.state.resources = resources
        assert (response.status_code, response.json()["code"]) == (409, "customer-being-erased")
        await delete_queued_blobs(resources)
        await finish_erasures(resources)
        assert (await states(resources), await stored_keys(resources)) == ([], set())
        assert (await admin.get("/v1/admin/customers/c-1")).status_code == 404

    @pytest.mark.req("R-034")
    async def test_type_made_admin_only_during_upload_rejects_customer(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        resources: Resources,
    ) -> None:
        from tests.factories.setups import patch_type

        async def close(_: str) -> None:
            await patch_type(admin, "identity-card", upload_mode="admin_only")

        use(app, resources, store=Store(resources.store, after=close))
        response = await upload(customer)
        app.state.resources = resources
        assert (response.status_code, response.json()["code"]) == (403, "admin-only-document")
        assert await state_of(customer) == ("missing", 0)
        assert await states(resources) == ["delete_queued"]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"accepted_media_types": ["image/png"]}, "unsupported-media-type"),
            ({"max_size_bytes": 10}, "file-too-large"),
        ],
        ids=["media type", "size"],
    )
    async def test_type_restricted_during_upload_rejects_file(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        resources: Resources,
        change: dict[str, Any],
        code: str,
    ) -> None:
        from tests.factories.setups import patch_type

        async def narrow(_: str) -> None:
            await patch_type(admin, "identity-card", **change)

        use(app, resources, store=Store(resources.store, after=narrow))
        response = await upload(customer)
        app.state.resources = resources
        assert response.json()["code"] == code
        assert await state_of(customer) == ("missing", 0)
        assert await states(resources) == ["delete_queued"]

    async def test_one_concurrent_create_only_upload_succeeds(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        import asyncio

        responses = await asyncio.gather(
            *(upload(customer, **{"If-None-Match": "*"}) for _ in range(4))
        )
        assert sorted(response.status_code for response in responses) == [201, 412, 412, 412]
        assert sorted(await states(resources)) == ["delete_queued"] * 3 + ["stored"]

    async def test_concurrent_replacements_get_distinct_versions(
        self, customer: httpx.AsyncClient
    ) -> None:
        import asyncio

        responses = await asyncio.gather(*(upload(customer) for _ in range(4)))
        assert sorted(response.json()["version"] for response in responses) == [1, 2, 3, 4]
        assert sorted(response.status_code for response in responses) == [200, 200, 200, 201]


class TestDatabaseOutage:
    """Uploads without a database."""

    async def test_upload_is_503_and_leaves_no_bytes(
        self, app: FastAPI, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        unreachable = Database("postgresql://docvault@127.0.0.1:1/docvault")
        use(app, resources, database=unreachable)
        response = await upload(customer)
        app.state.resources = resources
        await unreachable.close()
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert await stored_keys(resources) == set()
