"""The service in the test's own process, with a model of its state: for large numbers of races."""

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
    DocumentModel,
    Findings,
    Ledger,
    check_audit,
    check_store,
    stored,
)

from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.settings import Settings


@dataclass(slots=True)
class LocalService:
    """A staff client, the database, the store, and the changes that were acknowledged."""

    client: httpx.AsyncClient
    customer_of: CustomerClients
    resources: Resources
    database: psycopg.Connection[tuple[Any, ...]]
    ledger: Ledger = field(default_factory=Ledger)
    findings: Findings = field(default_factory=Findings)

    async def check(self, documents: list[DocumentModel]) -> None:
        """Expire every reservation, run the jobs, and compare everything."""
        self.database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
        await reap(self.resources)
        await finish_erasures(self.resources)
        await self.ledger.check_documents(self.client, self.findings, documents)
        keys = {blob.key async for blob in self.resources.store.list_blobs()}
        check_store(self.database, keys, self.findings)
        check_audit(self.database, self.ledger, self.findings)

    def report(self) -> dict[str, int]:
        """Return the figures that must be zero; fail if any is not."""
        assert not self.findings, "\n".join(self.findings.details[:20])
        return dict.fromkeys(KINDS, 0)


async def put(
    client: httpx.AsyncClient, path: str, content: Content, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Upload a file."""
    part = (content.filename, content.body)
    return await client.put(path, files={"file": part}, headers=headers)


def text(name: str) -> Content:
    """Return a small document without a preview; equal names have equal bytes."""
    return Content(f"{name}\n".encode() * 50, f"{name}.txt", "text/plain")


def acknowledge(document: DocumentModel, content: Content | None) -> None:
    """Record an acknowledged change."""
    document.doubt = Change(None if content is None else stored(content))
    document.confirm()


def unlimited(data_dir: Path) -> Settings:
    """Return settings without rate and concurrency limits."""
    return Settings(
        data_dir=data_dir,
        failed_credentials_per_minute=0,
        max_concurrent_uploads=64,
        customer_max_concurrent_uploads=0,
        customer_uploads_per_minute=0,
        customer_requests_per_minute=0,
        customer_value_changes_per_minute=0,
        customer_max_value_bytes=0,
        api_key_requests_per_minute=0,
    )


@pytest.fixture
async def local_service(
    admin: httpx.AsyncClient,
    customer_of: CustomerClients,
    resources: Resources,
    database_url: str,
) -> AsyncIterator[LocalService]:
    """The service with one document type, `contract`."""
    await make_type(admin, "Contract", upload_mode="optional")
    with psycopg.connect(database_url, autocommit=True) as database:
        yield LocalService(admin, customer_of, resources, database)
