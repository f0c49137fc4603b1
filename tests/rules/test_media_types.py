import contextlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.factories import files

from docvault.rules.media_types import (
    DEFAULT_MEDIA_TYPES,
    KNOWN_MEDIA_TYPES,
    PREVIEWABLE_MEDIA_TYPES,
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
    inspect_content,
)

REFUSALS = (UnknownContent, CorruptContent, ExtensionMismatch)


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspect_content(io.BytesIO(data), len(data), filename)


def unknown(data: bytes, filename: str | None = None) -> str | None:
    with pytest.raises(UnknownContent) as refusal:
        inspect(data, filename)
    return refusal.value.detected


@pytest.mark.parametrize("media_type", files.GOOD_FILES)
def test_a_good_file_is_recognised_by_its_bytes(media_type: str):
    make, _ = files.GOOD_FILES[media_type]
    recognised = "text/plain" if media_type == "text/csv" else media_type

    assert inspect(make()) == Content(recognised, has_active_content=False)


@pytest.mark.parametrize("media_type", files.GOOD_FILES)
def test_a_good_file_is_accepted_under_its_usual_name(media_type: str):
    make, extension = files.GOOD_FILES[media_type]

    assert inspect(make(), f"My file.{extension.upper()}").media_type == media_type


def test_every_known_type_has_a_good_file():
    assert set(files.GOOD_FILES) | {"image/heif"} == KNOWN_MEDIA_TYPES


def test_the_default_and_previewable_types_are_known():
    assert set(DEFAULT_MEDIA_TYPES) <= KNOWN_MEDIA_TYPES
    assert PREVIEWABLE_MEDIA_TYPES <= KNOWN_MEDIA_TYPES


@pytest.mark.parametrize("word", ["svg", "html", "xml", "script", "executable", "macro"])
def test_no_known_type_can_run(word: str):
    known = {media_type.replace("openxmlformats", "") for media_type in KNOWN_MEDIA_TYPES}

    assert not any(word in media_type.lower() for media_type in known)


def test_an_empty_file_is_the_callers_to_refuse():
    with pytest.raises(ValueError, match="empty"):
        inspect(b"")


@pytest.mark.parametrize("name", [None, "", "photo", "photo.jfif", "a.JPE", "a.weird", "Mr. Smith"])
def test_a_jpeg_is_accepted_under_its_own_unknown_and_missing_extensions(name: str | None):
    assert inspect(files.jpeg(), name).media_type == "image/jpeg"


@pytest.mark.parametrize("name", ["a.heic", "a.heif", "a.hif"])
def test_heic_and_heif_extensions_are_interchangeable(name: str):
    assert inspect(files.heic(), name).media_type == "image/heic"


@pytest.mark.parametrize("name", ["a.log", "a.md", "a.json", "a.tsv", "README"])
def test_text_is_accepted_under_extensions_of_other_text(name: str):
    assert inspect(files.text(), name).media_type == "text/plain"


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("photo.pdf", "pdf"),
        ("photo.png", "png"),
        ("photo.txt", "txt"),
        ("photo.csv", "csv"),
        ("photo.html", "html"),
        ("photo.svg", "svg"),
        ("photo.jpg.exe", "exe"),
        ("photo.PHP", "php"),
        ("photo.php. ", "php"),
    ],
)
def test_a_jpeg_under_anothers_or_a_dangerous_extension_is_a_mismatch(name: str, extension: str):
    with pytest.raises(ExtensionMismatch) as refusal:
        inspect(files.jpeg(), name)

    assert (refusal.value.detected, refusal.value.extension) == ("image/jpeg", extension)


@pytest.mark.parametrize(
    "name", ["a.html", "a.js", "a.bat", "a.php", "a.py", "a.slk", "a.ksh", "a.jpg", "a.docx"]
)
def test_text_under_anothers_or_a_dangerous_extension_is_a_mismatch(name: str):
    with pytest.raises(ExtensionMismatch):
        inspect(files.text(), name)


def test_a_document_under_a_macro_extension_is_a_mismatch():
    with pytest.raises(ExtensionMismatch):
        inspect(files.docx(), "a.docm")


