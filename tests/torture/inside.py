"""The service in the test's own process, with what it should hold: for races in great numbers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.factories.setups import make_type
from tests.fixtures.callers import CustomerClients
from tests.torture.model import (
    KINDS,
    Change,
    Content,
    Findings,
    Ledger,
    SlotModel,
    check_audit,
    check_store,
    stored,
)

from docvault.services.blobs import reap
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.settings import Settings


@dataclass(slots=True)
class Inside:
    """Staff, customers, the database and the store, and what was acknowledged."""

    client: httpx.AsyncClient
    customer_of: CustomerClients
    resources: Resources
    database: psycopg.Connection[tuple[Any, ...]]
    ledger: Ledger = field(default_factory=Ledger)
    findings: Findings = field(default_factory=Findings)

    async def check(self, slots: list[SlotModel]) -> None:
        """Let every intent expire, do what the jobs do, and compare everything."""
        self.database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
        await reap(self.resources)
        await finish_erasures(self.resources)
        await self.ledger.check_documents(self.client, self.findings, slots)
        keys = {blob.key async for blob in self.resources.store.list_blobs()}
        check_store(self.database, keys, self.findings)
        check_audit(self.database, self.ledger, self.findings)

    def report(self) -> dict[str, int]:
        """Return the figures of everything that has to be zero; fail when anything is not."""
        assert not self.findings, "\n".join(self.findings.details[:20])
        return dict.fromkeys(KINDS, 0)


async def put(
    client: httpx.AsyncClient, path: str, content: Content, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Upload a file."""
    part = (content.filename, content.body)
    return await client.put(path, files={"file": part}, headers=headers)


def text(name: str) -> Content:
    """A small document without a preview; the same name has the same bytes."""
    return Content(f"{name}\n".encode() * 50, f"{name}.txt", "text/plain")


def happened(slot: SlotModel, content: Content | None) -> None:
    """Note a change that was acknowledged."""
    slot.doubt = Change(None if content is None else stored(content))
    slot.confirm()


def unlimited(data_dir: Path) -> Settings:
    """Return settings under which nobody is refused for asking too often or too much at once."""
    return Settings(
        data_dir=data_dir,
        failed_credentials_per_minute=0,
        max_parallel_uploads=64,
        customer_max_parallel_uploads=0,
        customer_uploads_per_minute=0,
        customer_requests_per_minute=0,
        api_key_requests_per_minute=0,
    )


@pytest.fixture
async def inside(
    admin: httpx.AsyncClient,
    customer_of: CustomerClients,
    resources: Resources,
    database_url: str,
) -> AsyncIterator[Inside]:
    """The service with one document type, `contract`."""
    await make_type(admin, "Contract", upload_mode="optional")
    with psycopg.connect(database_url, autocommit=True) as database:
        yield Inside(admin, customer_of, resources, database)
