import io
import os
import zlib
from collections.abc import Callable

import pytest
from tests.factories import files

from docvault.rules import pdf_content
from docvault.rules.media_types import CorruptContent, inspect_content


def is_active(data: bytes) -> bool:
    content = inspect_content(io.BytesIO(data), len(data), "a.pdf")
    assert content.media_type == "application/pdf"
    return content.has_active_content


def object_stream(text: bytes, dictionary: bytes = b"/Type/ObjStm/N 1/First 4") -> bytes:
    packed = zlib.compress(text)
    return b"<<" + dictionary + b"/Filter/FlateDecode>>stream\n" + packed + b"\nendstream"


def pdf_with(*objects: bytes) -> bytes:
    return files.pdf_with_catalog(b"", *objects)


# The end


@pytest.mark.parametrize("padding", [b"", b"\n", b"\0" * 40_000, b"\r\n" * 1000, b"x" * 2000])
def test_the_end_marker_may_be_followed_by_padding(padding: bytes):
    assert not is_active(files.pdf() + padding)


@pytest.mark.parametrize("appended", [b"x" * 5000, b"\0" * 100_000])
def test_much_behind_the_end_marker_is_corrupt(appended: bytes):
    with pytest.raises(CorruptContent, match="no end"):
        is_active(files.pdf() + appended)


def test_a_cut_off_pdf_is_corrupt():
    with pytest.raises(CorruptContent, match="no end"):
        is_active(files.pdf()[:-10])


# How much is searched


@pytest.mark.parametrize(("more", "active"), [(0, False), (1, True)])
def test_what_is_too_large_to_be_searched_counts_as_active(
    more: int, active: bool, monkeypatch: pytest.MonkeyPatch
):
    body = files.pdf()
    monkeypatch.setattr(pdf_content, "MAX_SEARCHED_BYTES", len(body) - more)
    assert is_active(body) is active


# What does nothing by itself


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
def test_opening_at_a_page_is_not_active(make: Callable[..., bytes], entries: bytes):
    assert not is_active(make(entries, b"<</S/GoTo/D[4 0 R/Fit]>>"))


def test_a_link_to_a_web_site_is_not_active():
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
def test_similar_names_are_not_active(other: bytes):
    assert not is_active(pdf_with(other))


def test_random_bytes_of_a_scan_are_not_active():
    scan = os.urandom(3_000_000).replace(b"/", b"-")

    assert not is_active(pdf_with(b"<</Filter/DCTDecode>>stream\n" + scan + b"\nendstream"))


@pytest.mark.parametrize(
    "matrix", [b"[0.001 0 0 0.001 0 0]", b"[ .001 -0 0\n1 0 0 ]", b" [1 0 0 1 0 0]/Type/Font"]
)
def test_a_font_matrix_of_numbers_is_not_active(matrix: bytes):
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
def test_anything_else_as_a_font_matrix_is_active(matrix: bytes):
    """What pdf.js ran as a script (CVE-2024-4367)."""
    assert is_active(pdf_with(b"<</FontMatrix" + matrix + b">>"))
    assert is_active(pdf_with(b"<</F#6fntMatrix" + matrix + b">>"))
    assert is_active(pdf_with(object_stream(b"9 0 <</FontMatrix" + matrix + b">>")))


def test_names_with_harmless_escapes_are_not_active():
    assert not is_active(pdf_with(b"<</BaseFont/Times#20New#20Roman/A#zz/#>>"))


# What acts


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
def test_an_active_name_is_found_raw_escaped_and_compressed(other: bytes):
    escaped = other.replace(b"a", b"#61").replace(b"/AA", b"/#41A").replace(b"/XFA", b"/#58FA")

    assert is_active(pdf_with(other))
    assert is_active(pdf_with(escaped))
    assert is_active(pdf_with(object_stream(b"9 0 " + other)))


@pytest.mark.parametrize(
    "make",
    [files.pdf_with_javascript, files.pdf_with_compressed_javascript, files.pdf_with_attachment],
)
def test_the_factorys_active_files_are_active(make: Callable[..., bytes]):
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
def test_opening_with_any_other_action_is_active(make: Callable[..., bytes], action: bytes):
    assert is_active(make(b"/OpenAction " + action))
    assert is_active(make(b"/OpenAction 6 0 R", action))


def test_opening_with_an_action_that_is_not_there_is_active():
    assert is_active(files.pdf_with_catalog(b"/OpenAction 66 0 R"))


def test_more_than_a_few_opening_actions_are_active():
    versions = b"".join(b"/OpenAction %d 0 R" % number for number in range(60, 65))

    assert is_active(files.pdf_with_catalog(versions))


def test_an_older_definition_of_the_opening_action_counts_too():
    harmful = b"6 0 obj<</S/URI/URI(https://a.example)>>endobj\n"
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert is_active(data.replace(b"6 0 obj", harmful + b"6 0 obj"))


@pytest.mark.parametrize("definition", [b"6%\n0 obj", b"6 0%\nobj", b"006 0 obj", b"6   00 obj"])
def test_a_definition_in_an_odd_form_counts_too(definition: bytes):
    harmful = definition + b"<</S/URI/URI(https://a.example)>>endobj\n"
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert is_active(data.replace(b"6 0 obj", harmful + b"6 0 obj"))


