import contextlib
import io
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.factories import containers, files

from docvault import inspection
from docvault.domain.file_extensions import extensions_of
from docvault.domain.media_types import (
    DEFAULT_MEDIA_TYPES,
    KNOWN_MEDIA_TYPES,
    PREVIEWABLE_MEDIA_TYPES,
)
from docvault.inspection import (
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
)

# What archives begin with that are not found from their end.
APPENDED = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")
REFUSALS = (UnknownContent, CorruptContent, ExtensionMismatch)


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def unknown(data: bytes, filename: str | None = None) -> str | None:
    with pytest.raises(UnknownContent) as refusal:
        inspect(data, filename)
    return refusal.value.detected


@pytest.mark.parametrize("media_type", files.GOOD_FILES)
def test_valid_file_is_recognised_by_content(media_type: str) -> None:
    make, _ = files.GOOD_FILES[media_type]
    recognised = "text/plain" if media_type == "text/csv" else media_type

    pages = 1 if media_type.startswith("image/") or media_type == "application/pdf" else None
    assert inspect(make()) == Content(recognised, has_active_content=False, pages=pages)


@pytest.mark.parametrize("media_type", files.GOOD_FILES)
def test_valid_file_is_accepted_with_usual_extension(media_type: str) -> None:
    make, extension = files.GOOD_FILES[media_type]

    assert inspect(make(), f"My file.{extension.upper()}").media_type == media_type


def test_every_known_type_has_sample() -> None:
    assert {*files.GOOD_FILES, *files.RARE_FILES, "image/heif"} == KNOWN_MEDIA_TYPES


@pytest.mark.req("B-085")
@pytest.mark.parametrize("media_type", containers.FILES)
def test_kind_is_recognized_under_its_extensions(media_type: str) -> None:
    make, _, active = containers.FILES[media_type]

    for extension in extensions_of(media_type):
        content = inspect(make(), f"a.{extension.upper()}")
        assert (content.media_type, content.has_active_content) == (media_type, active)


@pytest.mark.parametrize("media_type", containers.FILES)
@pytest.mark.parametrize("extension", ["pdf", "jpg", "docm", "exe", "html"])
def test_active_kind_needs_an_extension_of_its_own(media_type: str, extension: str) -> None:
    make, _, active = containers.FILES[media_type]
    if not active and extension in {"pdf", "jpg"}:
        assert inspect(make(), f"a.{extension}").media_type == media_type
        return
    with pytest.raises(ExtensionMismatch):
        inspect(make(), f"a.{extension}")


def test_default_and_previewable_types_are_known() -> None:
    assert set(DEFAULT_MEDIA_TYPES) <= KNOWN_MEDIA_TYPES
    assert PREVIEWABLE_MEDIA_TYPES <= KNOWN_MEDIA_TYPES


@pytest.mark.parametrize("word", ["svg", "html", "script", "executable", "macro"])
def test_no_known_type_is_executable(word: str) -> None:
    known = {media_type.replace("openxmlformats", "") for media_type in KNOWN_MEDIA_TYPES}

    assert not any(word in media_type.lower() for media_type in known)


def test_empty_file_raises_value_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        inspect(b"")


@pytest.mark.parametrize("name", [None, "", "photo", "photo.jfif", "a.JPE", "a.weird", "Mr. Smith"])
def test_jpeg_is_accepted_with_own_unknown_or_no_extension(name: str | None) -> None:
    assert inspect(files.jpeg(), name).media_type == "image/jpeg"


@pytest.mark.parametrize("name", ["a.heic", "a.heif", "a.hif"])
def test_heic_and_heif_extensions_are_interchangeable(name: str) -> None:
    assert inspect(files.heic(), name).media_type == "image/heic"


@pytest.mark.parametrize("name", ["a.log", "a.md", "a.json", "a.tsv", "README"])
def test_text_is_accepted_with_other_text_extensions(name: str) -> None:
    assert inspect(files.text(), name).media_type == "text/plain"


@pytest.mark.req("B-086")
@pytest.mark.parametrize("name", ["photo.pdf", "photo.png", "photo.txt", "a.docx", "a.zip"])
def test_inactive_file_may_have_the_extension_of_another_kind(name: str) -> None:
    assert inspect(files.jpeg(), name).media_type == "image/jpeg"
    assert inspect(files.docx(), name).media_type == files.DOCX
    assert inspect(files.pdf(), name).media_type == "application/pdf"
    assert inspect(files.text(), name).media_type == "text/plain"


