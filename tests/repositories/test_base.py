"""The second line of isolation: no repository accesses the rows of another customer."""

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import NoResultFound
from tests.factories import files
from tests.factories.contexts import customer_context
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault import repositories
from docvault.domain.customer_documents import DocumentSelection
from docvault.domain.customers import CustomerData, CustomerFilter, CustomerSort
from docvault.domain.document_lists import DocumentFilter
from docvault.domain.documents import DocumentVersion
from docvault.domain.events import Event, EventType
from docvault.domain.upload_sessions import BytesRefusal
from docvault.repositories.base import Repository
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.resources import Resources

DOCUMENT_PATH = "/v1/customer/documents/contract"
TABLES = ("customers", "documents", "document_versions", "blobs", "upload_sessions")

Use = Callable[[UnitOfWork, SimpleNamespace], Awaitable[Any]]

# Tested in test_attachments.py.
TRIED_ELSEWHERE = {"AttachmentRepository.attach", "AttachmentRepository.keep_files"}
ONLY_C_1 = CustomerFilter(search="c-1")


async def events_of(uow: UnitOfWork) -> Sequence[Event]:
    await uow.events.sequence(100)
    return (await uow.events.list_page(None, list(EventType), "c-1", 10)).events


async def version_of(uow: UnitOfWork, customer_id: UUID) -> DocumentVersion | None:
    document = await uow.documents.document(customer_id, "contract")
    return document.version if document else None


# Every method that limits its query by the access, and a call of it with rows of c-1.
# Private methods are called through public ones.
USES: dict[str, Use] = {
    "BlobRepository.count_pending": lambda uow, ids: uow.blobs.count_pending(ids.customer),
    "BlobRepository.mark_stored": lambda uow, ids: uow.blobs.mark_stored([ids.pending_blob]),
    "BlobRepository.places": lambda uow, ids: uow.blobs.places([ids.blob_key]),
    "BlobRepository.queue_deletion": lambda uow, ids: uow.blobs.queue_deletion([ids.pending_blob]),
    "BlobRepository.queue_refused": lambda uow, ids: uow.blobs.queue_refused(ids.pending_blob),
    "CustomerDocumentsRepository.find": lambda uow, _: uow.customer_documents.find(
        "c-1", DocumentSelection("one", "contract")
    ),
    "CustomerRepository.count": lambda uow, _: uow.customers.count(ONLY_C_1),
    "CustomerRepository.find": lambda uow, _: uow.customers.find("c-1"),
    "CustomerRepository.list_page": lambda uow, _: uow.customers.list_page(
        ONLY_C_1, CustomerSort.NAME, None, 1
    ),
    "CustomerRepository.lock": lambda uow, ids: uow.customers.lock(ids.customer),
    "CustomerRepository.lock_many": lambda uow, _: uow.customers.lock_many(["c-1"]),
    "CustomerRepository.update": lambda uow, ids: uow.customers.update(
        ids.customer, CustomerData(name="Other")
    ),
    "CustomerRepository.update_many": lambda uow, ids: uow.customers.update_many(
        {ids.customer: CustomerData(name="Other")}
    ),
    "DocumentListRepository.list_page": lambda uow, _: uow.document_lists.list_page(
        DocumentFilter(customer="c-1"), before=None, limit=1
    ),
    "DocumentRepository.count_versions": lambda uow, ids: uow.documents.count_versions(
        ids.customer, "contract"
    ),
    "DocumentRepository.document": lambda uow, ids: version_of(uow, ids.customer),
    "DocumentRepository.empty": lambda uow, ids: uow.documents.empty(ids.document),
    "DocumentRepository.lock": lambda uow, ids: uow.documents.lock(ids.customer, ids.type),
    "DocumentRepository.save_values": lambda uow, ids: uow.documents.save_values(
        ids.document, {"field": "other"}
    ),
    "DocumentRepository.version": lambda uow, ids: uow.documents.version(ids.version),
    "DocumentRepository.versions": lambda uow, ids: uow.documents.versions(
        ids.customer, "contract"
    ),
    "EventRepository.list_page": lambda uow, _: events_of(uow),
    "PreviewRepository.find": lambda uow, ids: uow.previews.find(ids.file, 1, "medium"),
    "UploadSessionRepository._query": lambda uow, ids: uow.upload_sessions.get(ids.session),
    "UploadSessionRepository.complete": lambda uow, ids: uow.upload_sessions.complete(ids.session),
    "UploadSessionRepository.refuse": lambda uow, ids: uow.upload_sessions.refuse(
        ids.session, BytesRefusal("digest-mismatch", "Other bytes.", {})
    ),
    "UploadSessionRepository.delete": lambda uow, ids: uow.upload_sessions.delete(ids.session),
}
_IDS = text("""
    SELECT c.id AS customer, d.id AS document, d.document_type_id AS type, v.id AS version,
        f.id AS file, b.id AS blob, b.key AS blob_key, s.id AS session, s.blob_id AS pending_blob,
        (SELECT id FROM customers WHERE external_id = 'c-2') AS other_customer
    FROM customers c
        JOIN documents d ON d.customer_id = c.id
        JOIN document_versions v ON v.document_id = d.id
        JOIN document_files f ON f.version_id = v.id
        JOIN blobs b ON b.id = f.blob_id
        JOIN upload_sessions s ON s.customer_id = c.id
""")


