"""Preconditions of changes (RFC 9110, section 13)."""

from dataclasses import dataclass
from typing import Literal

from docvault.errors import PreconditionFailed

# Strong entity tags, or `*` for any. Weak tags never match in a strong comparison.
EntityTags = frozenset[str] | Literal["*"]


@dataclass(frozen=True, slots=True)
class Preconditions:
    """If-Match and If-None-Match of a request; None where the header is absent."""

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None

    @property
    def are_absent(self) -> bool:
        """Whether the change is unconditional."""
        return self.if_match is None and self.if_none_match is None

    def check(self, etag: str | None) -> None:
        """Raise `PreconditionFailed` unless both hold.

        `etag` is that of the current representation, None when the resource does not exist.
        """
        if self.if_match is not None and not _matches(self.if_match, etag):
            raise PreconditionFailed
        if self.if_none_match is not None and _matches(self.if_none_match, etag):
            raise PreconditionFailed


UNCONDITIONAL = Preconditions()


def _matches(tags: EntityTags, etag: str | None) -> bool:
    return etag is not None and (tags == "*" or etag in tags)
