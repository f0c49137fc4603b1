"""Several documents in one save."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.json_schema import SkipJsonSchema

from docvault.schemas.base import InputModel, OutputModel, SafeText
from docvault.schemas.document_types import Key
from docvault.schemas.documents import DOCUMENT_EXAMPLE, DocumentRead, FieldValuesInput
from docvault.schemas.problems import Problem

MAX_ITEMS = 20

PartName = Annotated[SafeText, StringConstraints(min_length=1, max_length=100)]


class DocumentBatchItem(InputModel):
    """One document of a batch: the parts that hold its files, and its field values."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"key": "identity-card", "files": ["front", "back"], "field_values": {}}]
        }
    )

    key: Key
    files: Annotated[list[PartName], Field(max_length=20)] = []
    field_values: FieldValuesInput | None = None


BATCH_ITEMS: TypeAdapter[list[DocumentBatchItem]] = TypeAdapter(
    Annotated[list[DocumentBatchItem], Field(min_length=1, max_length=MAX_ITEMS)]
)


class DocumentBatchResult(OutputModel):
    """What became of one document: `document` when it was saved, `problem` when refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "driving-licence",
                    "status": 200,
                    "document": DOCUMENT_EXAMPLE,
                }
            ]
        }
    )

    key: Key
    status: Annotated[int, Field(examples=[201])]
    document: DocumentRead | SkipJsonSchema[None] = None
    problem: Problem | SkipJsonSchema[None] = None


class DocumentBatchRead(OutputModel):
    """The results, in the order of the items."""

    items: list[DocumentBatchResult]


class DocumentBatchUpload(InputModel):
    """The parts of a batch (`multipart/form-data`): `items`, then the parts that they name."""

    model_config = ConfigDict(extra="allow")

    items: Annotated[list[DocumentBatchItem], Field(min_length=1, max_length=MAX_ITEMS)]
