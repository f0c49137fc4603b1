"""Customers, and the filters and order of a list of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docvault.domain.document_status import Totals
from docvault.domain.gate import GateDecision


class CustomerSort(StrEnum):
    """The order of a list of customers; ties are broken by id."""

    CREATED_AT = "created_at"
    CREATED_AT_DESC = "-created_at"
    NAME = "name"
    NAME_DESC = "-name"
    DOCUMENTS_CHANGED_AT = "documents_changed_at"
    DOCUMENTS_CHANGED_AT_DESC = "-documents_changed_at"
    LAST_UPLOADED_AT = "last_uploaded_at"
    LAST_UPLOADED_AT_DESC = "-last_uploaded_at"


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Filters of a list of customers, combined with AND (R-094)."""

    has_documents: bool | None = None
    uploaded: tuple[UUID, ...] = ()
    not_uploaded: tuple[UUID, ...] = ()
    gate: GateDecision | None = None
    gate_enforced: bool = False
    search: str | None = None
    searches_email: bool = True
    tags: tuple[str, ...] = ()

    @property
    def is_by_documents(self) -> bool:
        """Whether any filter is about documents."""
        by_type = self.uploaded or self.not_uploaded
        return bool(by_type) or self.has_documents is not None or self.gate is not None


@dataclass(frozen=True, slots=True)
class CustomerCursor:
    """The position after which a page starts: a sort value and an id."""

    value: str
    external_id: str


@dataclass(frozen=True, slots=True)
class CustomerData:
    """What the host stores about a customer."""

    name: str | None = None
    email: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer. `erasure_id` is set while an erasure is running."""

    id: UUID
    external_id: str
    # What events call the customer after an erasure; random, see decision 0100.
    pseudonym: str
    data: CustomerData
    erasure_id: UUID | None
    tokens_valid_from: datetime | None
    created_at: datetime
    updated_at: datetime
    sort_value: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CustomerProgress:
    """The progress of a customer's documents; the totals are over the active types."""

    has_documents: bool
    totals: Totals
    # The creation of the customer if nothing changed since.
    documents_changed_at: datetime
    last_uploaded_at: datetime | None