def test_another_object_whose_number_ends_alike_does_not_count():
    data = files.pdf_with_catalog(b"/OpenAction 6 0 R", b"<</S/GoTo/D[4 0 R/Fit]>>")

    assert not is_active(data.replace(b"1 0 obj", b"16 0 obj<<>>endobj\n1 0 obj"))


@pytest.mark.parametrize("offset", range(256 * 1024 - 20, 256 * 1024 + 5))
def test_a_name_across_two_pieces_of_the_file_is_found(offset: int):
    head = b"%PDF-1.7\n"
    filler = b" " * (offset - len(head))

    assert is_active(head + filler + b"/J#61vaScript " + b" " * 2000 + b"%%EOF")


@pytest.mark.parametrize("offset", range(256 * 1024 - 30, 256 * 1024 + 5))
def test_an_opening_action_across_two_pieces_of_the_file_is_judged_by_all_of_it(offset: int):
    filler = b" " * (offset - 9)
    action = b"/OpenAction<</S/GoTo/D[4 0 R/Fit]>>"

    assert not is_active(b"%PDF-1.7\n" + filler + action + b" " * 2000 + b"%%EOF")


# What cannot be looked into


def test_an_object_stream_that_is_harmless_is_not_active():
    assert not is_active(pdf_with(object_stream(b"9 0 <</A 1>>")))


def test_an_empty_object_stream_is_not_active():
    assert not is_active(pdf_with(object_stream(b"", b"/Type/ObjStm/N 0/First 0")))


@pytest.mark.parametrize(
    "dictionary",
    [
        b"/First 4/N 1/Type/ObjStm",
        b" /Type /ObjStm /N 1 /First 4 /Length 99 ",
        b"\n/Type /ObjStm\n/Extends 3 0 R\n/N 1\n/First 4\n/Length 9 0 R\n",
    ],
)
def test_an_object_stream_as_programs_write_it_is_read(dictionary: bytes):
    assert not is_active(pdf_with(object_stream(b"9 0 <</A 1>>", dictionary)))
    assert is_active(pdf_with(object_stream(b"9 0 <</S/JavaScript>>", dictionary)))


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
def test_an_object_stream_written_in_any_other_way_is_active(dictionary: bytes):
    """Readers that put up with it would find something else than what is looked at here."""
    assert is_active(pdf_with(object_stream(b"9 0 <</A 1>>", dictionary)))


def test_an_object_stream_whose_data_go_on_is_active():
    """Another filter takes all of it."""
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
def test_an_object_stream_that_begins_inside_another_object_is_active(before: bytes):
    assert is_active(pdf_with(before + b"9 0 obj\n" + object_stream(b"9 0 <</A 1>>")))


def test_a_predictor_that_moves_no_byte_is_not_active():
    image = b"<</DecodeParms<</Predictor 15 /Columns 4>>>>"

    assert not is_active(pdf_with(image, object_stream(b"9 0 <</A 1>>")))


def test_another_predictor_is_active_where_an_object_stream_could_have_it():
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
def test_an_outline_is_not_active(outline: bytes):
    assert not is_active(pdf_with(outline))


def test_what_cannot_be_told_from_an_outline_is_active():
    assert is_active(pdf_with(b"<</X<</First 7 0 R>>>>"))
    assert is_active(pdf_with(b"<</First 7 0 R/X(>>"))


@pytest.mark.parametrize(
    "stream",
    [
        b"<</Type/ObjStm>>stream\nnot compressed\nendstream",
        b"<</Type/ObjStm>>stream\n" + zlib.compress(b"9 0 <<>>")[:-6],
        b"<</Type/ObjStm>>",
        b"<</Type/ObjStm/X(>>stream\n" + zlib.compress(b"9 0 <<>>") + b")>>stream\nx\nendstream",
        b"<</Type/ObjStm%>>stream\n" + zlib.compress(b"9 0 <<>>") + b"\n>>stream\nx\nendstream",
        object_stream(b"\x02not pairs of numbers, so a predictor"),
        object_stream(b"9 0 " + b" " * (5 << 20)),
    ],
)
def test_an_object_stream_that_cannot_be_read_is_active(stream: bytes):
    assert is_active(pdf_with(stream))


def test_object_streams_that_unpack_to_too_much_together_are_active():
    stream = object_stream(b"9 0 " + b" " * 4_000_000)

    assert not is_active(pdf_with(*[stream] * 2))
    assert is_active(pdf_with(*[stream] * 9))


def test_more_names_than_are_worth_the_time_are_active():
    assert is_active(pdf_with(b"/A#20B " * 60_000))


def test_an_encrypted_pdf_with_readable_names_is_judged_by_them():
    encrypted = b"<</Filter/Standard/V 2/R 3/O<00>/U<00>/P -4>>"
    data = files.pdf_with_catalog(b"", encrypted).replace(b"/Root", b"/Encrypt 6 0 R/Root")

    assert not is_active(data)
    assert is_active(data.replace(b"/Type/Catalog", b"/Type/Catalog/AA<</O 1 0 R>>"))


def test_an_encrypted_pdf_with_an_object_stream_is_active():
    """Encrypted data can look like a packed text, to one who chose the key."""
    stream = object_stream(b"9 0 <</A 1>>")
    data = files.pdf_with_catalog(b"", stream).replace(b"/Root", b"/Encrypt 7 0 R/Root")

    assert is_active(data)
