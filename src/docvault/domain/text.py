"""Which control characters text may have: none in a line, those of white space in prose."""

import re

# C0 with tab and line ends, DEL, and C1: the inside of a character class.
CONTROLS = r"\x00-\x1f\x7f-\x9f"
LINE_PATTERN = rf"^[^{CONTROLS}]*$"
# Tab, LF and CR are allowed.
PROSE_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
# One @, no blanks, no empty domain label. Only a mail can tell whether the address exists.
EMAIL_PATTERN = rf"^[^@{CONTROLS}\x20\xa0]+@[^@.{CONTROLS}\x20\xa0]+(\.[^@.{CONTROLS}\x20\xa0]+)*$"

_CONTROL = re.compile(f"[{CONTROLS}]")


def is_line(text: str) -> bool:
    """Return whether a text has no control characters."""
    return _CONTROL.search(text) is None
