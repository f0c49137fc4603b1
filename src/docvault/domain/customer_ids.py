"""The ids by which the host platform knows its customers."""

import re

from docvault.errors import ValidationFailed

CUSTOMER_ID_PATTERN = r"^[A-Za-z0-9._~:@|+=-]{1,128}$"

_CUSTOMER_ID = re.compile(CUSTOMER_ID_PATTERN)


def check_customer_id(value: str) -> None:
    """Raise `ValidationFailed` unless the value is a valid customer id."""
    if not is_customer_id(value):
        raise ValidationFailed("Must be a valid customer id.", parameter="id")


def is_customer_id(value: str) -> bool:
    """Return whether this is a valid customer id."""
    return _CUSTOMER_ID.fullmatch(value) is not None and value not in {".", ".."}
