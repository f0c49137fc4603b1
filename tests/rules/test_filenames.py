import re
import time
import unicodedata
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.rules.filenames import content_disposition, sanitise_filename

ANY_TEXT = st.text(st.characters(codec=None)) | st.text(
    "./\\ cCoOnN\0\u200b\u202e:\u0301eé", max_size=12
)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("passport.pdf", "passport.pdf"),
        ("Mein Ausweis (Kopie) 100%.PDF", "Mein Ausweis (Kopie) 100%.PDF"),
        (".htaccess", ".htaccess"),
        ("日本.pdf", "日本.pdf"),
        ("👍🏽.png", "👍🏽.png"),
        ("a;b\"c'd&e.pdf", "a;b\"c'd&e.pdf"),
    ],
)
def test_an_ordinary_name_is_kept(raw: str, name: str):
    assert sanitise_filename(raw) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"passport.pdf", "passport.pdf"),
        ("Übersicht.pdf".encode(), "Übersicht.pdf"),
        (b"\xdcbersicht.pdf", "Übersicht.pdf"),
        (b"\x80uro.pdf", "€uro.pdf"),
        (b"\xff\xfe.pdf", "ÿþ.pdf"),
        (b"\xff\x81\xe9.pdf", "ÿé.pdf"),
    ],
)
def test_bytes_are_utf8_or_else_windows_1252_or_else_latin_1(raw: bytes, name: str):
    assert sanitise_filename(raw) == name


def test_the_name_is_composed():
    assert sanitise_filename("u\u0308bersicht.pdf") == "übersicht.pdf"


@pytest.mark.parametrize(
    "raw",
    [
        "/etc/x.pdf",
        "../../x.pdf",
        "C:\\fakepath\\x.pdf",
        "..\\..\\x.pdf",
        "\\\\host\\share\\x.pdf",
        "a/b\\x.pdf",
        ".\u200b./\u200bx.pdf",
    ],
)
def test_path_parts_are_stripped(raw: str):
    assert sanitise_filename(raw) == "x.pdf"


@pytest.mark.parametrize(
    "stripped",
    ["\0", "\r\n", "\x1b", "\x7f", "\x85", "\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\xad",
     "\u2028", "\ud800", "\U000e0041"],
)  # fmt: skip
def test_control_and_invisible_characters_are_stripped(stripped: str):
    assert sanitise_filename(f"a{stripped}b.pdf{stripped}") == "ab.pdf"


@pytest.mark.parametrize("raw", [" x.pdf", "x.pdf ", "x.pdf.", "x.pdf. . ", "\u3000x.pdf\xa0"])
def test_spaces_around_and_dots_behind_are_stripped(raw: str):
    assert sanitise_filename(raw) == "x.pdf"


@pytest.mark.parametrize(
    "raw", ["", " ", ".", "..", "...", "a/", "a\\..", "\0", "\u200b", ". .", b""]
)
def test_a_name_of_which_nothing_is_left_is_refused(raw: str | bytes):
    with pytest.raises(ValueError, match="empty"):
        sanitise_filename(raw)


@pytest.mark.parametrize(
    "raw",
    ["CON", "con.pdf", "Aux.tar.gz", "NUL .txt", "COM1", "lpt9.pdf", "com¹", "CONIN$"],
)
def test_a_windows_device_is_made_harmless(raw: str):
    assert sanitise_filename(raw) == "_" + raw


def test_a_stream_of_windows_is_part_of_the_name():
    assert sanitise_filename("a.hta::$DATA") == "a.hta__$DATA"
    assert sanitise_filename("prn:a") == "prn_a"


@pytest.mark.parametrize("raw", ["contract.pdf", "COM10.pdf", "console", "a.con", "nul1.txt"])
def test_a_name_that_only_starts_like_a_device_is_kept(raw: str):
    assert sanitise_filename(raw) == raw


def test_a_name_that_becomes_a_device_by_the_cut_is_made_harmless():
    assert sanitise_filename("con" + " " * 300 + "x") == "_con"


