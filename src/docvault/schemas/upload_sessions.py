"""Schemas of upload sessions."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from docvault.schemas.base import OutputModel, PatchModel, SafeText, UtcTime
from docvault.schemas.documents import FieldValuesInput

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015" * 2
_ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"


class UploadCreate(PatchModel):
    """The file of a new upload."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "filename": "licence.jpg",
                    "size_bytes": 482113,
                    "sha256": _SHA256,
                    "field_values": {"date-of-issue": "2024-05-02"},
                }
            ]
        }
    )

    filename: Annotated[SafeText, StringConstraints(min_length=1, max_length=1024)]
    # JSON integers are exact up to here (RFC 8259, section 6).
    size_bytes: Annotated[StrictInt, Field(ge=0, le=2**53 - 1)]
    sha256: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9a-fA-F]{64}$"),
        AfterValidator(str.lower),
        Field(description="The SHA-256 of the file, in hexadecimal."),
    ]
    field_values: FieldValuesInput = {}
    append: Annotated[
        StrictBool,
        Field(
            description="Whether the file is added to the files of the document; otherwise it "
            "replaces them."
        ),
    ] = False


class UploadCreated(OutputModel):
    """How to send the file: once, with the declared size and SHA-256, before `expires_at`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "method": "PUT",
                    "url": "https://store.example.org/documents/…?X-Amz-Signature=…",
                    "headers": {"Content-Length": "482113", "If-None-Match": "*"},
                    "expires_at": "2026-11-24T09:27:44Z",
                }
            ]
        }
    )

    id: UUID
    method: Literal["PUT"]
    url: Annotated[
        str,
        Field(
            description="A signed, opaque URL: whoever has it can upload the file. Send no "
            "credential with it."
        ),
    ]
    headers: Annotated[
        dict[str, str],
        Field(description="Headers to send unchanged. Most clients set Content-Length themselves."),
    ]
    expires_at: UtcTime


class UploadRead(OutputModel):
    """An upload. `pending`: not completed, whether or not the bytes have arrived."""

    id: Annotated[UUID, Field(examples=[_ID])]
    state: Literal["pending", "completed", "expired"]
    filename: Annotated[str, Field(examples=["licence.jpg"])]
    size_bytes: Annotated[int, Field(examples=[482113])]
    sha256: Annotated[str, Field(examples=[_SHA256])]
    expires_at: UtcTime
