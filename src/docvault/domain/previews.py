"""Which files have previews, and their sizes."""

from dataclasses import dataclass
from enum import StrEnum

from docvault.domain.documents import StoredFile
from docvault.domain.media_types import PREVIEWABLE_MEDIA_TYPES
from docvault.domain.scans import is_quarantined


class PreviewSize(StrEnum):
    """The size of a preview: its longest side has at most 200, 800 or 1600 pixels."""

    small = "small"
    medium = "medium"
    large = "large"


@dataclass(frozen=True, slots=True)
class StoredPreview:
    """A rendered preview in the blob store."""

    blob_key: str
    media_type: str
    sha256: str
    size_bytes: int


def may_have_page(file: StoredFile, page: int) -> bool:
    """Return whether the file has this page, as far as is known."""
    return file.pages is None or page <= file.pages


def can_preview(file: StoredFile) -> bool:
    """Return whether a preview exists or can be rendered, and may be served (R-053)."""
    return (
        file.media_type in PREVIEWABLE_MEDIA_TYPES
        and not file.preview_failed
        and not file.needs_password
        and not is_quarantined(file.scan)
    )