def test_255_bytes_are_kept():
    name = "a" * 251 + ".pdf"

    assert sanitise_filename(name) == name


@pytest.mark.parametrize("character", ["a", "é", "日", "👍"])
def test_a_long_name_keeps_whole_characters_and_its_extension(character: str):
    name = sanitise_filename(character * 300 + ".pdf")

    assert 251 <= len(name.encode()) <= 255
    assert re.fullmatch(f"{character}+\\.pdf", name)


def test_a_long_extension_is_cut_with_the_name():
    assert sanitise_filename("a." + "b" * 300) == "a." + "b" * 253


def test_a_long_device_name_still_fits():
    name = sanitise_filename("CON." + "a" * 251)

    assert name == "_CON." + "a" * 250


@pytest.mark.parametrize(
    "unit", ["\u0301\u0323", "a\u0301\u0323", ". ", "/", "\\", "con ", "\u202e", "\U0001f468\u200d"]
)
def test_a_name_made_to_be_slow_is_not(unit: str):
    start = time.process_time()

    sanitise_filename(unit * 50_000 + "x.pdf")

    assert time.process_time() - start < 0.5


@given(ANY_TEXT | st.binary())
def test_a_sanitised_name_is_harmless(raw: str | bytes):
    try:
        name = sanitise_filename(raw)
    except ValueError:
        return

    assert 0 < len(name.encode()) <= 255
    assert unicodedata.is_normalized("NFC", name)
    assert not re.search(r"[/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", name)
    assert name == name.strip()
    assert not name.endswith(".")


@given(ANY_TEXT | st.text(min_size=80, max_size=400) | st.binary())
def test_sanitising_again_changes_nothing(raw: str | bytes):
    try:
        name = sanitise_filename(raw)
    except ValueError:
        return

    assert sanitise_filename(name) == name


def test_the_header_has_an_ascii_and_a_utf8_name():
    assert content_disposition("attachment", "Übersicht 1.pdf") == (
        "attachment; filename=\"_bersicht 1.pdf\"; filename*=UTF-8''%C3%9Cbersicht%201.pdf"
    )


def test_the_header_can_say_inline():
    assert content_disposition("inline", "a.png") == (
        "inline; filename=\"a.png\"; filename*=UTF-8''a.png"
    )


def test_quotes_and_backslashes_cannot_end_the_ascii_name():
    assert content_disposition("attachment", 'a";x="b\\') == (
        'attachment; filename="a\\";x=\\"b\\\\"; filename*=UTF-8\'\'a%22%3Bx%3D%22b%5C'
    )


def test_percent_signs_are_not_in_the_ascii_name():
    assert content_disposition("attachment", "100%41.pdf") == (
        "attachment; filename=\"100_41.pdf\"; filename*=UTF-8''100%2541.pdf"
    )


@given(ANY_TEXT)
def test_the_header_is_one_line_of_ascii(filename: str):
    header = content_disposition("attachment", filename)

    assert header.isascii()
    assert header.isprintable()


@given(ANY_TEXT)
def test_the_header_has_only_the_two_parameters(filename: str):
    header = content_disposition("attachment", filename)

    quoted, token = r'"(?:[^"\\]|\\["\\])*"', r"[\w!#$&+.^`|~%-]*"
    assert re.fullmatch(rf"attachment; filename={quoted}; filename\*=UTF-8''{token}", header)


@given(st.text(min_size=1))
def test_the_header_parses_back_to_the_name_with_the_standard_library(raw: str):
    try:
        filename = sanitise_filename(raw)
    except ValueError:
        return
    message = Message()
    message["Content-Disposition"] = content_disposition("attachment", filename)

    (_, _), (_, _fallback), (_, (charset, _, value)) = message.get_params(
        header="Content-Disposition"
    )
    # The library hands out the bytes of the value as latin-1.
    assert (charset, value.encode("latin-1").decode()) == ("UTF-8", filename)
