"""Schemas of documents; staff see more than the other APIs."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictInt, StringConstraints

from docvault.domain.document_status import Status, UploadState
from docvault.domain.field_values import MAX_FIELDS, MAX_VALUE_LENGTH
from docvault.domain.scans import ScanState
from docvault.schemas.base import (
    CustomerId,
    InputModel,
    OutputModel,
    Page,
    PatchModel,
    ProseText,
    StoredOutputModel,
    UtcTime,
)
from docvault.schemas.document_types import MAX_FILES, Key, RequestedDocumentType

UploaderKind = Literal["customer", "admin", "integration"]

FieldValue = Annotated[ProseText, StringConstraints(max_length=MAX_VALUE_LENGTH)]
FieldValuesInput = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], FieldValue | None],
    Field(
        max_length=MAX_FIELDS,
        description="Values by field key, merged into the stored values; null clears a value.",
        examples=[{"date-of-issue": "2024-05-02"}],
    ),
]
FieldValues = Annotated[dict[str, str], Field(examples=[{"date-of-issue": "2024-05-02"}])]


class FileRead(StoredOutputModel):
    """One stored file."""

    number: Annotated[int, Field(description="Position in the document, from 1.", examples=[1])]
    filename: Annotated[
        str,
        Field(
            description="The sanitized file name; its extension matches the media type.",
            examples=["licence.jpg"],
        ),
    ]
    media_type: Annotated[
        str, Field(description="Detected from the content.", examples=["image/jpeg"])
    ]
    size_bytes: Annotated[int, Field(examples=[482113])]
    sha256: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015" * 2])]
    has_preview: Annotated[
        bool,
        Field(
            description="Whether the file has a preview: an image or PDF, unless its first page "
            "could not be rendered.",
            examples=[True],
        ),
    ]
    has_active_content: Annotated[
        bool,
        Field(
            description="Whether the file can run or fetch something (scripts, macros, remote "
            "templates, embedded programs), or cannot be inspected; such a file is never sent "
            "inline."
        ),
    ]
    has_attachments: Annotated[
        bool | None,
        Field(
            description="Whether other files are embedded, such as the XML of an electronic "
            "invoice. Null: unknown, because the file cannot be inspected, or was stored by a "
            "version that did not look."
        ),
    ] = None
    needs_password: Annotated[
        bool | None,
        Field(
            description="Whether the file cannot be read without a password. Null: unknown, "
            "because the file was stored by a version that did not look."
        ),
    ] = None
    pages: Annotated[
        int | None,
        Field(
            description="The number of pages of a PDF or TIFF, and 1 for other images. Null for "
            "other types, and if it is not known.",
            examples=[1],
        ),
    ] = None
    scan: Annotated[
        ScanState,
        Field(
            description="The result of the last malware scan. `infected`: the file is quarantined "
            "and cannot be read (409 `document-quarantined`). `error`: the scan failed. "
            "`not_configured`: there is no scanner."
        ),
    ]


class Uploader(OutputModel):
    """The kind of caller who uploaded the document."""

    kind: UploaderKind


class AdminUploader(Uploader):
    """The caller who uploaded the document."""

    id: Annotated[
        str,
        Field(
            description="The customer's id, the subject of the staff member's token, or the id of "
            "the API key.",
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
        "password_protected": "accept",
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
            "has_attachments": False,
            "needs_password": False,
            "pages": 1,
            "scan": "not_configured",
        }
    ],
    "field_values": {"date-of-issue": "2024-05-02"},
    "can_upload": True,
    "can_edit_fields": True,
}
DOCUMENT_EXAMPLE = {
    **_DOCUMENT_EXAMPLE,
    "can_delete": False,
    "uploaded_by": {"kind": "customer"},
}
ADMIN_DOCUMENT_EXAMPLE = {
    **_DOCUMENT_EXAMPLE,
    "can_delete": True,
    "uploaded_by": {"kind": "customer", "id": "c-1042"},
}
_ITEM_TAG = '"4f1c9d0b2a7e63581c0d9e8f7a6b5c4d"'


class _DocumentRead(StoredOutputModel):
    type: RequestedDocumentType
    upload_state: UploadState
    status: Annotated[
        Status,
        Field(
            description="Derived from the upload and the field values; `incomplete`: a required "
            "field value is missing. Later versions may add values."
        ),
    ]
    version: Annotated[
        int,
        Field(
            description="0 if missing; increases with each upload and never restarts.",
            examples=[1],
        ),
    ]
    uploaded_at: UtcTime | None
    files: list[FileRead]
    field_values: FieldValues
    can_upload: Annotated[
        bool, Field(description="Whether you may upload, replace, add and remove files.")
    ]
    can_edit_fields: Annotated[
        bool,
        Field(
            description="Whether you can change field values without sending a file: there are "
            "fields, you may, and a customer has sent the file of a required document."
        ),
    ] = False
    can_delete: Annotated[bool, Field(description="Whether you can delete the document.")] = False


class DocumentRead(_DocumentRead):
    """A customer's document of one type, uploaded or missing."""

    model_config = ConfigDict(json_schema_extra={"examples": [DOCUMENT_EXAMPLE]})

    uploaded_by: Uploader | None


