"""SQL about a customer together with the slots a request is about: one round trip, not two."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Uuid, and_, bindparam, or_, select, true

from docvault.models import Customer, Document, DocumentType, DocumentVersion, PortalSettings
from docvault.models.base import columns
from docvault.prepared_statements import PreparedStatement
from docvault.repositories.base import Repository
from docvault.repositories.customers import CUSTOMER_COLUMNS, facts_of_columns
from docvault.repositories.documents import SLOT_COLUMNS, slot_facts
from docvault.rules.dossiers import Dossier, SlotChoice
from docvault.rules.portal import PortalSwitches
from docvault.rules.slots import Slot

_customers, _portal = columns(Customer), columns(PortalSettings)
_types, _documents, _versions = columns(DocumentType), columns(Document), columns(DocumentVersion)
_SLOT = len(CUSTOMER_COLUMNS) + 2


@cache
def _statement(which: str, *, with_archived: bool) -> PreparedStatement:
    """Return the statement for a choice of slots; the first step of most requests.

    A customer without any slot still gives a row, whose type is null.
    """
    reachable = bindparam("reachable", type_=Uuid())
    found: list[Any] = [*CUSTOMER_COLUMNS, _portal.section_enabled, _portal.gate_enabled]
    tables = Customer.__table__.join(PortalSettings.__table__, true())
    if which != "none":
        found += SLOT_COLUMNS
        asked: ColumnElement[bool] = true() if with_archived else _types.archived_at.is_(None)
        if which == "one":
            asked = and_(asked, _types.key == bindparam("key"))
        mine = and_(
            _documents.document_type_id == _types.id, _documents.customer_id == _customers.id
        )
        tables = (
            tables.outerjoin(DocumentType.__table__, asked)
            .outerjoin(Document.__table__, mine)
            .outerjoin(DocumentVersion.__table__, _versions.id == _documents.current_version_id)
        )
    query = (
        select(*found)
        .select_from(tables)
        .where(
            _customers.external_id == bindparam("external_id"),
            or_(reachable.is_(None), _customers.id == reachable),
        )
    )
    if which == "all":
        query = query.order_by(_types.position, _types.id)
    return PreparedStatement(query)


class DossierRepository(Repository):
    """Customers, each with what a request needs to know about them."""

    async def find(self, external_id: str, choice: SlotChoice) -> Dossier | None:
        """Return a customer, also one that is being erased; slots in the order of the types."""
        rows = await self._rows(
            _statement(choice.which, with_archived=choice.with_archived),
            {
                "external_id": external_id,
                "reachable": self._access.customer_id,
                "key": choice.key,
            },
        )
        if not rows:
            return None
        section_enabled, gate_enabled = rows[0][_SLOT - 2 : _SLOT]
        return Dossier(
            facts_of_columns(rows[0][: _SLOT - 2]),
            PortalSwitches(section_enabled, gate_enabled),
            [] if choice.which == "none" else _shown_slots(rows),
        )


def _shown_slots(rows: list[tuple[Any, ...]]) -> list[Slot]:
    slots = [slot_facts(row[_SLOT:]) for row in rows if row[_SLOT] is not None]
    return [slot for slot in slots if not slot.type.archived or slot.version is not None]
