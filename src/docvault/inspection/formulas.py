"""Formulas of spreadsheets: functions that start a program or fetch something."""

import re

_TEXT = re.compile(r'"[^"]*"')
_NAMES = ("webservice", "image", "dde", "rtd", "call", "register", "register.id", "exec")
# Of Excel and LibreOffice. In a file a name may have a prefix, such as `_xlfn.`.
_FUNCTION = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, _NAMES))}) ?\(", re.IGNORECASE)
# In lower case, what a part with such a formula has: a character reference may stand for a letter.
MENTIONS = (*(name.encode() + end for name in _NAMES for end in (b"(", b" (")), b"&#")


def without_texts(formula: str) -> str:
    """Return a formula without its texts in quotes."""
    return _TEXT.sub("", formula)


def calls_active_function(code: str) -> bool:
    """Return whether a formula without texts has a function that starts a program or fetches."""
    return _FUNCTION.search(code) is not None
