"""SQL about customers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from docvault.db.prepared_statements import NoRow, json_rows
from docvault.db.tables import CustomerRow, ErasureRow, new_id
from docvault.domain.customers import (
    Customer,
    CustomerCursor,
    CustomerData,
    CustomerFilter,
    CustomerProgress,
    CustomerSort,
)
from docvault.domain.document_status import Totals
from docvault.repositories.base import Repository
from docvault.repositories.customer_pages import (
    count_statement,
    cursor_parameters,
    filter_parameters,
    page_statement,
    plans,
)
from docvault.repositories.records import CustomerRecord
from docvault.repositories.sql import load_statement


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """A customer to add, and the pseudonyms an erased customer with the same id may have."""

    external_id: str
    pseudonyms: tuple[str, ...]
    data: CustomerData


@dataclass(slots=True)
class _ProgressRecord:
    customer_id: UUID
    has_documents: bool
    types: int
    uploaded: int
    required_missing: int
    documents_changed_at: datetime
    last_uploaded_at: datetime | None


_FIND_PROGRESS = load_statement("find_customer_progress", _ProgressRecord)
_INSERT_MANY = load_statement("insert_customers", CustomerRecord)
_LOCK_MANY = load_statement("lock_customers", CustomerRecord)
_UPDATE_MANY = load_statement("update_customers", NoRow)


class CustomerRepository(Repository):
    """Customers, addressed by the id that the host assigned."""

    async def find(self, external_id: str) -> Customer | None:
        """Return a customer, even one being erased."""
        query = select(CustomerRow).where(
            CustomerRow.external_id == external_id, self._reachable(CustomerRow.id)
        )
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _row_to_customer(row)

    async def lock(self, customer_id: UUID, *, exclusively: bool = False) -> Customer | None:
        """Return a customer and lock the row until the transaction ends.

        Changes of one customer's documents wait for each other. With a shared lock, two of them
        that also update the customer's row would deadlock.
        """
        query = select(CustomerRow).where(
            CustomerRow.id == customer_id, self._reachable(CustomerRow.id)
        )
        query = query.with_for_update(key_share=not exclusively)
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _row_to_customer(row)

    async def list_page(
        self, filter_: CustomerFilter, sort: CustomerSort, after: CustomerCursor | None, limit: int
    ) -> list[Customer]:
        """Return up to `limit` customers, each with the value it is sorted by."""
        parameters = {
            **filter_parameters(filter_),
            **cursor_parameters(after, sort),
            "limit": limit,
            "reachable_id": self._access.customer_id,
        }
        page: list[Customer] = []
        for plan in plans(filter_, sort):
            rows = await self._rows(page_statement(plan, filter_, sort), parameters)
            page = [to_customer(row, row.sort_value) for row in rows if row.customer_id]
            if len(page) == limit or rows[0].is_last:
                break
        return page

    async def count(self, filter_: CustomerFilter) -> int:
        """Return how many customers match the filter."""
        parameters = filter_parameters(filter_) | {"reachable_id": self._access.customer_id}
        return (await self._rows(count_statement(filter_), parameters))[0].number

    async def progress(self, customer_ids: Sequence[UUID]) -> dict[UUID, CustomerProgress]:
        """Return the progress of each customer's documents, in one statement."""
        rows = await self._rows(_FIND_PROGRESS, {"customer_ids": list(customer_ids)})
        return {
            row.customer_id: CustomerProgress(
                row.has_documents,
                Totals(row.uploaded, row.types - row.uploaded, row.required_missing),
                row.documents_changed_at,
                row.last_uploaded_at,
            )
            for row in rows
        }

    async def insert(
        self, external_id: str, data: CustomerData, tokens_valid_from: datetime | None
    ) -> Customer | None:
        """Add a customer; return None if the id exists."""
        statement = (
            insert(CustomerRow)
            .values(
                id=new_id(),
                external_id=external_id,
                tokens_valid_from=tokens_valid_from,
                **_columns(data),
            )
            .on_conflict_do_nothing(index_elements=[CustomerRow.external_id])
            .returning(CustomerRow)
        )
        row = await self._session.scalar(statement)
        return None if row is None else _row_to_customer(row)

    async def update(self, customer_id: UUID, data: CustomerData) -> Customer:
        """Replace the data that the host maintains."""
        statement = (
            update(CustomerRow)
            .where(CustomerRow.id == customer_id, self._reachable(CustomerRow.id))
            .values(updated_at=func.clock_timestamp(), **_columns(data))
            .returning(CustomerRow)
            .execution_options(populate_existing=True)
        )
        return _row_to_customer((await self._session.scalars(statement)).one())

    async def insert_many(self, customers: Sequence[NewCustomer]) -> list[Customer]:
        """Add the customers whose ids do not exist, and return them.

        Tokens of an erased customer with the same id stay refused.
        """
        items = [
            {
                "id": new_id(),
                "external_id": customer.external_id,
                "pseudonyms": list(customer.pseudonyms),
                **_columns(customer.data),
            }
            for customer in customers
        ]
        rows = await self._rows(_INSERT_MANY, {"customers": json_rows(items)})
        return [to_customer(row) for row in rows]

    async def lock_many(self, external_ids: Sequence[str]) -> list[Customer]:
        """Lock the customers that exist until the transaction ends, in the order of their ids."""
        if not external_ids:
            return []
        parameters = {
            "external_ids": list(external_ids),
            "reachable_id": self._access.customer_id,
        }
        return [to_customer(row) for row in await self._rows(_LOCK_MANY, parameters)]

    async def update_many(self, data: Mapping[UUID, CustomerData]) -> None:
        """Replace the data of customers, given by internal id."""
        if data:
            items = [{"id": id_, **_columns(new)} for id_, new in data.items()]
            parameters = {
                "customers": json_rows(items),
                "reachable_id": self._access.customer_id,
            }
            await self._rows(_UPDATE_MANY, parameters)

    async def erased_at(self, pseudonyms: Sequence[str]) -> datetime | None:
        """Return when a customer with one of these pseudonyms was last erased."""
        query = select(func.max(ErasureRow.requested_at)).where(
            ErasureRow.customer_pseudonym.in_(pseudonyms)
        )
        return await self._session.scalar(query)


def to_customer(record: CustomerRecord, sort_value: object = "") -> Customer:
    """Return the customer of a record, with the value that a page is sorted by."""
    return Customer(
        id=record.customer_id,
        external_id=record.external_id,
        pseudonym=record.pseudonym,
        data=CustomerData(record.customer_name, record.email, tuple(record.tags)),
        erasure_id=record.erasure_id,
        tokens_valid_from=record.tokens_valid_from,
        created_at=record.customer_created_at,
        updated_at=record.customer_updated_at,
        sort_value=_sort_text(sort_value),
    )


def _row_to_customer(row: CustomerRow) -> Customer:
    return Customer(
        id=row.id,
        external_id=row.external_id,
        pseudonym=row.pseudonym,
        data=CustomerData(row.name, row.email, tuple(row.tags)),
        erasure_id=row.erasure_id,
        tokens_valid_from=row.tokens_valid_from,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _columns(data: CustomerData) -> dict[str, Any]:
    return {"name": data.name, "email": data.email, "tags": list(data.tags)}


def _sort_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