@pytest.mark.req("B-086")
@pytest.mark.parametrize("name", ["scan.jpg", "a.docx", "a.txt"])
def test_active_file_with_extension_of_another_kind_is_mismatch(name: str) -> None:
    with pytest.raises(ExtensionMismatch):
        inspect(files.pdf_with_javascript(), name)


@pytest.mark.req("B-086")
@pytest.mark.parametrize("name", ["Rechnung amazon.com", "oferta allegro.pl", "web.app", "a.sh"])
def test_name_that_ends_like_a_web_site_is_accepted(name: str) -> None:
    assert inspect(files.pdf(), name).media_type == "application/pdf"
    assert inspect(files.pdf_with_javascript(), name).media_type == "application/pdf"
    assert inspect(files.jpeg(), name).media_type == "image/jpeg"
    with pytest.raises(ExtensionMismatch):
        inspect(files.text(), name)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("photo.html", "html"),
        ("photo.svg", "svg"),
        ("photo.jpg.exe", "exe"),
        ("photo.PHP", "php"),
        ("photo.php. ", "php"),
    ],
)
def test_jpeg_with_dangerous_extension_is_mismatch(name: str, extension: str) -> None:
    with pytest.raises(ExtensionMismatch) as refusal:
        inspect(files.jpeg(), name)

    assert (refusal.value.detected, refusal.value.extension) == ("image/jpeg", extension)


@pytest.mark.parametrize(
    "name", ["a.html", "a.js", "a.bat", "a.php", "a.py", "a.slk", "a.ksh", "a.xml", "a.com"]
)
def test_text_with_dangerous_extension_is_mismatch(name: str) -> None:
    with pytest.raises(ExtensionMismatch):
        inspect(files.text(), name)


def test_document_with_macro_extension_is_mismatch() -> None:
    with pytest.raises(ExtensionMismatch):
        inspect(files.docx(), "a.docm")


@pytest.mark.parametrize(
    ("data", "detected"),
    [
        (files.executable(), "application/x-msdownload"),
        (files.svg(), "image/svg+xml"),
        (files.html(), "text/html"),
        (b"Rar!\x1a\x07\x01\0", "application/vnd.rar"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "application/x-ole-storage"),
        (b"BM" + b"\0" * 60, "image/bmp"),
        (b"\xff\x4f\xff\x51" + b"\0" * 60, "image/j2c"),
        (b"a" * 257 + b"ustar\0" + b"\0" * 200, "application/x-tar"),
        (b"\0\1\2\3", None),
    ],
)
def test_recognised_rejected_type_is_named(data: bytes, detected: str | None) -> None:
    assert unknown(data) == detected


@pytest.mark.parametrize("extension", ["jpg", "pdf", "docx", "txt", "csv"])
def test_rejected_type_is_rejected_with_accepted_extension(extension: str) -> None:
    assert unknown(files.svg(), f"a.{extension}") == "image/svg+xml"


def test_image_with_appended_archive_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="appended"):
        inspect(files.image_with_archive_appended())


@pytest.mark.parametrize("appended", [b"", b"\n", b"\n%%EOF\n", b"x" * 1000])
def test_pdf_with_appended_archive_is_corrupt(appended: bytes) -> None:
    with pytest.raises(CorruptContent):
        inspect(files.pdf() + files.archive({"a.txt": b"a"}) + appended)


def test_image_with_appended_archive_and_padding_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="appended"):
        inspect(files.image_with_archive_appended() + b"\n")


def test_image_with_fake_archive_end_is_accepted() -> None:
    end = b"PK\5\6" + bytes(4) + b"\1\0\1\0" + bytes(10)

    assert inspect(files.jpeg() + end).media_type == "image/jpeg"


@pytest.mark.req("B-095")
@pytest.mark.parametrize("signature", APPENDED)
@pytest.mark.parametrize("make", [files.jpeg, files.png, files.heic, files.tiff, files.pdf])
def test_appended_7z_or_rar_is_corrupt(make: Callable[[], bytes], signature: bytes) -> None:
    for padding in (b"", b"\n", b"\0" * 1000):
        with pytest.raises(CorruptContent, match=r"(7z|RAR) archive is appended"):
            inspect(make() + padding + signature + b"\0\4" + b"x" * 100)


@pytest.mark.parametrize("signature", APPENDED)
def test_appended_archive_is_found_across_two_reads(signature: bytes) -> None:
    body = files.jpeg()
    for shift in range(7):
        padding = b"\0" * ((1 << 20) - len(body) - shift)
        with pytest.raises(CorruptContent, match="appended"):
            inspect(body + padding + signature + b"x" * 100)


