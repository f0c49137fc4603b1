"""Pages and cursors.

Cursors are encrypted (AES-SIV, RFC 5297) and bound to the list and its filters.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from fastapi import Query, Request

from docvault.auth.keyring import Keyring
from docvault.domain.document_types import DocumentTypeCursor
from docvault.errors import InvalidCursor

MAX_LIMIT = 100
DEFAULT_LIMIT = 25
# For lists of one customer's documents.
MAX_DOCUMENTS = 200
DEFAULT_DOCUMENTS = 100

_MAX_CURSOR_LENGTH = 2048

_Row = TypeVar("_Row")

CursorQuery = Annotated[
    str | None,
    Query(description="The `next_cursor` of the previous page, with the same filters."),
]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The maximum number of items.")]
DocumentLimitQuery = Annotated[
    int, Query(ge=1, le=MAX_DOCUMENTS, description="The maximum number of items.")
]
IncludeTotalQuery = Annotated[
    bool, Query(description="Whether to return `total`, which is slow for long lists.")
]


@dataclass(frozen=True, slots=True)
class Cursors:
    """Encodes and decodes the cursors of one list with one set of filters."""

    # The first one encodes; each may decode.
    keys: tuple[bytes, ...]
    context: bytes

    @classmethod
    def of(cls, request: Request, keyring: Keyring) -> "Cursors":
        """Return the cursors of the requested list, filters and order included."""
        filters = sorted(
            (name, value)
            for name, value in request.query_params.multi_items()
            if name not in {"cursor", "limit", "include_total"}
        )
        context = json.dumps([request.scope["path"], filters]).encode()
        return cls(keyring.cursor_keys, context)

    def encode(self, position: list[str | int]) -> str:
        """Return the cursor of a position; equal positions have equal cursors."""
        payload = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
        # Encrypted, because it holds sort keys such as names and ends up in URLs and thus logs.
        sealed = AESSIV(self.keys[0]).encrypt(payload, [self.context])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def decode(self, cursor: str) -> list[Any]:
        """Return the position of a cursor; raises `InvalidCursor` for any other text."""
        if len(cursor) > _MAX_CURSOR_LENGTH or not cursor.isascii():
            raise InvalidCursor(parameter="cursor")
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidCursor(parameter="cursor") from None
        for key in self.keys:
            with suppress(ValueError, InvalidTag):
                position: list[Any] = json.loads(AESSIV(key).decrypt(sealed, [self.context]))
                return position
        raise InvalidCursor(parameter="cursor")


def decode_time_cursor(cursors: Cursors, cursor: str | None) -> tuple[datetime, UUID] | None:
    """Return the position of a cursor in a list ordered by time."""
    if cursor is None:
        return None
    at, row_id = cursors.decode(cursor)
    return datetime.fromisoformat(at), UUID(row_id)


def decode_document_type_cursor(cursors: Cursors, cursor: str | None) -> DocumentTypeCursor | None:
    """Return the position of a cursor in a list ordered by document type."""
    if cursor is None:
        return None
    position, type_id = cursors.decode(cursor)
    return DocumentTypeCursor(position, UUID(type_id))


def cut_page(
    rows: Sequence[_Row], limit: int, cursors: Cursors, position: Callable[[_Row], list[str | int]]
) -> tuple[Sequence[_Row], str | None]:
    """Return the rows of the page and the next cursor, given one row more than the limit."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.encode(position(rows[limit - 1]))
