"""Which files have a preview, and how large previews are."""

from enum import StrEnum

from docvault.rules.media_types import PREVIEWABLE_MEDIA_TYPES
from docvault.rules.scans import is_quarantined
from docvault.rules.slots import FileFacts


class PreviewSize(StrEnum):
    """How large a preview is: its longest side is 200, 800 or 1600 pixels, or the source's."""

    small = "small"
    medium = "medium"
    large = "large"


def can_preview(file: FileFacts) -> bool:
    """Return whether a preview exists or can be made, and is given out (R-053)."""
    return (
        file.media_type in PREVIEWABLE_MEDIA_TYPES
        and not file.preview_failed
        and not is_quarantined(file.scan)
    )