@pytest.fixture
async def ids(
    admin: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
) -> SimpleNamespace:
    """The rows of c-1: a document with a preview, and an open upload session."""
    await make_type(admin, "Contract")
    for customer_id in ("c-1", "c-2"):
        await make_customer(admin, customer_id)
    customer = customer_of("c-1")
    assert (await customer.put(DOCUMENT_PATH, **upload_of(files.png(), "a.png"))).status_code == 201
    assert (await customer.get(f"{DOCUMENT_PATH}/preview")).status_code == 200
    declared = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
    assert (await customer.post(f"{DOCUMENT_PATH}/uploads", json=declared)).status_code == 201
    async with resources.database.transaction() as session:
        return SimpleNamespace(**(await session.execute(_IDS)).mappings().one())


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call, and the content of the tables after it."""

    found: str
    tables: str


async def outcome(resources: Resources, customer_id: UUID, use: Use | None, ids: Any) -> Outcome:
    """Call a method with the access of a customer, read the tables, and roll back."""
    async with resources.database.transaction() as session:
        try:
            found = (
                await use(UnitOfWork(session, customer_context(customer_id)), ids) if use else None
            )
        except NoResultFound:
            found = None
        rows = [
            (await session.execute(text(f"SELECT to_jsonb(t) FROM {table} t ORDER BY id"))).all()
            for table in TABLES
        ]
        await session.rollback()
    return Outcome(repr(found or None), json.dumps([[row[0] for row in table] for table in rows]))


@pytest.mark.req("B-056")
@pytest.mark.parametrize("name", sorted(USES))
async def test_rows_of_other_customers_are_neither_read_nor_changed(
    resources: Resources, ids: SimpleNamespace, name: str
) -> None:
    untouched = await outcome(resources, ids.other_customer, None, ids)
    assert await outcome(resources, ids.other_customer, USES[name], ids) == untouched
    # The customer can access them.
    assert await outcome(resources, ids.customer, USES[name], ids) != untouched


def test_every_restricted_method_is_tested() -> None:
    assert narrowed_methods() == set(USES) | TRIED_ELSEWHERE


_USES_ACCESS = re.compile(r"self\._(reachable|access)\b|self\._reachable_id\(")


def narrowed_methods() -> set[str]:
    """Return the methods of repositories that use the access."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(repositories.__path__, f"{repositories.__name__}.")
    ]
    classes = {
        found
        for module in modules
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Repository)
    }
    return {
        f"{found.__name__}.{name}"
        for found in classes
        for name, method in vars(found).items()
        if found is not Repository
        and inspect.isfunction(method)
        and _USES_ACCESS.search(inspect.getsource(method))
    }