@pytest.mark.req("B-095")
@pytest.mark.parametrize("archive", [*APPENDED, files.archive({"a.txt": b"a"})])
def test_archive_between_two_ends_of_a_pdf_is_corrupt(archive: bytes) -> None:
    document = files.pdf()
    end = document[document.rindex(b"startxref") :]
    for padding in (b"", b"\r\n", b" " * 60):
        with pytest.raises(CorruptContent, match=r"(ZIP|7z|RAR) archive is appended"):
            inspect(document + padding + archive + b"x" * 100 + end)


@pytest.mark.parametrize("signature", APPENDED)
def test_archive_attached_to_a_pdf_is_accepted(signature: bytes) -> None:
    stream = b"<</Type/EmbeddedFile/Length 106>>stream\n" + signature + b"x" * 100 + b"\nendstream"
    content = inspect(files.pdf_with_catalog(b"", stream))
    assert (content.has_active_content, content.has_attachments) == (True, True)


def test_file_position_is_ignored() -> None:
    file = io.BytesIO(files.pdf())
    file.seek(17)

    assert inspection.inspect(file, len(files.pdf()), None).media_type == "application/pdf"


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=300, deadline=1000)
def test_arbitrary_bytes_are_typed_or_rejected(data: bytes) -> None:
    with contextlib.suppress(*REFUSALS):
        assert inspect(data).media_type in KNOWN_MEDIA_TYPES


@st.composite
def corrupt_files(draw: st.DrawFn) -> bytes:
    """A valid or hostile file with some of its bytes overwritten, removed or inserted."""
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


@given(corrupt_files())
@settings(max_examples=500, deadline=1000)
def test_corrupt_files_are_typed_or_rejected(data: bytes) -> None:
    with contextlib.suppress(*REFUSALS):
        assert inspect(data).media_type in KNOWN_MEDIA_TYPES


OTHER_EXTENSIONS = sorted({extension for _, extension in files.GOOD_FILES.values()})
DANGEROUS_EXTENSIONS = ["exe", "html", "svg", "php", "docm", "lnk"]


@given(
    st.sampled_from(sorted(set(files.GOOD_FILES) - {"text/csv"})),
    st.text(max_size=40),
    st.sampled_from([*OTHER_EXTENSIONS, *DANGEROUS_EXTENSIONS, "", "x", "1"]),
)
@settings(deadline=1000)
def test_only_dangerous_extension_of_inactive_file_is_mismatch(
    media_type: str, stem: str, extension: str
) -> None:
    make, own = files.GOOD_FILES[media_type]
    name = f"{stem}.{extension}" if extension else f"{stem}.{own}"

    if extension in DANGEROUS_EXTENSIONS:
        with pytest.raises(ExtensionMismatch):
            inspect(make(), name)
    else:
        # Text is whichever of the two its name indicates.
        is_table = extension == "csv" and media_type == "text/plain"
        detected = "text/csv" if is_table else media_type
        assert inspect(make(), name).media_type == detected


@pytest.mark.parametrize(
    "unit",
    [b"/", b"#41", b"/#41", b"/First 5/", b"/ObjStm stream\n", b"/OpenAction 1 0 R 1 0 obj[",
     b"/AA        1 0 ", b"%%EOF", b"1 0 obj<<", b"/OpenAction<</S/GoTo/D[1]"],
)  # fmt: skip
def test_crafted_pdf_is_inspected_quickly(unit: bytes) -> None:
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
        b"<?xml version='1.0'?><a>" + b"<b/>" * 1_000_000,
        b"<?xml version='1.0'?><a>" + b"<?b?>" * 800_000,
        b"<?xml version='1.0'?><a>" + b"<b xmlns='c'/>" * 280_000,
        b"<?xml version='1.0'?>" + b"<a>" * 1_300_000,
        b"<?xml version='1.0'?><a " + b"b" * 4_000_000,
        b"\xff\xfe" + b" \0" * 2_000_000,
        b"\xff\xfe" + b"a\0" * 2_000_000,
        b"\xff\xd8\xff\xe0\0\2" + b"\xff\0" * 2_000_000,
        b"\xff\xd8\xff\xe0\0\2" + b"\0\xff\xe0\0\2" * 800_000,
        files.docx() + bytes(4_000_000),
        files.docx() + b"PK\5\6" * 1_000_000,
        containers.ole("a")[:512] + b"\0" * 4_000_000,
        b"0\x80" * 2_000_000,
    ],
)
def test_crafted_file_is_inspected_quickly(data: bytes) -> None:
    start = time.process_time()

    with contextlib.suppress(*REFUSALS):
        inspect(data)

    assert time.process_time() - start < 1
