"""Pages and cursors: sealed (RFC 5297), and good for the list they came from alone."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from fastapi import Query, Request

from docvault.auth.keyring import Keyring
from docvault.errors import InvalidCursor

MAX_LIMIT = 100
DEFAULT_LIMIT = 25
# Lists of one customer's documents.
MAX_DOCUMENTS = 200
DEFAULT_DOCUMENTS = 100

_MAX_CURSOR_LENGTH = 2048

_Row = TypeVar("_Row")

CursorQuery = Annotated[
    str | None,
    Query(description="The `next_cursor` of the page before; only with the same filters."),
]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many to return at most.")]
DocumentLimitQuery = Annotated[
    int, Query(ge=1, le=MAX_DOCUMENTS, description="How many to return at most.")
]
IncludeTotalQuery = Annotated[
    bool, Query(description="Whether to count all (`total`); costs a count on large lists.")
]


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads the cursors of one list with one set of filters."""

    key: bytes
    context: bytes

    @classmethod
    def of(cls, request: Request, keyring: Keyring) -> "Cursors":
        """Return the cursors of the list that is asked for, filters and order included."""
        filters = sorted(
            (name, value)
            for name, value in request.query_params.multi_items()
            if name not in {"cursor", "limit", "include_total"}
        )
        context = json.dumps([request.scope["path"], filters]).encode()
        return cls(keyring.cursor_key, context)

    def encode(self, place: list[str | int]) -> str:
        """Return the cursor of a place; the same for the same place."""
        payload = json.dumps(place, separators=(",", ":"), ensure_ascii=False).encode()
        # It holds what the list is sorted by, names for instance, and goes into URLs and thus logs.
        sealed = AESSIV(self.key).encrypt(payload, [self.context])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def decode(self, cursor: str) -> list[Any]:
        """Return the place of a cursor; raises `InvalidCursor` for any that is not ours."""
        if len(cursor) > _MAX_CURSOR_LENGTH or not cursor.isascii():
            raise InvalidCursor(parameter="cursor")
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            payload = AESSIV(self.key).decrypt(sealed, [self.context])
        except (binascii.Error, ValueError, InvalidTag):
            raise InvalidCursor(parameter="cursor") from None
        place: list[Any] = json.loads(payload)
        return place


def cut_page(
    rows: Sequence[_Row], limit: int, cursors: Cursors, place: Callable[[_Row], list[str | int]]
) -> tuple[Sequence[_Row], str | None]:
    """Return the rows of the page and the next cursor, from a query for one row more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.encode(place(rows[limit - 1]))
