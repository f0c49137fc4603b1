"""Facts about customers, and how a list of them is asked for."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docvault.rules.gate import GateDecision
from docvault.rules.states import Totals


class CustomerSort(StrEnum):
    """How a list of customers can be sorted; the id always breaks ties."""

    CREATED_AT = "created_at"
    CREATED_AT_DESC = "-created_at"
    NAME = "name"
    NAME_DESC = "-name"


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """What customers a list shows; all conditions must hold (R-094)."""

    has_documents: bool | None = None
    uploaded: tuple[UUID, ...] = ()
    not_uploaded: tuple[UUID, ...] = ()
    gate: GateDecision | None = None
    gate_enforced: bool = False
    search: str | None = None

    @property
    def is_by_documents(self) -> bool:
        """Whether what customers have delivered decides."""
        by_type = self.uploaded or self.not_uploaded
        return bool(by_type) or self.has_documents is not None or self.gate is not None

    @property
    def narrows(self) -> bool:
        """Whether some customers may be left out."""
        return self.is_by_documents or self.search is not None


@dataclass(frozen=True, slots=True)
class CustomerPlace:
    """Where a page of customers starts: after this sort value and id."""

    value: str
    external_id: str


@dataclass(frozen=True, slots=True)
class CustomerData:
    """What the host tells about a customer."""

    name: str | None = None
    email: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """A customer. `erasure_id` is set while an erasure runs."""

    id: UUID
    external_id: str
    data: CustomerData
    erasure_id: UUID | None
    tokens_valid_from: datetime | None
    created_at: datetime
    updated_at: datetime
    sort_value: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CustomerCounts:
    """Whether a customer has any document, and the totals over the active types."""

    has_documents: bool
    totals: Totals
