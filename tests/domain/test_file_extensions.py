"""Names that end in an extension of their type (SECURITY D20)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories import files

from docvault.domain.file_extensions import contradicts, extension_of, named_after_type
from docvault.domain.filenames import sanitize_filename
from docvault.domain.media_types import KNOWN_MEDIA_TYPES

PDF = "application/pdf"


@pytest.mark.req("B-062")
@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ("a.udl", "text/plain", "a.udl.txt"),
        ("report.xls", "text/plain", "report.xls.txt"),
        ("desktop.ini", "text/plain", "desktop.ini.txt"),
        (".bashrc", "text/plain", ".bashrc.txt"),
        ("README", "text/plain", "README.txt"),
        ("a.csv.doc", "text/plain", "a.csv.doc.txt"),
        ("No. 5", PDF, "No. 5.pdf"),
        ("scan.pdf.crt", PDF, "scan.pdf.crt.pdf"),
        ("scan.pdf_", PDF, "scan.pdf_.pdf"),
        ("photo.thm", "image/jpeg", "photo.thm.jpg"),
        ("photo.xps", "image/tiff", "photo.xps.tif"),
        ("photo", "image/heif", "photo.heic"),
        ("page.log", PDF, "page.log.pdf"),
        ("scan.jpg", PDF, "scan.jpg.pdf"),
        ("photo.jpg", "image/webp", "photo.jpg.webp"),
        ("Rechnung amazon.com", PDF, "Rechnung amazon.com.pdf"),
        ("letter.doc", "application/rtf", "letter.doc.rtf"),
        ("a.udl\N{FULLWIDTH FULL STOP}txt", "text/plain", "a.udl\N{FULLWIDTH FULL STOP}txt.txt"),
    ],
)
def test_extension_is_appended_to_foreign_one(name: str, media_type: str, expected: str) -> None:
    assert named_after_type(name, media_type) == expected


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("photo.JPEG", "image/jpeg"),
        ("photo.jfif", "image/jpeg"),
        ("scan.TIFF", "image/tiff"),
        ("photo.HIF", "image/heif"),
        ("notes.txt", "text/plain"),
        ("server.log", "text/plain"),
        ("notes.text", "text/plain"),
        ("table.csv", "text/csv"),
        ("a.exe.pdf", PDF),
        (".txt", "text/plain"),
    ],
)
def test_own_extension_is_kept(name: str, media_type: str) -> None:
    assert named_after_type(name, media_type) == name


@pytest.mark.parametrize("media_type", sorted(KNOWN_MEDIA_TYPES))
def test_every_type_has_consistent_extension(media_type: str) -> None:
    name = named_after_type("file", media_type)

    assert not contradicts(extension_of(name), media_type, is_active=True)


def test_common_extensions_are_kept() -> None:
    for media_type, (_, extension) in files.GOOD_FILES.items():
        assert named_after_type(f"file.{extension}", media_type) == f"file.{extension}"


@pytest.mark.parametrize(
    "name", ["a" * 255, "é" * 127, "😀" * 63 + "...", "a" * 251 + ".udl", "a" * 250 + " . .x"]
)
def test_long_name_is_cut_before_extension(name: str) -> None:
    named = named_after_type(sanitize_filename(name), PDF)

    assert len(named.encode()) <= 255
    assert named.endswith(".pdf")
    assert not named.endswith((" .pdf", "..pdf"))


def test_cut_name_is_not_a_device() -> None:
    assert named_after_type("con" + " " * 251 + "x", PDF) == "_con.pdf"


@given(st.text(min_size=1, max_size=300), st.sampled_from(sorted(KNOWN_MEDIA_TYPES)))
def test_result_ends_in_extension_and_stays_sanitized(raw: str, media_type: str) -> None:
    try:
        name = sanitize_filename(raw)
    except ValueError:
        return
    named = named_after_type(name, media_type)

    assert named == sanitize_filename(named) == named_after_type(named, media_type)
    assert len(named.encode()) <= 255
