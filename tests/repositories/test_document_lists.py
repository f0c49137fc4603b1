"""Documents across customers: every way to find a page agrees with the rules in Python."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.repositories.test_customers import Setup, documents_of, random_setup

from docvault.domain.document_lists import DocumentFilter
from docvault.domain.document_status import Status, status
from docvault.domain.documents import Document
from docvault.repositories import document_lists
from docvault.repositories.unit_of_work import UnitOfWork

SEEDS = range(6)
QUESTIONS = 30


@pytest.fixture(params=[1000, 2, 0], ids="at most {} groups".format)
def max_groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limit the number of groups that are searched."""
    monkeypatch.setattr(document_lists, "MAX_GROUPS", request.param)
    document_lists._statement.cache_clear()
    yield
    document_lists._statement.cache_clear()


def random_filter(rng: random.Random, setup: Setup) -> DocumentFilter:
    day = datetime.now(UTC) - timedelta(hours=24)
    return DocumentFilter(
        document_type_id=rng.choice((None, None, *setup.types)),
        status=rng.choice((None, Status.INCOMPLETE, Status.ACCEPTED)),
        uploaded_by=rng.choice((None, None, "customer", "admin", "integration")),
        uploaded_since=rng.choice((None, None, day, day - timedelta(days=9000))),
        customer=rng.choice((None, None, None, *setup.customers, "nobody")),
        with_archived=rng.random() < 0.5,
    )


def matches(customer: str, document: Document, filter_: DocumentFilter) -> bool:
    version = document.version
    return (
        version is not None
        and filter_.document_type_id in {None, document.type.id}
        and filter_.status in {None, status(document)}
        and filter_.uploaded_by in {None, version.uploaded_by_kind}
        and (filter_.uploaded_since is None or version.uploaded_at >= filter_.uploaded_since)
        and filter_.customer in {None, customer}
        and (filter_.with_archived or not document.type.archived)
    )


async def walk(uow: UnitOfWork, filter_: DocumentFilter, limit: int) -> list[tuple[str, UUID]]:
    """Return the customer and the version of each document of all pages."""
    found: list[tuple[str, UUID]] = []
    while True:
        before = found[-1][1] if found else None
        page = await uow.document_lists.list_page(filter_, before=before, limit=limit)
        found += [(one.customer_id, one.version_id) for one in page]
        if len(page) < limit:
            return found


@pytest.mark.req("B-172", "B-173")
@pytest.mark.usefixtures("max_groups")
@pytest.mark.parametrize("seed", SEEDS)
async def test_pages_match_domain(uow: UnitOfWork, seed: int) -> None:
    setup, rng = await random_setup(uow, seed), random.Random(seed)
    documents = [
        (customer, document)
        for customer, of_one in (await documents_of(uow, setup)).items()
        for document in of_one
    ]
    for filter_ in (random_filter(rng, setup) for _ in range(QUESTIONS)):
        expected = [
            (customer, document.version.id)
            for customer, document in documents
            if matches(customer, document, filter_) and document.version
        ]
        expected.sort(key=lambda found: found[1], reverse=True)
        assert await walk(uow, filter_, rng.choice((1, 5, 26, 101))) == expected, filter_


async def test_documents_have_their_files_and_values(uow: UnitOfWork) -> None:
    setup = await random_setup(uow, 1)
    documents = await documents_of(uow, setup)
    page = await uow.document_lists.list_page(
        DocumentFilter(with_archived=True), before=None, limit=101
    )
    assert page
    for listed in page:
        assert listed.document in documents[listed.customer_id]


def test_time_of_extreme_years_has_an_id() -> None:
    filter_ = DocumentFilter()
    for year in (1, 9999):
        since = datetime(year, 1, 1, tzinfo=UTC)
        limited = replace(filter_, uploaded_since=since)
        assert document_lists._first_id(limited.uploaded_since) < document_lists._LAST_ID
