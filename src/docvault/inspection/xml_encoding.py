"""The encoding in which to read XML."""

import re

_DECLARED = re.compile(
    rb"<\?xml[^>]{0,100}?encoding\s{0,9}=\s{0,9}[\"']([a-z0-9._-]{1,40})", re.IGNORECASE
)
# Encodings in which other bytes than those of ASCII may be markup.
_HIDING = re.compile(rb"utf-?7|hz|iso-2022", re.IGNORECASE)


class HiddenMarkup(Exception):
    """The declared encoding may hide markup."""


def choose_encoding(beginning: bytes) -> str:
    """Return an encoding by the XML declaration; raises `HiddenMarkup`.

    A declared one could be any of Python's codecs, or wrong: programs declare the UTF-16 of their
    own strings. In all other encodings of 8 bits, markup and namespaces are ASCII.
    """
    match = _DECLARED.match(beginning)
    declared = match[1].lower() if match else b"utf-8"
    if _HIDING.match(declared):
        raise HiddenMarkup
    return "utf-8" if declared.startswith(b"utf") else "iso-8859-1"
