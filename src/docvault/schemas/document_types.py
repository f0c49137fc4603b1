"""Document types on the wire."""

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

from docvault.rules.document_types import KEY_PATTERN, MAX_LABEL_LENGTH
from docvault.rules.media_types import KNOWN_MEDIA_TYPES
from docvault.rules.slots import LEGACY_UPLOAD_MODES, FieldFacts, UploadMode
from docvault.schemas.base import (
    SHOWS_SOMETHING,
    InputModel,
    Name,
    OutputModel,
    Page,
    PatchModel,
    SafeText,
    UtcTime,
    not_blank,
)

MAX_FIELDS = 50
MAX_INSTRUCTIONS_LENGTH = 2000
MAX_FILES = 20
MAX_POSITION = 1_000_000

Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN), Field(examples=["identity-card"])]
Label = Annotated[
    SafeText,
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
        raise ValueError("is not a media type that can be recognised from the bytes")
    return value


InputUploadMode = Annotated[
    UploadMode,
    BeforeValidator(_legacy_mode, json_schema_input_type=UploadMode | Literal[0, 1, 2]),
    Field(
        description="Who must or may upload. The codes 0, 1 and 2 of older systems stand for "
        "optional, required and admin_only."
    ),
]
MediaTypes = Annotated[
    list[Annotated[str, StringConstraints(max_length=100), AfterValidator(_known_media_type)]],
    Field(min_length=1, max_length=50, examples=[["image/jpeg", "application/pdf"]]),
]


class DocumentTypeFieldInput(InputModel):
    """A text field to ask for. Give the `key` to update or rename one that exists."""

    label: Label
    key: Key | None = None
    kind: Literal["text"] = "text"
    required: StrictBool = False


class _DocumentTypeInput(InputModel):
    @field_validator("field_labels", check_fields=False)
    @classmethod
    def one_form_of_fields(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse `fields` and `field_labels` together (A-12); null is neither."""
        if value is not None and info.data.get("fields") is not None:
            raise ValueError("give fields or field_labels, not both")
        return value


_FIELDS = Field(max_length=MAX_FIELDS, description="The fields to ask for, in order.")
_FIELD_LABELS = Field(
    max_length=MAX_FIELDS * (MAX_LABEL_LENGTH + 2),
    description="The labels of the fields, separated by commas: a short form of `fields`.",
    examples=["Date of issue, Place of issue"],
)
_INSTRUCTIONS = Field(max_length=MAX_INSTRUCTIONS_LENGTH)


class DocumentTypeCreate(_DocumentTypeInput):
    """A document type to ask for; a name is enough."""

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
    instructions: Annotated[SafeText | None, _INSTRUCTIONS] = None
    accepted_media_types: MediaTypes | None = None
    max_size_bytes: Annotated[StrictInt | None, Field(ge=1, le=2**40)] = None
    max_files: Annotated[StrictInt, Field(ge=1, le=MAX_FILES)] = 1
    position: Annotated[StrictInt | None, Field(ge=0, le=MAX_POSITION)] = None


class DocumentTypeUpdate(_DocumentTypeInput, PatchModel):
    """Changes to a document type (RFC 7396): absent is unchanged, null is the default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"upload_mode": "required"}]})

    name: Name = ""
    upload_mode: InputUploadMode | None = None
    collects_fields: StrictBool | None = None
    fields: Annotated[list[DocumentTypeFieldInput] | None, _FIELDS] = None
    field_labels: Annotated[SafeText | None, _FIELD_LABELS] = None
    instructions: Annotated[SafeText | None, _INSTRUCTIONS] = None
    accepted_media_types: MediaTypes | None = None
    max_size_bytes: Annotated[StrictInt | None, Field(ge=1, le=2**40)] = None
    max_files: Annotated[StrictInt | None, Field(ge=1, le=MAX_FILES)] = None
    position: Annotated[StrictInt | None, Field(ge=0, le=MAX_POSITION)] = None
    archived: StrictBool = False


class DocumentTypeOrder(InputModel):
    """Every active document type, in the wanted order."""

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


class AskedDocumentType(OutputModel):
    """A document type as shown with a document: `fields` are those that are asked now."""

    key: Key
    name: Annotated[str, Field(examples=["Identity card"])]
    upload_mode: UploadMode
    instructions: str | None
    fields: list[DocumentTypeFieldRead]
    accepted_media_types: Annotated[list[str], Field(examples=[["image/jpeg", "image/png"]])]
    max_size_bytes: Annotated[int, Field(examples=[26214400])]
    max_files: Annotated[int, Field(examples=[1])]


class DocumentTypeRead(AskedDocumentType):
    """A document type as staff and third parties see it: `fields` also while not collected."""

    collects_fields: bool
    position: Annotated[int, Field(examples=[0])]
    archived: bool
    created_at: UtcTime
    updated_at: UtcTime


class DocumentTypePage(Page[DocumentTypeRead]):
    """One page of document types, in their order."""


def field_reads(fields: tuple[FieldFacts, ...]) -> list[DocumentTypeFieldRead]:
    """Return fields as they go over the wire."""
    return [
        DocumentTypeFieldRead(key=f.key, label=f.label, kind="text", required=f.required)
        for f in fields
    ]
