"""Schemas of content URLs."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt

from docvault.domain.content_urls import ContentPurpose
from docvault.domain.previews import PreviewSize
from docvault.schemas.base import InputModel, OutputModel, UtcTime
from docvault.schemas.document_types import MAX_FILES


class ContentUrlCreate(InputModel):
    """The file that a page is going to show, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"purpose": "inline"}]})

    purpose: Annotated[
        ContentPurpose,
        Field(
            description="`inline` shows JPEG, PNG, WebP, GIF, AVIF, and PDF without active "
            "content; any other file is sent as an attachment. `preview` is a picture of one page."
        ),
    ]
    file: Annotated[
        StrictInt,
        Field(ge=1, le=MAX_FILES, description="The number of the file in the document, from 1."),
    ] = 1
    size: Annotated[PreviewSize, Field(description="The size of a preview.")] = PreviewSize.medium
    page: Annotated[
        StrictInt, Field(ge=1, le=2**31 - 1, description="The page of a preview, from 1.")
    ] = 1


class ContentUrlRead(OutputModel):
    """A URL that needs no credential, for `<img>`, `<iframe>` and `<a>`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://files.example.org/content/2xJv…",
                    "expires_at": "2026-11-24T09:28:44Z",
                }
            ]
        }
    )

    url: Annotated[str, Field(description="A credential: do not store it or pass it on.")]
    expires_at: UtcTime
