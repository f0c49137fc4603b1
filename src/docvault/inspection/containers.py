"""Containers in ZIP archives that are not office documents: ASiC, Apple iWork, plain archives.

Nothing in them is inspected, so they count as active.
"""

import re
from collections.abc import Collection, Mapping
from typing import BinaryIO

from docvault.domain.media_types import ASICE, ASICS, KEYNOTE, NUMBERS, PAGES, ZIP
from docvault.inspection.result import UnknownContent
from docvault.inspection.zip import Entry, read_entry

# By the content of the entry `mimetype` (ETSI EN 319 162-1, 4.4.1); the first two predate ASiC.
SIGNED = {
    "application/vnd.bdoc-1.0": ASICE,
    "application/vnd.lt.archyvai.adoc-2008": ASICE,
    ASICE: ASICE,
    ASICS: ASICS,
}
CONTAINERS = frozenset({ASICE, ASICS, KEYNOTE, NUMBERS, PAGES, ZIP})
# The entry may be missing. ASiC-S has one signature file with one of these names.
_SIGNED_ONE = frozenset(
    {"meta-inf/signatures.xml", "meta-inf/signature.p7s", "meta-inf/timestamp.tst"}
)
_SIGNED_MANY = re.compile(r"meta-inf/[^/]*(?:signatures?[^/]*\.(?:xml|p7s)|timestamp[^/]*\.tst)$")

_PROGRAMS = {
    "meta-inf/manifest.mf": "application/java-archive",
    "androidmanifest.xml": "application/vnd.android.package-archive",
    "appxmanifest.xml": "application/vnd.ms-appx",
}
# Since 2013, the name tells only presentations, by their slides; before, it was in the document.
_IWORK_13 = frozenset({"index/document.iwa", "index.zip"})
_IWORK_SLIDE = re.compile(r"index/(?:master|template)?slide\b[^/]*\.iwa$")
_IWORK_09 = {b"sl:document": PAGES, b"ls:document": NUMBERS, b"key:presentation": KEYNOTE}
_MAX_IWORK_09_BYTES = 64 << 20
_ROOT_BYTES = 4096
# In documents of Apple iWork with a password, which is checked with this file.
_LOCK = ".iwpv2"


def refuse_program(names: Collection[str]) -> None:
    """Raise `UnknownContent` for an archive that is a program; names are in lower case."""
    for name, media_type in _PROGRAMS.items():
        if name in names:
            raise UnknownContent(media_type)


def is_locked(entries: Mapping[str, Entry]) -> bool:
    """Return whether no file of an archive can be read without a password."""
    files = [entry for name, entry in entries.items() if not name.endswith("/")]
    is_encrypted = len(files) > 0 and all(entry.is_encrypted for entry in files)
    return is_encrypted or _LOCK in entries


def detect_container(file: BinaryIO, entries: Mapping[str, Entry], extension: str) -> str:
    """Return the type of an archive without a declared type, by the names of its entries."""
    if "index.xml" in entries or "index.apxl" in entries:
        return _detect_iwork_09(file, entries)
    if entries.keys() & _IWORK_13 and any(map(_IWORK_SLIDE.match, entries)):
        return KEYNOTE
    if entries.keys() & _IWORK_13:
        return {"numbers": NUMBERS, "key": KEYNOTE}.get(extension, PAGES)
    outside = {name for name in entries if not name.startswith("meta-inf/")} - {"mimetype"}
    if len(outside) == 1 and entries.keys() & _SIGNED_ONE:
        return ASICS
    return ASICE if any(map(_SIGNED_MANY.match, entries)) else ZIP


def _detect_iwork_09(file: BinaryIO, entries: Mapping[str, Entry]) -> str:
    entry = entries["index.apxl" if "index.apxl" in entries else "index.xml"]
    if entry.is_encrypted:
        return ZIP
    head = read_entry(file, entry, _MAX_IWORK_09_BYTES)[:_ROOT_BYTES]
    return next((kind for mark, kind in _IWORK_09.items() if mark in head), ZIP)
