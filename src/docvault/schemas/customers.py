"""Schemas of customers."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from docvault.domain.document_status import Status, UploadState
from docvault.domain.document_types import UploadMode
from docvault.domain.text import EMAIL_PATTERN
from docvault.schemas.base import (
    CustomerId,
    InputModel,
    LineText,
    OutputModel,
    Page,
    PatchModel,
    UtcTime,
)
from docvault.schemas.document_types import Key
from docvault.schemas.gate import GateRead
from docvault.schemas.problems import Problem

MAX_BATCH = 500

CustomerName = Annotated[LineText, StringConstraints(max_length=200), Field(examples=["A. Bakker"])]
Email = Annotated[
    str,
    StringConstraints(pattern=EMAIL_PATTERN, max_length=320),
    Field(examples=["a.bakker@example.org"]),
]
Tags = Annotated[
    list[Annotated[LineText, StringConstraints(min_length=1, max_length=100)]],
    Field(max_length=50, examples=[["wholesale"]]),
]


class CustomerPut(InputModel):
    """The complete data of a customer; it replaces all earlier data.

    A member that is left out is cleared, as if it were null or, for `tags`, empty.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "A. Bakker", "email": "a.bakker@example.org"}]}
    )

    name: CustomerName | None = None
    email: Email | None = None
    tags: Tags = []


class CustomerCreate(CustomerPut):
    """A new customer, with the host platform's id."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "c-1042", "name": "A. Bakker"}]}
    )

    id: CustomerId


class CustomerUpdate(PatchModel):
    """Changes to a customer (JSON Merge Patch, RFC 7396); null clears a member."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "A. Bakker-Smit"}]})

    name: CustomerName | None = None
    email: Email | None = None
    tags: Tags | None = None


Pseudonym = Annotated[
    str,
    Field(
        description="What events call the customer after an erasure, when the id is gone.",
        examples=["anon-5f0c9b1e2d3a4f60718293a4b5c6d7e8"],
    ),
]


class DocumentTotals(OutputModel):
    """Document counts over the active types; the gate needs `required_missing` to be 0."""

    uploaded: Annotated[int, Field(examples=[0])]
    missing: Annotated[int, Field(examples=[1])]
    required_missing: Annotated[int, Field(examples=[1])]


class CustomerRead(OutputModel):
    """A customer and the progress of their documents."""

    id: CustomerId
    pseudonym: Pseudonym
    # Stored values may predate the current limits.
    name: Annotated[str, Field(examples=["A. Bakker"])] | None
    email: Annotated[str, Field(examples=["a.bakker@example.org"])] | None
    tags: Annotated[list[str], Field(examples=[["wholesale"]])]
    has_documents: Annotated[
        bool, Field(description="Whether at least one document of any type is uploaded.")
    ]
    documents: DocumentTotals
    documents_changed_at: Annotated[
        UtcTime,
        Field(
            description="When a document of the customer was last uploaded, changed or deleted; "
            "the creation of the customer if none ever was."
        ),
    ]
    last_uploaded_at: Annotated[
        UtcTime | None,
        Field(
            description="When a version of any document was last uploaded; null if none ever was.",
            examples=[None],
        ),
    ]
    created_at: UtcTime
    updated_at: UtcTime


class CustomerPage(Page[CustomerRead]):
    """A page of customers."""


def _distinct_ids(items: list[CustomerCreate]) -> list[CustomerCreate]:
    if len({item.id for item in items}) != len(items):
        raise ValueError("must not contain a customer twice")
    return items


class CustomerBatch(InputModel):
    """Customers to create or replace, each as by PUT."""

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
    """The result for one customer: 201 created, 200 replaced, or a problem."""

    id: CustomerId
    status: Annotated[int, Field(examples=[201])]
    problem: Problem | None


class CustomerBatchRead(OutputModel):
    """The results, in the order of the items."""

    items: list[CustomerBatchResult]


class SummaryDocumentType(OutputModel):
    """A document type in brief."""

    key: Key
    name: Annotated[str, Field(examples=["Identity card"])]
    upload_mode: Annotated[UploadMode, Field(examples=[UploadMode.REQUIRED])]


class SummaryDocument(OutputModel):
    """The state of one document."""

    type: SummaryDocumentType
    upload_state: UploadState
    status: Status
    uploaded_at: Annotated[UtcTime | None, Field(examples=[None])]


class CustomerSummary(OutputModel):
    """An overview of all documents of a customer."""

    customer_id: CustomerId
    documents: list[SummaryDocument]
    totals: DocumentTotals
    gate: GateRead
