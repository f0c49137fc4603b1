"""Customers on the wire."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from docvault.rules.slots import UploadMode
from docvault.rules.states import Status, Totals, UploadState
from docvault.schemas.base import (
    CustomerId,
    InputModel,
    LineText,
    OutputModel,
    Page,
    PatchModel,
    SafeText,
    UtcTime,
)
from docvault.schemas.document_types import Key
from docvault.schemas.gate import GateRead
from docvault.schemas.problems import Problem

MAX_BATCH = 500

CustomerName = Annotated[LineText, StringConstraints(max_length=200), Field(examples=["A. Bakker"])]
Email = Annotated[
    LineText, StringConstraints(max_length=320), Field(examples=["a.bakker@example.org"])
]
Tags = Annotated[
    list[Annotated[SafeText, StringConstraints(min_length=1, max_length=100)]],
    Field(max_length=50, examples=[["wholesale"]]),
]


class CustomerPut(InputModel):
    """What the host tells about a customer; it replaces all it told before."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "A. Bakker", "email": "a.bakker@example.org"}]}
    )

    name: CustomerName | None = None
    email: Email | None = None
    tags: Tags = []


class CustomerCreate(CustomerPut):
    """A new customer, under the host platform's own id."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "c-1042", "name": "A. Bakker"}]}
    )

    id: CustomerId


class CustomerUpdate(PatchModel):
    """Changes to a customer (RFC 7396): absent is unchanged, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "A. Bakker-Smit"}]})

    name: CustomerName | None = None
    email: Email | None = None
    tags: Tags | None = None


class DocumentTotals(OutputModel):
    """Counts over the active document types; `required_missing` is what the gate waits for."""

    uploaded: Annotated[int, Field(examples=[1])]
    missing: Annotated[int, Field(examples=[2])]
    required_missing: Annotated[int, Field(examples=[1])]


class CustomerRead(OutputModel):
    """A customer and how far their documents are."""

    id: CustomerId
    # What is stored already need not be what is taken now.
    name: Annotated[str, Field(examples=["A. Bakker"])] | None
    email: Annotated[str, Field(examples=["a.bakker@example.org"])] | None
    tags: Tags
    has_documents: Annotated[
        bool, Field(description="Whether at least one document is uploaded, of whatever type.")
    ]
    documents: DocumentTotals
    created_at: UtcTime
    updated_at: UtcTime


class CustomerPage(Page[CustomerRead]):
    """One page of customers."""


def _distinct_ids(items: list[CustomerCreate]) -> list[CustomerCreate]:
    if len({item.id for item in items}) != len(items):
        raise ValueError("a customer is there twice")
    return items


class CustomerBatch(InputModel):
    """Customers to create or replace, each as with PUT."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"id": "c-1042", "name": "A. Bakker"}, {"id": "c-1043"}]}]
        }
    )

    items: Annotated[
        list[CustomerCreate],
        Field(min_length=1, max_length=MAX_BATCH),
        AfterValidator(_distinct_ids),
    ]


class CustomerBatchResult(OutputModel):
    """What became of one customer: 201 created, 200 replaced, or a problem."""

    id: CustomerId
    status: Annotated[int, Field(examples=[201])]
    problem: Problem | None


class CustomerBatchRead(OutputModel):
    """The results, in the order of the items."""

    items: list[CustomerBatchResult]


class SummaryDocumentType(OutputModel):
    """A document type, in short."""

    key: Key
    name: Annotated[str, Field(examples=["Identity card"])]
    upload_mode: UploadMode


class SummaryDocument(OutputModel):
    """The state of one document."""

    type: SummaryDocumentType
    upload_state: UploadState
    status: Status
    uploaded_at: UtcTime | None


class CustomerSummary(OutputModel):
    """The state of all documents of one customer at a glance (R-096)."""

    customer_id: CustomerId
    documents: list[SummaryDocument]
    totals: DocumentTotals
    gate: GateRead


def document_totals(totals: Totals) -> DocumentTotals:
    """Return totals as they go over the wire."""
    return DocumentTotals(
        uploaded=totals.uploaded,
        missing=totals.missing,
        required_missing=totals.required_missing,
    )
