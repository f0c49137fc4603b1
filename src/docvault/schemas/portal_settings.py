"""Schemas of the portal and its settings."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from docvault.domain.introductions import MAX_SOURCE_LENGTH, IntroductionFormat
from docvault.schemas.base import InputModel, OutputModel, PatchModel, ProseText
from docvault.schemas.customers import DocumentTotals
from docvault.schemas.gate import GateRead


class IntroductionInput(InputModel):
    """The source of the introduction to the documents section."""

    format: IntroductionFormat
    source: Annotated[ProseText, Field(max_length=MAX_SOURCE_LENGTH, examples=["**Welcome**"])]


class IntroductionRead(OutputModel):
    """The introduction to the documents section, as source and as sanitized HTML."""

    format: Annotated[IntroductionFormat, Field(examples=[IntroductionFormat.MARKDOWN])]
    source: Annotated[str, Field(examples=["**Welcome**"])]
    html: Annotated[str, Field(examples=["<p><strong>Welcome</strong></p>\n"])]


class PortalSettingsRead(OutputModel):
    """The settings of the customer portal."""

    section_enabled: Annotated[
        bool,
        Field(description="Whether customers can use the documents section.", examples=[True]),
    ]
    gate_enabled: Annotated[
        bool,
        Field(description="Whether full access requires all required documents.", examples=[True]),
    ]
    customer_may_delete: Annotated[
        bool, Field(description="Whether customers may delete optional documents.")
    ]
    introduction: IntroductionRead | None


class PortalSettingsUpdate(PatchModel):
    """Changes to the settings (JSON Merge Patch, RFC 7396); null clears the introduction."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"gate_enabled": True}]})

    section_enabled: StrictBool = True
    gate_enabled: StrictBool = False
    customer_may_delete: StrictBool = False
    introduction: IntroductionInput | None = None


class PortalIntroduction(OutputModel):
    """The introduction to the documents section, as sanitized HTML."""

    html: Annotated[str, Field(examples=["<p><strong>Welcome</strong></p>\n"])]


class PortalRead(OutputModel):
    """The data a front end needs to show the documents section."""

    name: Annotated[
        str | None, Field(description="The customer's own name.", examples=["A. Bakker"])
    ]
    section_enabled: Annotated[bool, Field(examples=[True])]
    introduction: PortalIntroduction | None
    gate: GateRead
    documents: DocumentTotals
