"""Schemas of erasures."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from docvault.schemas.base import OutputModel, Page, UtcTime

ErasureState = Literal["pending", "completed"]


class ErasureCounts(OutputModel):
    """What was removed, and how many blobs are still to be deleted."""

    documents: Annotated[int, Field(examples=[2])]
    versions: Annotated[int, Field(examples=[3])]
    blobs_deleted: Annotated[int, Field(examples=[5])]
    blobs_pending: Annotated[int, Field(examples=[0])]


class ErasureRead(OutputModel):
    """The erasure of a customer, who is not identified."""

    id: UUID
    state: Annotated[ErasureState, Field(examples=["completed"])]
    requested_at: UtcTime
    completed_at: UtcTime | None
    counts: ErasureCounts


class ErasurePage(Page[ErasureRead]):
    """A page of erasures, oldest first."""