@pytest.mark.parametrize(
    ("data", "detected"),
    [
        (files.executable(), "application/x-msdownload"),
        (files.svg(), "image/svg+xml"),
        (files.html(), "text/html"),
        (files.archive({"a.txt": b"a"}), "application/zip"),
        (b"Rar!\x1a\x07\x01\0", "application/vnd.rar"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "application/x-ole-storage"),
        (b"BM" + b"\0" * 60, "image/bmp"),
        (b"a" * 257 + b"ustar\0" + b"\0" * 200, "application/x-tar"),
        (b"\0\1\2\3", None),
    ],
)
def test_a_refused_kind_is_named_when_it_is_recognised(data: bytes, detected: str | None):
    assert unknown(data) == detected


@pytest.mark.parametrize("extension", ["jpg", "pdf", "docx", "txt", "csv"])
def test_a_refused_kind_is_refused_under_any_accepted_extension(extension: str):
    assert unknown(files.svg(), f"a.{extension}") == "image/svg+xml"


def test_an_image_with_an_archive_appended_is_corrupt():
    with pytest.raises(CorruptContent, match="appended"):
        inspect(files.image_with_archive_appended())


@pytest.mark.parametrize("behind", [b"", b"\n", b"\n%%EOF\n", b"x" * 1000])
def test_a_pdf_with_an_archive_appended_is_corrupt(behind: bytes):
    with pytest.raises(CorruptContent):
        inspect(files.pdf() + files.archive({"a.txt": b"a"}) + behind)


def test_an_image_with_an_archive_appended_and_something_behind_it_is_corrupt():
    with pytest.raises(CorruptContent, match="appended"):
        inspect(files.image_with_archive_appended() + b"\n")


def test_an_image_with_the_end_of_no_archive_is_an_image():
    end = b"PK\5\6" + bytes(4) + b"\1\0\1\0" + bytes(10)

    assert inspect(files.jpeg() + end).media_type == "image/jpeg"


def test_the_files_position_does_not_matter():
    file = io.BytesIO(files.pdf())
    file.seek(17)

    assert inspect_content(file, len(files.pdf()), None).media_type == "application/pdf"


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=300, deadline=1000)
def test_arbitrary_bytes_are_typed_or_refused(data: bytes):
    with contextlib.suppress(REFUSALS):
        assert inspect(data).media_type in KNOWN_MEDIA_TYPES


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A good or hostile file with some of its bytes overwritten, removed or inserted."""
    makers = [make for make, _ in files.GOOD_FILES.values()]
    makers += [files.pdf_with_compressed_javascript, files.docm, files.image_with_pdf_inside]
    data = bytearray(draw(st.sampled_from(makers))())
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        removed = draw(st.integers(0, 8))
        data[position : position + removed] = draw(
            st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f" + b"\xff" * 7])
        )
    return bytes(data) or b"\0"


@given(damaged_files())
@settings(max_examples=500, deadline=1000)
def test_damaged_files_are_typed_or_refused(data: bytes):
    with contextlib.suppress(REFUSALS):
        assert inspect(data).media_type in KNOWN_MEDIA_TYPES


@given(st.sampled_from(sorted(files.GOOD_FILES)), st.text(max_size=40))
@settings(deadline=1000)
def test_any_file_name_is_accepted_or_a_mismatch(media_type: str, name: str):
    make, _ = files.GOOD_FILES[media_type]
    with contextlib.suppress(ExtensionMismatch):
        inspect(make(), name)


@pytest.mark.parametrize(
    "unit",
    [b"/", b"#41", b"/#41", b"/First 5/", b"/ObjStm stream\n", b"/OpenAction 1 0 R 1 0 obj[",
     b"/AA        1 0 ", b"%%EOF", b"1 0 obj<<", b"/OpenAction<</S/GoTo/D[1]"],
)  # fmt: skip
def test_a_pdf_made_to_be_slow_is_not(unit: bytes):
    data = b"%PDF-1.7\n" + unit * (4_000_000 // len(unit)) + b"\n%%EOF\n"
    start = time.process_time()

    inspect(data)

    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a\1\0\1\0\0\0\0" + (b"!\xfe" + b"\1x" * 4000 + b"\0") * 500,
        b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 4_000_000,
        files.heic()[:28] + b"\0\0\0\x08free" * 500_000,
        b"PK\3\4" + b"PK\5\6" * 1_000_000,
        b" " * 4_000_000,
        b"<" * 4_000_000,
    ],
)
def test_a_file_made_to_be_slow_is_not(data: bytes):
    start = time.process_time()

    with contextlib.suppress(REFUSALS):
        inspect(data)

    assert time.process_time() - start < 1
