"""SQL about customers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Uuid,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from docvault.models import (
    Customer,
    Document,
    DocumentType,
    Erasure,
    PortalSettings,
    new_id,
)
from docvault.models.base import columns
from docvault.repositories import verdicts
from docvault.repositories.base import Repository
from docvault.rules.customers import (
    CustomerCounts,
    CustomerData,
    CustomerFacts,
    CustomerFilter,
    CustomerPlace,
    CustomerSort,
)
from docvault.rules.gate import GateDecision
from docvault.rules.portal import PortalSwitches
from docvault.rules.states import Totals

_NAME_SORT: ColumnElement[str] = func.lower(func.coalesce(Customer.name, literal_column("''")))


_REACHABLE = bindparam("reachable", type_=Uuid())
_customers, _portal = columns(Customer), columns(PortalSettings)
_FIND = (
    select(*_customers, _portal.section_enabled, _portal.gate_enabled)
    .join_from(Customer.__table__, PortalSettings.__table__, true())
    .where(
        _customers.external_id == bindparam("external_id"),
        or_(_REACHABLE.is_(None), _customers.id == _REACHABLE),
    )
)


class CustomerRepository(Repository):
    """Customers, addressed by the host's own id."""

    async def find(self, external_id: str) -> CustomerFacts | None:
        """Return a customer, also one that is being erased."""
        found = await self.find_in_portal(external_id)
        return None if found is None else found[0]

    async def find_in_portal(self, external_id: str) -> tuple[CustomerFacts, PortalSwitches] | None:
        """Return a customer, also one that is being erased, and what is switched on.

        Both in one round trip, for most requests need both.
        """
        parameters = {"external_id": external_id, "reachable": self._access.customer_id}
        row = (await self._session.execute(_FIND, parameters)).one_or_none()
        if row is None:
            return None
        return customer_facts(row), PortalSwitches(row.section_enabled, row.gate_enabled)

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
        column = _NAME_SORT if sort.endswith("name") else Customer.created_at
        descending = sort.startswith("-")
        query = select(Customer, column.label("sort_value")).where(*self._conditions(filter_))
        place = tuple_(column, Customer.external_id)
        if after is not None:
            value = after.value if column is _NAME_SORT else datetime.fromisoformat(after.value)
            bound = tuple_(literal(value), literal(after.external_id))
            query = query.where(place < bound if descending else place > bound)
        order = [column, Customer.external_id]
        query = query.order_by(*(item.desc() if descending else item for item in order))
        rows = await self._session.execute(query.limit(limit))
        return [customer_facts(row, _sort_text(value)) for row, value in rows]

    async def count(self, filter_: CustomerFilter) -> int:
        """Return how many customers the filter lets through."""
        query = select(func.count()).select_from(Customer).where(*self._conditions(filter_))
        return await self._session.scalar(query) or 0

    async def counts(self, customer_ids: Sequence[UUID]) -> dict[UUID, CustomerCounts]:
        """Return the counts of each customer, in one query (R-097)."""
        rows = await self._session.execute(_counts_query(customer_ids))
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

    def _conditions(self, filter_: CustomerFilter) -> list[ColumnElement[bool]]:
        conditions = [Customer.erasure_id.is_(None), self._reachable(Customer.id)]
        if filter_.has_documents is not None:
            has = verdicts.has_documents()
            conditions.append(has if filter_.has_documents else not_(has))
        conditions += [verdicts.has_uploaded(type_id) for type_id in filter_.uploaded]
        conditions += [not_(verdicts.has_uploaded(type_id)) for type_id in filter_.not_uploaded]
        if filter_.gate is not None:
            conditions.append(_gate_condition(filter_.gate, enforced=filter_.gate_enforced))
        if filter_.search is not None:
            conditions.append(_search_condition(filter_.search))
        return conditions


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


def _gate_condition(decision: GateDecision, *, enforced: bool) -> ColumnElement[bool]:
    if not enforced:
        return literal_column("true" if decision is GateDecision.OPEN else "false")
    open_ = verdicts.owes_nothing()
    return open_ if decision is GateDecision.OPEN else not_(open_)


def _search_condition(search: str) -> ColumnElement[bool]:
    columns = (Customer.external_id, Customer.name, Customer.email)
    return or_(*(func.lower(column).like(_prefix_pattern(search)) for column in columns))


def _prefix_pattern(search: str) -> ColumnElement[str]:
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return func.lower(escaped + "%")


def _counts_query(customer_ids: Sequence[UUID]) -> Select[UUID, bool, int, int, int]:
    document, document_type = aliased(Document), aliased(DocumentType)
    filled = document.current_version_id.is_not(None)
    active = and_(document_type.id.is_not(None), document_type.archived_at.is_(None))
    return (
        select(
            Customer.id,
            verdicts.has_documents().label("has_documents"),
            func.count().filter(active).label("types"),
            func.count().filter(and_(active, filled)).label("uploaded"),
            func.count()
            .filter(and_(active, verdicts.is_due(document_type, document)))
            .label("required_missing"),
        )
        .select_from(Customer)
        .outerjoin(document_type, document_type.archived_at.is_(None))
        .outerjoin(
            document,
            and_(
                document.customer_id == Customer.id,
                document.document_type_id == document_type.id,
            ),
        )
        .where(Customer.id.in_(customer_ids))
        .group_by(Customer.id)
    )
