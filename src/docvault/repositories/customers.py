"""SQL about customers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from docvault.models import Customer, Erasure, new_id
from docvault.models.base import columns
from docvault.repositories import verdicts
from docvault.repositories.base import Repository
from docvault.repositories.customer_pages import (
    count_statement,
    filter_parameters,
    page_statement,
    place_parameters,
    ways,
)
from docvault.rules.customers import (
    CustomerCounts,
    CustomerData,
    CustomerFacts,
    CustomerFilter,
    CustomerPlace,
    CustomerSort,
)
from docvault.rules.states import Totals

_COUNTS = text(verdicts.COUNTS)
_customers = columns(Customer)
# What a select needs for `facts_of_columns`, in that order.
CUSTOMER_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _customers.id,
    _customers.external_id,
    _customers.name,
    _customers.email,
    _customers.tags,
    _customers.erasure_id,
    _customers.tokens_valid_from,
    _customers.created_at,
    _customers.updated_at,
)


class CustomerRepository(Repository):
    """Customers, addressed by the host's own id."""

    async def find(self, external_id: str) -> CustomerFacts | None:
        """Return a customer, also one that is being erased."""
        query = select(*CUSTOMER_COLUMNS).where(
            _customers.external_id == external_id, self._reachable(Customer.id)
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else facts_of_columns(row)

    async def lock(self, customer_id: UUID, *, exclusively: bool = False) -> CustomerFacts | None:
        """Return a customer that stays as it is until the transaction ends.

        Changes of a customer's documents wait for each other. A lock they could share would
        have to grow when the customer's own row changes with them, and two of those deadlock.
        """
        query = select(Customer).where(Customer.id == customer_id, self._reachable(Customer.id))
        query = query.with_for_update(key_share=not exclusively)
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else customer_facts(row)

    async def list_page(
        self, filter_: CustomerFilter, sort: CustomerSort, after: CustomerPlace | None, limit: int
    ) -> list[CustomerFacts]:
        """Return up to `limit` customers, each with the value it is sorted by."""
        parameters = {
            **filter_parameters(filter_),
            **place_parameters(after, sort),
            "limit": limit,
            "reachable_id": self._access.customer_id,
        }
        page: list[CustomerFacts] = []
        for way in ways(filter_, sort, after):
            statement = page_statement(way, filter_, sort)
            rows = (await self._session.execute(statement, parameters)).all()
            page = [customer_facts(row, _sort_text(row.sort_value)) for row in rows if row.id]
            if len(page) == limit or rows[0].is_last:
                break
        return page

    async def count(self, filter_: CustomerFilter) -> int:
        """Return how many customers the filter lets through."""
        parameters = filter_parameters(filter_) | {"reachable_id": self._access.customer_id}
        return await self._session.scalar(count_statement(filter_), parameters) or 0

    async def counts(self, customer_ids: Sequence[UUID]) -> dict[UUID, CustomerCounts]:
        """Return the counts of each customer, in one query (R-097)."""
        rows = await self._session.execute(_COUNTS, {"customer_ids": customer_ids})
        return {
            row.id: CustomerCounts(
                row.has_documents,
                Totals(row.uploaded, row.types - row.uploaded, row.required_missing),
            )
            for row in rows
        }

    async def insert(
        self, external_id: str, data: CustomerData, tokens_valid_from: datetime | None
    ) -> CustomerFacts | None:
        """Add a customer; None when the id is taken."""
        statement = (
            insert(Customer)
            .values(
                id=new_id(),
                external_id=external_id,
                tokens_valid_from=tokens_valid_from,
                **_columns(data),
            )
            .on_conflict_do_nothing(index_elements=[Customer.external_id])
            .returning(Customer)
        )
        row = await self._session.scalar(statement)
        return None if row is None else customer_facts(row)

    async def update(self, customer_id: UUID, data: CustomerData) -> CustomerFacts:
        """Replace what the host told about a customer."""
        statement = (
            update(Customer)
            .where(Customer.id == customer_id, self._reachable(Customer.id))
            .values(updated_at=func.clock_timestamp(), **_columns(data))
            .returning(Customer)
            .execution_options(populate_existing=True)
        )
        return customer_facts((await self._session.scalars(statement)).one())

    async def erased_at(self, pseudonym: str) -> datetime | None:
        """Return when a customer with this pseudonym was last erased."""
        query = select(func.max(Erasure.requested_at)).where(
            Erasure.customer_pseudonym == pseudonym
        )
        return await self._session.scalar(query)


def facts_of_columns(row: Sequence[Any]) -> CustomerFacts:
    """Return the facts of a row of `CUSTOMER_COLUMNS`."""
    id_, external_id, name, email, tags, *others = row
    return CustomerFacts(id_, external_id, CustomerData(name, email, tuple(tags)), *others)


def customer_facts(row: Customer | Row[*tuple[Any, ...]], sort_value: str = "") -> CustomerFacts:
    """Return the facts of a row, be it an object or columns."""
    return CustomerFacts(
        id=row.id,
        external_id=row.external_id,
        data=CustomerData(row.name, row.email, tuple(row.tags)),
        erasure_id=row.erasure_id,
        tokens_valid_from=row.tokens_valid_from,
        created_at=row.created_at,
        updated_at=row.updated_at,
        sort_value=sort_value,
    )


def _columns(data: CustomerData) -> dict[str, Any]:
    return {"name": data.name, "email": data.email, "tags": list(data.tags)}


def _sort_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
