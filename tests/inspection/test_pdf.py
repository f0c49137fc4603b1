import io
import os
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from tests.factories import files

from docvault import inspection
from docvault.inspection import CorruptContent, pdf


def is_active(data: bytes) -> bool:
    content = inspection.inspect(io.BytesIO(data), len(data), "a.pdf")
    assert content.media_type == "application/pdf"
    return content.has_active_content


def object_stream(text: bytes, dictionary: bytes = b"/Type/ObjStm/N 1/First 4") -> bytes:
    packed = zlib.compress(text)
    if b"/Length" not in dictionary:
        dictionary += b"/Length %d" % len(packed)
    return b"<<" + dictionary + b"/Filter/FlateDecode>>stream\n" + packed + b"\nendstream"


def pdf_with(*objects: bytes) -> bytes:
    return files.pdf_with_catalog(b"", *objects)


# The header


@pytest.mark.req("B-010")
@pytest.mark.parametrize(
    ("prefix", "active"),
    [
        (b"\n", False),
        (b"\xef\xbb\xbf", False),
        (b"\x1b%-12345X@PJL SET COPIES=1\r\n", True),
        (b"x" * 1000, True),
        (b"x" * 1024, True),
    ],
)
def test_bytes_before_the_header_are_accepted(prefix: bytes, active: bool) -> None:
    assert is_active(prefix + files.pdf()) is active


def test_bytes_before_header_of_unreadable_file_are_corrupt() -> None:
    with pytest.raises(CorruptContent, match="not at the start"):
        is_active(b"\n%PDF-1.7\ntrailer<<>>\n%%EOF\n")


# The end


@pytest.mark.parametrize("padding", [b"", b"\n", b"\0" * 200_000, b"\r\n" * 1000, b"x" * 2000])
def test_padding_after_end_marker_is_accepted(padding: bytes) -> None:
    assert not is_active(files.pdf() + padding)


@pytest.mark.req("B-010")
@pytest.mark.parametrize(
    "body",
    [
        files.pdf() + b"x" * 5000,
        files.pdf()[:-2],
        files.pdf()[:-7],
        files.pdf()[: files.pdf().index(b"startxref")],
    ],
)
def test_unusual_end_is_active(body: bytes) -> None:
    assert is_active(body)


@pytest.mark.parametrize(
    "body",
    [
        files.pdf()[: files.pdf().index(b"xref")],
        files.pdf() + b"1 0 obj<<>>endobj\n" + b"x" * 5000,
        files.pdf() + b"x" * 70_000,
        b"%PDF-1.7\n" + b"\0" * 200_000,
    ],
)
def test_pdf_without_an_end_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptContent, match="no end"):
        is_active(body)


# The searched range


