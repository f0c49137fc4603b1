"""Keys and labels of document types and their fields."""

import re
import secrets
import unicodedata
from collections.abc import Collection

from docvault.errors import DuplicateLabel

KEY_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
MAX_KEY_LENGTH = 63
MAX_LABEL_LENGTH = 100

_NOT_KEY = re.compile(r"[^a-z0-9]+")


def fold(text: str) -> str:
    """Return what names and labels are compared by: trimmed, normalised, case-insensitive."""
    return unicodedata.normalize("NFKC", text.strip()).casefold()


def slug(name: str, taken: Collection[str], *, prefix: str) -> str:
    """Return a free key for a name: its ASCII slug, with `-2` and so on while it is taken.

    A name of which nothing is left becomes the prefix and eight random characters.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = _NOT_KEY.sub("-", ascii_name).strip("-")[:MAX_KEY_LENGTH].rstrip("-")
    stem = stem or f"{prefix}-{secrets.token_hex(4)}"
    key, number = stem, 1
    while key in taken:
        number += 1
        ending = f"-{number}"
        key = stem[: MAX_KEY_LENGTH - len(ending)].rstrip("-") + ending
    return key


def parse_field_labels(text: str) -> list[str]:
    """Return the labels of the comma-separated form: trimmed, empties dropped, in order (R-018).

    Raises `DuplicateLabel`.
    """
    labels = [label for part in text.split(",") if (label := part.strip())]
    seen: set[str] = set()
    for label in labels:
        if fold(label) in seen:
            raise DuplicateLabel(f"{label!r} is there twice.", pointer="/field_labels")
        seen.add(fold(label))
    return labels