class AdminDocumentRead(_DocumentRead):
    """A customer's document of one type, uploaded or missing, as staff see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADMIN_DOCUMENT_EXAMPLE]})

    uploaded_by: AdminUploader | None


ItemTag = Annotated[
    str,
    Field(
        description="The `ETag` of the document; send it as `If-Match` to change it.",
        examples=[_ITEM_TAG],
    ),
]


class DocumentItem(DocumentRead):
    """A customer's document of one type, in a list."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**DOCUMENT_EXAMPLE, "etag": _ITEM_TAG}]}
    )

    etag: ItemTag


class AdminDocumentItem(AdminDocumentRead):
    """A customer's document of one type, in a list, as staff see it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**ADMIN_DOCUMENT_EXAMPLE, "etag": _ITEM_TAG}]}
    )

    etag: ItemTag


class DocumentPage(Page[DocumentItem]):
    """A page of a customer's documents, in the order of their types."""


class AdminDocumentPage(Page[AdminDocumentItem]):
    """A page of a customer's documents, in the order of their types."""


class ListedDocumentRead(DocumentItem):
    """A document with a file, in a list across customers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"customer_id": "c-1042", **DOCUMENT_EXAMPLE, "etag": _ITEM_TAG}]
        }
    )

    customer_id: CustomerId


class AdminListedDocumentRead(AdminDocumentItem):
    """A document with a file, in a list across customers, as staff see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"customer_id": "c-1042", **ADMIN_DOCUMENT_EXAMPLE, "etag": _ITEM_TAG}]
        }
    )

    customer_id: CustomerId


class ListedDocumentPage(Page[ListedDocumentRead]):
    """A page of the documents of all customers, newest upload first."""


class AdminListedDocumentPage(Page[AdminListedDocumentRead]):
    """A page of the documents of all customers, newest upload first."""


class DocumentUpdate(PatchModel):
    """Changes to the field values; files, version and upload date stay unchanged."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"field_values": {"date-of-issue": "2024-05-02"}}]}
    )

    field_values: FieldValuesInput = {}


class DocumentVersionRead(OutputModel):
    """A submitted version. `field_values` are those submitted with it."""

    version: Annotated[int, Field(examples=[1])]
    uploaded_at: UtcTime
    uploaded_by: AdminUploader
    files: list[FileRead]
    field_values: FieldValues
    is_current: Annotated[bool, Field(examples=[True])]


class DocumentVersionPage(Page[DocumentVersionRead]):
    """A page of the versions of a document, newest first."""


class CopySource(InputModel):
    """The source of a copy; by default all files of the current version."""

    key: Key
    version: Annotated[StrictInt | None, Field(ge=1, le=2**31 - 1)] = None
    file: Annotated[StrictInt | None, Field(ge=1, le=MAX_FILES)] = None


class DocumentCopy(InputModel):
    """A copy from another document of the same customer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": {"key": "identity-card"}}]},
        populate_by_name=True,
    )

    source: Annotated[CopySource, Field(alias="from")]


class FileUpload(PatchModel):
    """The parts of a request that adds a file (`multipart/form-data`)."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]
    field_values: FieldValuesInput = {}


class DocumentUpload(PatchModel):
    """The parts of an upload (`multipart/form-data`)."""

    file: Annotated[
        list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]],
        Field(
            min_length=1,
            max_length=20,
            description="The files: up to `max_files` parts with this name.",
        ),
    ]
    field_values: FieldValuesInput = {}
