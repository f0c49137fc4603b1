"""Schemas of document batches."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt, TypeAdapter

from docvault.schemas.base import InputModel, OutputModel, PatchModel
from docvault.schemas.document_types import Key
from docvault.schemas.documents import DOCUMENT_EXAMPLE, DocumentRead, FieldValuesInput
from docvault.schemas.problems import Problem

MAX_ITEMS = 20
MAX_FILES = 40

FileIndex = Annotated[StrictInt, Field(ge=0, le=MAX_FILES - 1)]


class DocumentBatchItem(InputModel):
    """One document of a batch: its files and its field values."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"key": "identity-card", "files": [0, 1], "field_values": {}}]
        }
    )

    key: Key
    files: Annotated[
        list[FileIndex],
        Field(
            max_length=20,
            description="The positions of its files among the parts `files`, from 0. Each file "
            "belongs to exactly one item.",
        ),
    ] = []
    field_values: FieldValuesInput | None = None


class DocumentBatch(InputModel):
    """The documents of a batch."""

    items: Annotated[list[DocumentBatchItem], Field(min_length=1, max_length=MAX_ITEMS)]


DOCUMENT_BATCH: TypeAdapter[DocumentBatch] = TypeAdapter(DocumentBatch)


class DocumentBatchResult(OutputModel):
    """The result for one document: `document` if it was saved, otherwise `problem`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "driving-licence",
                    "status": 200,
                    "document": DOCUMENT_EXAMPLE,
                    "problem": None,
                }
            ]
        }
    )

    key: Key
    status: Annotated[int, Field(examples=[201])]
    document: DocumentRead | None
    problem: Problem | None


class DocumentBatchRead(OutputModel):
    """The results, in the order of the items."""

    items: list[DocumentBatchResult]


class DocumentBatchUpload(PatchModel):
    """The parts of a batch (`multipart/form-data`)."""

    batch: DocumentBatch
    files: Annotated[
        list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]],
        Field(
            max_length=MAX_FILES,
            description="The files of all items: one part with this name for each.",
        ),
    ] = []
