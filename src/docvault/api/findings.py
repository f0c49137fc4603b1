"""What pydantic finds, in our own stable codes and in words for people."""

import re
from collections.abc import Mapping
from typing import Any

# Codes a frontend can rely on; pydantic renames its own between versions.
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown-member",
    "string_too_long": "too-long",
    "too_long": "too-long",
    "string_too_short": "too-short",
    "too_short": "too-short",
    "string_pattern_mismatch": "invalid-format",
    "enum": "not-one-of",
    "literal_error": "not-one-of",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
    "value_error": "invalid-value",
}
_WRONG_TYPE = re.compile(r"_type$|_parsing$|_from_|^timezone_")

_MESSAGES = {
    "required": "This is required.",
    "unknown-member": "There is no such member.",
    "too-long": "At most {max_length} here.",
    "too-short": "At least {min_length} here.",
    "invalid-format": "This is not of the expected form.",
    "not-one-of": "Expected {expected}.",
    "wrong-type": "This is of the wrong type.",
}


def explain(kind: str, message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return code and message of a finding; never with the value that was sent."""
    code = _CODES.get(kind) or ("wrong-type" if _WRONG_TYPE.search(kind) else "invalid-value")
    template = _MESSAGES.get(code)
    if template is None:
        return code, message.removeprefix("Value error, ")
    try:
        return code, template.format_map(context)
    except KeyError:
        return code, message
