"""Schemas of document types."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from docvault.domain.document_types import (
    KEY_PATTERN,
    LEGACY_UPLOAD_MODES,
    MAX_LABEL_LENGTH,
    PasswordPolicy,
    UploadMode,
)
from docvault.domain.field_values import MAX_FIELDS
from docvault.domain.media_types import KNOWN_MEDIA_TYPES
from docvault.schemas.base import (
    SHOWS_SOMETHING,
    InputModel,
    LineText,
    Name,
    OutputModel,
    Page,
    PatchModel,
    ProseText,
    SafeText,
    StoredOutputModel,
    UtcTime,
    not_blank,
)

MAX_INSTRUCTIONS_LENGTH = 2000
MAX_FILES = 20
MAX_POSITION = 1_000_000

Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN), Field(examples=["identity-card"])]
Label = Annotated[
    LineText,
    StringConstraints(strip_whitespace=True, max_length=MAX_LABEL_LENGTH),
    AfterValidator(not_blank),
    Field(
        min_length=1,
        examples=["Date of issue"],
        json_schema_extra={"pattern": SHOWS_SOMETHING},
    ),
]


def _legacy_mode(value: object) -> object:
    if type(value) is int:
        return LEGACY_UPLOAD_MODES.get(value, value)
    return value


def _known_media_type(value: str) -> str:
    if value not in KNOWN_MEDIA_TYPES:
        raise ValueError("must be a media type that can be detected from the content")
    return value


InputUploadMode = Annotated[
    UploadMode,
    BeforeValidator(_legacy_mode, json_schema_input_type=UploadMode),
    Field(description="Who may upload and whether it is required."),
]
PasswordProtected = Annotated[
    PasswordPolicy,
    Field(
        description="What happens to files that cannot be read without a password. `refuse`: such "
        "a file is 422 `password-protected`."
    ),
]
MediaTypes = Annotated[
    list[Annotated[str, StringConstraints(max_length=100), AfterValidator(_known_media_type)]],
    Field(min_length=1, max_length=50, examples=[["image/jpeg", "application/pdf"]]),
]


class DocumentTypeFieldInput(InputModel):
    """A text field to collect. Send the `key` to update or rename an existing field."""

    label: Label
    key: Key | None = None
    kind: Literal["text"] = "text"
    required: StrictBool = False


class _DocumentTypeInput(InputModel):
    @field_validator("field_labels", check_fields=False)
    @classmethod
    def one_form_of_fields(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Reject `fields` and `field_labels` together (A-12); null counts as absent."""
        if value is not None and info.data.get("fields") is not None:
            raise ValueError("must not be combined with fields")
        return value


_FIELDS = Field(max_length=MAX_FIELDS, description="The fields to collect, in order.")
_FIELD_LABELS = Field(
    max_length=MAX_FIELDS * (MAX_LABEL_LENGTH + 2),
    description="The labels of the fields, separated by commas; a short form of `fields`.",
    examples=["Date of issue, Place of issue"],
)
_INSTRUCTIONS = Field(max_length=MAX_INSTRUCTIONS_LENGTH)


class DocumentTypeCreate(_DocumentTypeInput):
    """A new document type; only the name is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Identity card"},
                {
                    "name": "Driving licence",
                    "key": "driving-licence",
                    "upload_mode": "required",
                    "collects_fields": True,
                    "fields": [{"label": "Date of issue"}, {"label": "Number", "required": True}],
                    "instructions": "Both sides, please.",
                    "accepted_media_types": ["image/jpeg", "image/png", "application/pdf"],
                    "max_files": 2,
                },
            ]
        }
    )

    name: Name
    key: Key | None = None
    upload_mode: InputUploadMode = UploadMode.OPTIONAL
    collects_fields: StrictBool = False
    fields: Annotated[list[DocumentTypeFieldInput] | None, _FIELDS] = None
    field_labels: Annotated[SafeText | None, _FIELD_LABELS] = None
    instructions: Annotated[ProseText | None, _INSTRUCTIONS] = None
    accepted_media_types: MediaTypes | None = None
    max_size_bytes: Annotated[StrictInt | None, Field(ge=1, le=2**40)] = None
    max_files: Annotated[StrictInt, Field(ge=1, le=MAX_FILES)] = 1
    password_protected: PasswordProtected = PasswordPolicy.ACCEPT
    position: Annotated[StrictInt | None, Field(ge=0, le=MAX_POSITION)] = None


class DocumentTypeUpdate(_DocumentTypeInput, PatchModel):
    """Changes to a document type (JSON Merge Patch, RFC 7396); null restores a default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"upload_mode": "required"}]})

    name: Name = ""
    upload_mode: InputUploadMode | None = None
    collects_fields: StrictBool | None = None
    fields: Annotated[list[DocumentTypeFieldInput] | None, _FIELDS] = None
    field_labels: Annotated[SafeText | None, _FIELD_LABELS] = None
    instructions: Annotated[ProseText | None, _INSTRUCTIONS] = None
    accepted_media_types: MediaTypes | None = None
    max_size_bytes: Annotated[StrictInt | None, Field(ge=1, le=2**40)] = None
    max_files: Annotated[StrictInt | None, Field(ge=1, le=MAX_FILES)] = None
    password_protected: PasswordProtected | None = None
    position: Annotated[StrictInt | None, Field(ge=0, le=MAX_POSITION)] = None
    archived: StrictBool = False


class DocumentTypeOrder(InputModel):
    """The keys of all active document types, in the new order."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"keys": ["identity-card", "driving-licence"]}]}
    )

    keys: Annotated[list[Key], Field(max_length=100_000)]


class DocumentTypeFieldRead(OutputModel):
    """A text field."""

    key: Annotated[Key, Field(examples=["date-of-issue"])]
    label: Annotated[str, Field(examples=["Date of issue"])]
    kind: Literal["text"]
    required: bool


class RequestedDocumentType(StoredOutputModel):
    """A document type as part of a document; `fields` are those currently collected."""

    key: Key
    name: Annotated[str, Field(examples=["Identity card"])]
    upload_mode: Annotated[UploadMode, Field(examples=[UploadMode.REQUIRED])]
    instructions: Annotated[str | None, Field(examples=["Both sides, please."])]
    fields: list[DocumentTypeFieldRead]
    accepted_media_types: Annotated[list[str], Field(examples=[["image/jpeg", "image/png"]])]
    max_size_bytes: Annotated[int, Field(examples=[26214400])]
    max_files: Annotated[int, Field(examples=[1])]
    password_protected: PasswordProtected = PasswordPolicy.ACCEPT


class DocumentTypeRead(RequestedDocumentType):
    """A document type; `fields` are listed even if `collects_fields` is off."""

    collects_fields: Annotated[bool, Field(examples=[True])]
    position: Annotated[int, Field(examples=[0])]
    archived: bool
    created_at: UtcTime
    updated_at: UtcTime


class DocumentTypePage(Page[DocumentTypeRead]):
    """A page of document types, in their order."""
