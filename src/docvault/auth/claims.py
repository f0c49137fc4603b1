"""Reading claims, which may be of any type, even in a token with a valid signature."""

from collections.abc import Iterable, Mapping
from typing import Any

from docvault.errors import InvalidToken
from docvault.issuers import parse_path

MAX_SUBJECT_LENGTH = 255
# Later dates do not fit into a timestamp.
MAX_SECONDS = 2**37
# Lists of words in one text (RFC 8693, section 4.2); the text of other claims is one value.
_WORD_LISTS = {"scope", "scp"}


def read_values(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """Return the texts at a path: one, the words of a scope, those of a list, or member names.

    Names of members count if they have an object, as Zitadel's roles do. Everything else, and a
    path that leads nowhere or through a list, is no value.
    """
    names = parse_path(path)
    value = _find(claims, names)
    if isinstance(value, str):
        return frozenset(value.split(" ")) if names[-1] in _WORD_LISTS else frozenset([value])
    if isinstance(value, list):
        return frozenset(item for item in value if isinstance(item, str))
    if isinstance(value, dict):
        return frozenset(name for name, item in value.items() if isinstance(item, dict) and item)
    return frozenset()


def has_any(claims: Mapping[str, Any], paths: Iterable[str], values: Iterable[str]) -> bool:
    """Return whether one of the claims has one of the values."""
    wanted = frozenset(values)
    return any(not wanted.isdisjoint(read_values(claims, path)) for path in paths)


def read_subject(claims: Mapping[str, Any], path: str) -> str:
    """Return the id of a person or customer; raises `InvalidToken`."""
    value = _find(claims, parse_path(path))
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT_LENGTH:
        raise InvalidToken("The token has no valid subject.")
    if not value.isprintable():
        raise InvalidToken("The token has no valid subject.")
    return value


def read_seconds(claims: Mapping[str, Any], name: str) -> float:
    """Return a date, which may have fractions (RFC 7519, section 2); raises `InvalidToken`."""
    value = claims.get(name)
    # True is an integer to Python; NaN is in no range.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"The token has no valid {name} claim.")
    if not 0 <= value < MAX_SECONDS:
        raise InvalidToken(f"The token has no valid {name} claim.")
    return float(value)


def _find(claims: Mapping[str, Any], names: Iterable[str]) -> object:
    value: object = claims
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
