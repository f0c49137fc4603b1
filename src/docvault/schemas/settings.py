"""Portal settings on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from docvault.rules.introductions import MAX_SOURCE_LENGTH, IntroductionFormat
from docvault.schemas.base import InputModel, OutputModel, PatchModel, SafeText
from docvault.schemas.customers import DocumentTotals
from docvault.schemas.gate import GateRead


class IntroductionInput(InputModel):
    """The introduction of the documents section, as written."""

    format: IntroductionFormat
    source: Annotated[SafeText, Field(max_length=MAX_SOURCE_LENGTH, examples=["**Welcome**"])]


class IntroductionRead(OutputModel):
    """The introduction as written, and as safe HTML."""

    format: IntroductionFormat
    source: Annotated[str, Field(examples=["**Welcome**"])]
    html: Annotated[str, Field(examples=["<p><strong>Welcome</strong></p>\n"])]


class PortalSettingsRead(OutputModel):
    """The settings of the customers' personal area."""

    section_enabled: Annotated[
        bool, Field(description="Whether customers have the section at all.")
    ]
    gate_enabled: Annotated[
        bool, Field(description="Whether all required documents are needed for full access.")
    ]
    customer_may_delete: Annotated[
        bool, Field(description="Whether customers may delete optional documents.")
    ]
    introduction: IntroductionRead | None


class PortalSettingsUpdate(PatchModel):
    """Changes to the settings (RFC 7396); null clears the introduction."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"gate_enabled": True}]})

    section_enabled: StrictBool = True
    gate_enabled: StrictBool = False
    customer_may_delete: StrictBool = False
    introduction: IntroductionInput | None = None


class PortalIntroduction(OutputModel):
    """The introduction as safe HTML."""

    html: Annotated[str, Field(examples=["<p><strong>Welcome</strong></p>\n"])]


class PortalRead(OutputModel):
    """What a customer's front end needs to show the documents section."""

    section_enabled: bool
    introduction: PortalIntroduction | None
    gate: GateRead
    documents: DocumentTotals