@pytest.mark.parametrize(("more", "active"), [(0, False), (1, True)])
def test_file_too_large_to_search_is_active(
    more: int, active: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = files.pdf()
    monkeypatch.setattr(pdf, "MAX_SEARCHED_BYTES", len(body) - more)
    assert is_active(body) is active


# Inactive content


@pytest.mark.parametrize(
    "entries",
    [
        b"",
        b"/PageMode/UseOutlines/ViewerPreferences<</FitWindow true>>",
        b"/OpenAction[4 0 R/XYZ null null 0]",
        b"/OpenAction <</Type/Action /S/GoTo /D[4 0 R/Fit]>>",
        b"/OpenAction<</S/GoTo/D(chapter 1)>>",
        b"/OpenAction 6 0 R",
    ],
)
@pytest.mark.parametrize("make", [files.pdf_with_catalog, files.pdf_with_compressed_catalog])
def test_opening_at_a_page_is_not_active(make: Callable[..., bytes], entries: bytes) -> None:
    assert not is_active(make(entries, b"<</S/GoTo/D[4 0 R/Fit]>>"))


def test_web_link_is_not_active() -> None:
    assert not is_active(
        pdf_with(b"<</Type/Annot/Subtype/Link/A<</S/URI/URI(https://a.example)>>>>")
    )


@pytest.mark.parametrize(
    "other",
    [
        b"<</JavaScripts 1/Launcher 2/Movies 3/AAA<<>>/OpenActions 1>>",
        b"(JavaScript)",
        b"<</First 9 0 R>>",
    ],
)
def test_similar_names_are_not_active(other: bytes) -> None:
    assert not is_active(pdf_with(other))


def test_random_scan_bytes_are_not_active() -> None:
    scan = os.urandom(3_000_000).replace(b"/", b"-")

    assert not is_active(pdf_with(b"<</Filter/DCTDecode>>stream\n" + scan + b"\nendstream"))


@pytest.mark.parametrize(
    "matrix", [b"[0.001 0 0 0.001 0 0]", b"[ .001 -0 0\n1 0 0 ]", b" [1 0 0 1 0 0]/Type/Font"]
)
def test_numeric_font_matrix_is_not_active(matrix: bytes) -> None:
    assert not is_active(pdf_with(b"<</FontMatrix" + matrix + b">>"))


@pytest.mark.parametrize(
    "matrix",
    [
        b"[1 2 3 4 5 (1\\); alert\\('x')]",
        b"[1 0 0 1 0 <616c657274>]",
        b"[1 0 0 1 0 /a]",
        b"[[1] 0 0 1 0 0]",
        b" 9 0 R",
        b"(alert)",
    ],
)
def test_other_font_matrix_is_active(matrix: bytes) -> None:
    """Content that pdf.js executed as a script (CVE-2024-4367)."""
    assert is_active(pdf_with(b"<</FontMatrix" + matrix + b">>"))
    assert is_active(pdf_with(b"<</F#6fntMatrix" + matrix + b">>"))
    assert is_active(pdf_with(object_stream(b"9 0 <</FontMatrix" + matrix + b">>")))


def test_harmless_escaped_names_are_not_active() -> None:
    assert not is_active(pdf_with(b"<</BaseFont/Times#20New#20Roman/A#zz/#>>"))


# Active content


@pytest.mark.parametrize(
    "other",
    [
        b"<</S/JavaScript/JS(app.alert(1))>>",
        b"<</S /JavaScript>>",
        b"<</S/Launch/F(cmd.exe)>>",
        b"<</S/SubmitForm/F(https://a.example)>>",
        b"<</S/ImportData/F(a.fdf)>>",
        b"<</S/GoToR/F(a.pdf)>>",
        b"<</S/GoToE/T<<>>>>",
        b"<</S/Rendition/OP 0>>",
        b"<</Subtype/Movie>>",
        b"<</Subtype/Sound>>",
        b"<</Subtype/RichMedia>>",
        b"<</Subtype/3D/3DD 7 0 R>>",
        b"<</XFA[(template)7 0 R]>>",
        b"<</Type/EmbeddedFile>>",
        b"<</EmbeddedFiles 7 0 R>>",
        b"<</AA<</O 7 0 R>>>>",
        b"<</AA 7 0 R>>",
        b"<</AA\n7\r\n0 R>>",
        b"<</Subtype/FileAttachment/FS 7 0 R>>",
        b"<</Type/Filespec/EF<</F 7 0 R>>>>",
        b"<</AA%\n<</O 7 0 R>>>>",
        b"<</AA" + b" " * 20 + b"7 0 R>>",
        b"<</AA 7%\n0 R>>",
        b"<</S(Movie)>>",
        b"<</S%\n<4c61756e6368>>>",
        b"<</S 7 0 R>>",
    ],
)
def test_active_name_is_found_raw_escaped_or_compressed(other: bytes) -> None:
    escaped = other.replace(b"a", b"#61").replace(b"/AA", b"/#41A").replace(b"/XFA", b"/#58FA")

    assert is_active(pdf_with(other))
    assert is_active(pdf_with(escaped))
    assert is_active(pdf_with(object_stream(b"9 0 " + other)))


@pytest.mark.parametrize(
    "make",
    [files.pdf_with_javascript, files.pdf_with_compressed_javascript, files.pdf_with_attachment],
)
def test_active_sample_files_are_active(make: Callable[..., bytes]) -> None:
    assert is_active(make())


@pytest.mark.parametrize(
    "action",
    [
        b"<</S/URI/URI(https://a.example)>>",
        b"<</S/Named/N/Print>>",
        b"<</S/GoTo/D[4 0 R/Fit]/Next<</S/URI/URI(https://a.example)>>>>",
        b"<</S/GoTo/S/URI/D[4 0 R/Fit]>>",
        b"<</S/GoTo/D[4 0 R/Fit]/#53/URI>>",
        b"8 0 R",
        b"null",
    ],
)
@pytest.mark.parametrize("make", [files.pdf_with_catalog, files.pdf_with_compressed_catalog])
def test_other_open_action_is_active(make: Callable[..., bytes], action: bytes) -> None:
    assert is_active(make(b"/OpenAction " + action))
    assert is_active(make(b"/OpenAction 6 0 R", action))


def test_missing_open_action_is_active() -> None:
    assert is_active(files.pdf_with_catalog(b"/OpenAction 66 0 R"))


def test_too_many_open_actions_are_active() -> None:
    versions = b"".join(b"/OpenAction %d 0 R" % number for number in range(60, 65))

    assert is_active(files.pdf_with_catalog(versions))


def test_older_open_action_definition_counts() -> None:
    harmful = b"6 0 obj<</S/URI/URI(https://a.example)>>endobj\n"
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert is_active(data.replace(b"6 0 obj", harmful + b"6 0 obj"))


@pytest.mark.parametrize("definition", [b"6%\n0 obj", b"6 0%\nobj", b"006 0 obj", b"6   00 obj"])
def test_unusual_definition_counts(definition: bytes) -> None:
    harmful = definition + b"<</S/URI/URI(https://a.example)>>endobj\n"
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert is_active(data.replace(b"6 0 obj", harmful + b"6 0 obj"))


def test_object_with_same_number_suffix_does_not_count() -> None:
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert not is_active(data.replace(b"1 0 obj", b"16 0 obj<<>>endobj\n1 0 obj"))


# Content that cannot be inspected


def test_harmless_object_stream_is_not_active() -> None:
    assert not is_active(pdf_with(object_stream(b"9 0 <</A 1>>")))


def test_empty_object_stream_is_not_active() -> None:
    assert not is_active(pdf_with(object_stream(b"", b"/Type/ObjStm/N 0/First 0")))


@pytest.mark.parametrize(
    "dictionary",
    [
        b"/First 4/N 1/Type/ObjStm",
        b" /Type /ObjStm /N 1 /First 4 ",
        b"\n/Type /ObjStm\n/Extends 3 0 R\n/N 1\n/First 4\n/Length 7 0 R\n",
    ],
)
def test_common_object_stream_format_is_read(dictionary: bytes) -> None:
    for text, active in ((b"9 0 <</A 1>>", False), (b"9 0 <</S/JavaScript>>", True)):
        length = b"%d" % len(zlib.compress(text))
        assert is_active(pdf_with(object_stream(text, dictionary), length)) is active


@pytest.mark.parametrize(
    "dictionary",
    [
        b"/N 1/First 4.0",
        b"/N 1/First 6 0 R",
        b"/N 1/First%c\n4",
        b"/N 1/First 4%c\n",
        b"/N 1/#46irst 4",
        b"/Type/Obj#53tm/N 1/First 4",
        b"/Type/ObjStm/N 1/First 4/First 5",
        b"/Type/ObjStm/N 1/First 4/DecodeParms<</Predictor 12/Columns 4>>",
        b"/Type/ObjStm/N 1/First 4/Filter[/ASCIIHexDecode/FlateDecode]",
        b"/Type/ObjStm/N 1/First 4/Q[/xstream\n]",
        b"/Type/ObjStm/N 1/First 4/X()",
    ],
)
def test_other_object_stream_format_is_active(dictionary: bytes) -> None:
    """Readers that tolerate this would find content that the inspection does not see."""
    assert is_active(pdf_with(object_stream(b"9 0 <</A 1>>", dictionary)))


def test_object_stream_with_trailing_data_is_active() -> None:
    """Another filter consumes all of it."""
    stream = object_stream(b"9 0 <</A 1>>")

    assert is_active(pdf_with(stream.replace(b"\nendstream", b"\n3c3c3e3e>\nendstream")))


@pytest.mark.parametrize(
    "before",
    [
        b"<</DecodeParms 3 0 R/X ",
        b"<</DecodeParms 3 0 R/X /endobj\n",
        b"<</DecodeParms 3 0 R/X\nendobj\n",
        b"<</DecodeParms 3 0 R%>>\nendobj\n",
        b"<</DecodeParms 3 0 R>>%endobj ",
        b"<</DecodeParms 3 0 R>>% ",
    ],
)
def test_object_stream_inside_other_object_is_active(before: bytes) -> None:
    assert is_active(pdf_with(before + b"9 0 obj\n" + object_stream(b"9 0 <</A 1>>")))


def test_identity_predictor_is_not_active() -> None:
    image = b"<</DecodeParms<</Predictor 15 /Columns 4>>>>"

    assert not is_active(pdf_with(image, object_stream(b"9 0 <</A 1>>")))


def test_other_predictor_with_object_stream_is_active() -> None:
    image = b"<</DecodeParms<</Predictor 2/Colors 8>>>>"

    assert not is_active(pdf_with(image))
    assert is_active(pdf_with(image, object_stream(b"9 0 <</A 1>>")))
    assert is_active(pdf_with(object_stream(b"9 0 " + image)))


@pytest.mark.parametrize(
    "outline",
    [
        b"<</Type/Outlines/First 7 0 R/Last 8 0 R/Count 2>>",
        b"<</Title(Down \\(the\\) stream (1\n))/First 7 0 R/Last 8 0 R/A<</S/GoTo/D[3 0 R/Fit]>>>>",
        b"<</First\n7 0 R /Last 8 0 R /Title <FEFF0041> % done\n>>",
    ],
)
def test_outline_is_not_active(outline: bytes) -> None:
    assert not is_active(pdf_with(outline))


def test_unreadable_outline_is_active() -> None:
    assert is_active(pdf_with(b"<</First 7 0 R/X(>>"))


@pytest.mark.parametrize(
    "stream",
    [
        b"<</Type/ObjStm>>stream\nnot compressed\nendstream",
        b"<</Type/ObjStm>>stream\n" + zlib.compress(b"9 0 <<>>")[:-6],
        b"<</Type/ObjStm/X(>>stream\n" + zlib.compress(b"9 0 <<>>") + b")>>stream\nx\nendstream",
        b"<</Type/ObjStm%>>stream\n" + zlib.compress(b"9 0 <<>>") + b"\n>>stream\nx\nendstream",
        object_stream(b"\x02not pairs of numbers, so a predictor"),
        object_stream(b"9 0 " + b" " * (5 << 20)),
    ],
)
def test_unreadable_object_stream_is_active(stream: bytes) -> None:
    assert is_active(pdf_with(stream))


def test_object_streams_over_total_size_are_active() -> None:
    stream = object_stream(b"9 0 (" + b"x" * 4_000_000 + b")")

    assert not is_active(pdf_with(*[stream] * 2))
    assert is_active(pdf_with(*[stream] * 9))


def test_too_many_names_are_active() -> None:
    assert is_active(pdf_with(b"/A#20B " * 60_000))


def encrypted(data: bytes, user: str = "") -> bytes:
    buffer = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(
            buffer,
            encryption=pikepdf.Encryption(user=user, owner="owner"),
            object_stream_mode=pikepdf.ObjectStreamMode.preserve,
        )
    return buffer.getvalue()


@pytest.mark.req("B-011")
@pytest.mark.parametrize("make", [files.pdf_with_catalog, files.pdf_with_compressed_catalog])
def test_pdf_with_owner_password_is_inspected(
    make: Callable[..., bytes],
) -> None:
    assert not is_active(encrypted(make(b"")))
    assert is_active(encrypted(make(b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>")))


@pytest.mark.req("B-011")
def test_pdf_with_user_password_is_active() -> None:
    assert is_active(encrypted(files.pdf(), user="secret"))


def test_pdf_with_broken_encryption_is_active() -> None:
    broken = b"<</Filter/Standard/V 2/R 3/O<00>/U<00>/P -4>>"
    data = files.pdf_with_catalog(b"", broken)

    assert is_active(data.replace(b"/Root", b"/Encrypt 6 0 R/Root"))


# Content that other readers find


def with_update(data: bytes, *objects: bytes) -> bytes:
    """A file with an incremental update of some of its objects."""
    start = int(data.rsplit(b"startxref", 1)[1].split()[0])
    table = b"xref\n"
    data = data.rstrip() + b"\n"
    for item in objects:
        table += b"%d 1\n%010d 00000 n \n" % (int(item.split()[0]), len(data))
        data += item + b"\n"
    trailer = b"trailer<</Size 99/Root 1 0 R/Prev %d>>\n" % start
    return data + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(data)


def qpdf_sees(data: bytes, name: bytes) -> bool:
    with pikepdf.open(io.BytesIO(data)) as pdf:
        texts = [item.unparse(resolved=True) for item in pdf.objects]
    return any(name in text for text in texts)


def test_newer_outline_entry_is_not_active() -> None:
    outline = b"<</Type/Outlines/First 7 0 R/Last 7 0 R>>"
    data = files.pdf_with_catalog(b"/Outlines 6 0 R", outline, b"<</Title(A)/Parent 6 0 R>>")

    assert not is_active(with_update(data, b"6 0 obj" + outline + b"endobj"))
    unclear = data.replace(b"/Last 7 0 R", b"/Last 7 0 R/X(endobj)")
    assert is_active(with_update(unclear, b"6 0 obj" + outline + b"endobj"))


def test_outline_as_possible_stream_is_active() -> None:
    assert is_active(pdf_with(b"<</First 4/N 1>> 1 stream\nx\nendstream"))


def test_object_stream_after_older_version_is_not_active() -> None:
    """The last object of the first version is replaced in the update."""
    data = files.pdf_with_catalog(b"", b"<</A 1/B 5 0 R>>")
    stream = b"7 0 obj" + object_stream(b"9 0 <</A 1>>") + b"\nendobj"

    assert not is_active(with_update(data, stream, b"6 0 obj<</A 2>>endobj"))


@pytest.mark.parametrize("make", [files.pdf_with_catalog, files.pdf_with_compressed_catalog])
def test_harmless_newer_version_is_not_active(make: Callable[..., bytes]) -> None:
    data = make(b"/OpenAction[4 0 R/Fit]", b"<</A 1>>")

    assert not is_active(with_update(data, b"98 0 obj<</B 2>>endobj"))


@pytest.mark.req("B-012")
def test_unread_older_version_counts() -> None:
    data = files.pdf_with_catalog(b"", b"<</S/JavaScript/JS(1)>>")
    later = with_update(data, b"6 0 obj<</A 1>>endobj")

    assert not qpdf_sees(later, b"JavaScript")
    assert is_active(later)


@pytest.mark.req("B-012")
@pytest.mark.parametrize(
    "junk",
    [
        b"<</S/JavaScript/JS(1)>>",
        b"9 0 obj<</S/J#61vaScript/JS(1)>>endobj\n",
        b"9 0 obj<</S(JavaScript)/JS(1)>>endobj\n",
        b"9 0 obj " + object_stream(b"9 0 <</A 1>>") + b"endobj\n",
        b"9 0 obj<</N 1/First 4/Filter/FlateDecode>>stream\nx\nendstream endobj\n",
    ],
)
def test_bytes_between_objects_count(junk: bytes) -> None:
    data = files.pdf().replace(b"xref\n0 1", junk + b"xref\n0 1")
    data = data.replace(b"startxref\n", b"startxref\n%d%%" % data.rindex(b"xref\n0 1"))

    assert not qpdf_sees(data, b"JavaScript")
    assert is_active(data)


@pytest.mark.req("B-012")
@pytest.mark.parametrize(
    "end", [b"[1]endobj\n", b"<</A 1>>\nendobj\n", b"(x)\nendstream\nendobj\n"]
)
def test_object_stream_inside_unread_object_is_active(
    end: bytes,
) -> None:
    """Some readers skip what does not belong in a dictionary, and continue after it."""
    outer = b"<</DecodeParms<</Predictor 15/Columns 4>>/X" + end
    inner = object_stream(b"9 0 <</A 1>>")
    data = pdf_with(b"null", inner)

    assert not is_active(data)
    hidden = data.replace(b"6 0 obj\nnull\nendobj\n", b"6 0 obj\n" + outer)
    shift = len(hidden) - len(data)
    start = data.rindex(b"xref\n0 1")
    hidden = hidden.replace(
        b"%010d" % data.index(b"7 0 obj"), b"%010d" % (data.index(b"7 0 obj") + shift)
    )
    hidden = hidden.replace(
        b"6 1\n%010d 00000 n" % data.index(b"6 0 obj"), b"6 1\n0000000000 65535 f"
    )
    hidden = hidden.replace(b"startxref\n%d" % start, b"startxref\n%d" % (start + shift))
    with pikepdf.open(io.BytesIO(hidden)) as pdf:
        list(pdf.objects)
        assert pdf.get_warnings() == []
    assert is_active(hidden)


@pytest.mark.req("B-012")
def test_second_open_action_in_object_stream_counts() -> None:
    go_to = b"<</S/GoTo/D[4 0 R/Fit]>>"
    other = object_stream(b"6 0 <</S/URI/URI(https://a.example)>>")

    assert not is_active(
        files.pdf_with_catalog(b"/OpenAction 6 0 R", go_to, object_stream(b"9 0 [1]"))
    )
    assert is_active(files.pdf_with_catalog(b"/OpenAction 6 0 R", go_to, other))
