"""Short-lived signed URLs of stored files, for elements of web pages."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from docvault.domain.previews import PreviewSize

LIFETIME = timedelta(seconds=60)


class ContentPurpose(StrEnum):
    """How a page uses a file: shows it, offers it for saving, or shows a preview."""

    inline = "inline"
    attachment = "attachment"
    preview = "preview"


@dataclass(frozen=True, slots=True)
class ContentGrant:
    """What a content URL allows: one file, one purpose, one viewer, until it expires.

    Times are in seconds since 1970.
    """

    purpose: ContentPurpose
    size: PreviewSize
    page: int
    file_id: UUID
    key: str
    customer_id: UUID
    external_id: str
    viewer_kind: str
    viewer_id: str
    # When the token of the viewer was issued; 0 for an API key.
    token_issued_at: int
    expires_at: int
