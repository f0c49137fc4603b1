"""pydantic's validation errors as docvault's own stable codes and messages."""

import re
from collections.abc import Mapping
from typing import Any

from docvault.domain.text import EMAIL_PATTERN, LINE_PATTERN, PROSE_PATTERN

# Codes a frontend can rely on; pydantic renames its own between versions.
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown-member",
    "string_too_long": "too-long",
    "too_long": "too-long",
    "string_too_short": "too-short",
    "too_short": "too-short",
    "string_pattern_mismatch": "invalid-format",
    "control_characters": "unsafe-text",
    "email_address": "invalid-format",
    "enum": "not-one-of",
    "literal_error": "not-one-of",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
    "value_error": "invalid-value",
}
_KINDS_OF_PATTERN = {
    LINE_PATTERN: "control_characters",
    PROSE_PATTERN: "control_characters",
    EMAIL_PATTERN: "email_address",
}
_QUOTED = re.compile(r"'([^']*)'")
_WRONG_TYPE = re.compile(r"_type$|_parsing$|_from_|^timezone_")

# By code, or by pydantic's type where two types with one code differ.
_MESSAGES = {
    "required": "Required.",
    "unknown-member": "Unknown member.",
    "string_too_long": "Must be at most {max_length} characters.",
    "string_too_short": "Must be at least {min_length} characters.",
    "too_long": "Must be at most {max_length} items.",
    "too_short": "Must be at least {min_length} items.",
    "greater_than_equal": "Must be at least {ge}.",
    "less_than_equal": "Must be at most {le}.",
    "control_characters": "Must not contain control characters.",
    "email_address": "Must be an e-mail address.",
    "invalid-format": "Invalid format.",
    "not-one-of": "Must be {expected}.",
    "wrong-type": "Wrong type.",
}


_BOUNDS = {"max_length": "max", "le": "max", "min_length": "min", "ge": "min"}


def explain_error(
    kind: str, message: str, context: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """Return code, message and parameters of a validation error, never the submitted value.

    `kind`, `message` and `context` are pydantic's.
    """
    # pydantic counts the characters of a text behind a validator as it counts items of a list.
    if kind in {"too_long", "too_short"} and context.get("field_type") == "Value":
        kind = f"string_{kind}"
    kind = _KINDS_OF_PATTERN.get(context.get("pattern", ""), kind)
    code = _CODES.get(kind) or ("wrong-type" if _WRONG_TYPE.search(kind) else "invalid-value")
    return code, _message(kind, code, message, context), _params(code, context)


def _message(kind: str, code: str, message: str, context: Mapping[str, Any]) -> str:
    template = _MESSAGES.get(kind) or _MESSAGES.get(code)
    if template is not None:
        try:
            return re.sub(r"\b1 (character|item)s", r"1 \1", template.format_map(context))
        except KeyError:
            pass
    return _as_sentence(message.removeprefix("Value error, "))


def _params(code: str, context: Mapping[str, Any]) -> dict[str, Any]:
    if code == "not-one-of":
        return {"allowed": _QUOTED.findall(str(context.get("expected", "")))}
    if code in {"too-long", "too-short", "out-of-range"}:
        return {_BOUNDS[name]: value for name, value in context.items() if name in _BOUNDS}
    return {}


def _as_sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."
