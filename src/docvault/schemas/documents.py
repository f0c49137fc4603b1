"""Documents on the wire, one shape for each audience."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictInt, StringConstraints

from docvault.rules.field_values import MAX_VALUE_LENGTH
from docvault.rules.scans import ScanState
from docvault.rules.states import Status, UploadState
from docvault.schemas.base import InputModel, OutputModel, Page, PatchModel, SafeText, UtcTime
from docvault.schemas.document_types import AskedDocumentType, Key

UploaderKind = Literal["customer", "admin", "integration"]

FieldValue = Annotated[SafeText, StringConstraints(max_length=MAX_VALUE_LENGTH)]
FieldValuesInput = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], FieldValue | None],
    Field(
        max_length=50,
        description="Values by field key, merged into those that are stored; null clears one.",
        examples=[{"date-of-issue": "2024-05-02"}],
    ),
]
FieldValues = Annotated[dict[str, str], Field(examples=[{"date-of-issue": "2024-05-02"}])]


class FileRead(OutputModel):
    """One stored file."""

    number: Annotated[int, Field(description="Place within the document, from 1.", examples=[1])]
    filename: Annotated[str, Field(examples=["licence.jpg"])]
    media_type: Annotated[
        str, Field(description="Decided from the bytes.", examples=["image/jpeg"])
    ]
    size_bytes: Annotated[int, Field(examples=[482113])]
    sha256: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015" * 2])]
    has_preview: bool
    has_active_content: Annotated[
        bool, Field(description="Whether it can run something; such a file is never inline.")
    ]
    scan: Annotated[
        ScanState,
        Field(
            description="How the last scan for malware ended: `infected` is given to nobody (409 "
            "`document-quarantined`), `error` gave no verdict, `not_configured`: no scanner."
        ),
    ]


class Uploader(OutputModel):
    """Who uploaded, without saying which person."""

    kind: UploaderKind


class AdminUploader(Uploader):
    """Who uploaded."""

    id: Annotated[
        str,
        Field(
            description="The customer's id, the subject of the staff member's token or the id "
            "of the API key.",
            examples=["c-1042"],
        ),
    ]


_DOCUMENT_EXAMPLE: dict[str, Any] = {
    "type": {
        "key": "driving-licence",
        "name": "Driving licence",
        "upload_mode": "required",
        "instructions": "Both sides, please.",
        "fields": [
            {"key": "date-of-issue", "label": "Date of issue", "kind": "text", "required": False}
        ],
        "accepted_media_types": ["image/jpeg", "image/png", "application/pdf"],
        "max_size_bytes": 26214400,
        "max_files": 2,
    },
    "upload_state": "uploaded",
    "status": "accepted",
    "version": 2,
    "uploaded_at": "2026-11-24T09:12:44Z",
    "files": [
        {
            "number": 1,
            "filename": "licence.jpg",
            "media_type": "image/jpeg",
            "size_bytes": 482113,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2,
            "has_preview": True,
            "has_active_content": False,
            "scan": "not_configured",
        }
    ],
    "field_values": {"date-of-issue": "2024-05-02"},
    "can_upload": True,
}
DOCUMENT_EXAMPLE = {**_DOCUMENT_EXAMPLE, "uploaded_by": {"kind": "customer"}}
ADMIN_DOCUMENT_EXAMPLE = {
    **_DOCUMENT_EXAMPLE,
    "uploaded_by": {"kind": "customer", "id": "c-1042"},
}


class _DocumentRead(OutputModel):
    type: AskedDocumentType
    upload_state: UploadState
    status: Annotated[
        Status,
        Field(description="Derived. Be ready for more values; `incomplete`: a value is due."),
    ]
    version: Annotated[
        int,
        Field(description="0 while missing; grows with each upload, never restarts.", examples=[1]),
    ]
    uploaded_at: UtcTime | None
    files: list[FileRead]
    field_values: FieldValues
    can_upload: bool


class DocumentRead(_DocumentRead):
    """The place of one customer for one document type, filled or not."""

    model_config = ConfigDict(json_schema_extra={"examples": [DOCUMENT_EXAMPLE]})

    uploaded_by: Uploader | None


class AdminDocumentRead(_DocumentRead):
    """The place of one customer for one document type, filled or not, as staff see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADMIN_DOCUMENT_EXAMPLE]})

    uploaded_by: AdminUploader | None


class DocumentPage(Page[DocumentRead]):
    """One page of a customer's documents, in the order of their types."""


class AdminDocumentPage(Page[AdminDocumentRead]):
    """One page of a customer's documents, in the order of their types."""


class DocumentUpdate(PatchModel):
    """Changes to the field values; file, version and upload date stay as they are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"field_values": {"date-of-issue": "2024-05-02"}}]}
    )

    field_values: FieldValuesInput = {}


class DocumentVersionRead(OutputModel):
    """One submission. `field_values` are those it came with."""

    version: Annotated[int, Field(examples=[1])]
    uploaded_at: UtcTime
    uploaded_by: AdminUploader
    files: list[FileRead]
    field_values: FieldValues
    is_current: bool


class DocumentVersionPage(Page[DocumentVersionRead]):
    """One page of the versions of a document, newest first."""


class CopySource(InputModel):
    """What to copy; by default every file of the current version."""

    key: Key
    version: Annotated[StrictInt | None, Field(ge=1, le=2**31 - 1)] = None
    file: Annotated[StrictInt | None, Field(ge=1, le=20)] = None


class DocumentCopy(InputModel):
    """Fill a slot with the bytes of another slot of the same customer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": {"key": "identity-card"}}]},
        populate_by_name=True,
    )

    source: Annotated[CopySource, Field(alias="from")]


class DocumentUpload(PatchModel):
    """The parts of an upload (`multipart/form-data`)."""

    file: Annotated[
        list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]],
        Field(
            min_length=1,
            max_length=20,
            description="The file; up to `max_files` parts with this name.",
        ),
    ]
    field_values: FieldValuesInput = {}
