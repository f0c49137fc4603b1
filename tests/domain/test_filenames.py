import re
import time
import unicodedata
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.domain.filenames import content_disposition, sanitize_filename

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
def test_ordinary_name_is_kept(raw: str, name: str) -> None:
    assert sanitize_filename(raw) == name


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
def test_bytes_are_decoded_as_utf8_windows_1252_or_latin_1(raw: bytes, name: str) -> None:
    assert sanitize_filename(raw) == name


def test_name_is_unicode_composed() -> None:
    assert sanitize_filename("u\u0308bersicht.pdf") == "übersicht.pdf"


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
def test_path_parts_are_stripped(raw: str) -> None:
    assert sanitize_filename(raw) == "x.pdf"


@pytest.mark.parametrize(
    "stripped",
    ["\0", "\r\n", "\x1b", "\x7f", "\x85", "\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\xad",
     "\u2028", "\ud800", "\U000e0041"],
)  # fmt: skip
def test_control_and_invisible_characters_are_stripped(stripped: str) -> None:
    assert sanitize_filename(f"a{stripped}b.pdf{stripped}") == "ab.pdf"


@pytest.mark.parametrize("raw", [" x.pdf", "x.pdf ", "x.pdf.", "x.pdf. . ", "\u3000x.pdf\xa0"])
def test_surrounding_spaces_and_trailing_dots_are_stripped(raw: str) -> None:
    assert sanitize_filename(raw) == "x.pdf"


@pytest.mark.parametrize(
    "raw", ["", " ", ".", "..", "...", "a/", "a\\..", "\0", "\u200b", ". .", b""]
)
def test_empty_result_is_rejected(raw: str | bytes) -> None:
    with pytest.raises(ValueError, match="empty"):
        sanitize_filename(raw)


@pytest.mark.parametrize(
    "raw",
    ["CON", "con.pdf", "Aux.tar.gz", "NUL .txt", "COM1", "lpt9.pdf", "com¹", "CONIN$"],
)
def test_windows_device_name_is_escaped(raw: str) -> None:
    assert sanitize_filename(raw) == "_" + raw


def test_windows_stream_suffix_is_kept_as_name() -> None:
    assert sanitize_filename("a.hta::$DATA") == "a.hta__$DATA"
    assert sanitize_filename("prn:a") == "prn_a"


@pytest.mark.parametrize("raw", ["contract.pdf", "COM10.pdf", "console", "a.con", "nul1.txt"])
def test_device_prefix_alone_is_kept(raw: str) -> None:
    assert sanitize_filename(raw) == raw


def test_name_cut_to_device_name_is_escaped() -> None:
    assert sanitize_filename("con" + " " * 300 + "x") == "_con"


def test_name_of_255_bytes_is_kept() -> None:
    name = "a" * 251 + ".pdf"

    assert sanitize_filename(name) == name


@pytest.mark.parametrize("character", ["a", "é", "日", "👍"])
def test_long_name_keeps_whole_characters_and_extension(character: str) -> None:
    name = sanitize_filename(character * 300 + ".pdf")

    assert 251 <= len(name.encode()) <= 255
    assert re.fullmatch(f"{character}+\\.pdf", name)


def test_long_extension_is_cut() -> None:
    assert sanitize_filename("a." + "b" * 300) == "a." + "b" * 253


def test_long_device_name_fits() -> None:
    name = sanitize_filename("CON." + "a" * 251)

    assert name == "_CON." + "a" * 250


@pytest.mark.parametrize(
    "unit", ["\u0301\u0323", "a\u0301\u0323", ". ", "/", "\\", "con ", "\u202e", "\U0001f468\u200d"]
)
def test_crafted_name_is_sanitized_quickly(unit: str) -> None:
    start = time.process_time()

    sanitize_filename(unit * 50_000 + "x.pdf")

    assert time.process_time() - start < 0.5


@given(ANY_TEXT | st.binary())
def test_sanitized_name_is_safe(raw: str | bytes) -> None:
    try:
        name = sanitize_filename(raw)
    except ValueError:
        return

    assert 0 < len(name.encode()) <= 255
    assert unicodedata.is_normalized("NFC", name)
    assert not re.search(r"[/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", name)
    assert name == name.strip()
    assert not name.endswith(".")


@given(ANY_TEXT | st.text(min_size=80, max_size=400) | st.binary())
def test_sanitising_is_idempotent(raw: str | bytes) -> None:
    try:
        name = sanitize_filename(raw)
    except ValueError:
        return

    assert sanitize_filename(name) == name


def test_header_has_ascii_and_utf8_name() -> None:
    assert content_disposition("attachment", "Übersicht 1.pdf") == (
        "attachment; filename=\"_bersicht 1.pdf\"; filename*=UTF-8''%C3%9Cbersicht%201.pdf"
    )


def test_header_supports_inline() -> None:
    assert content_disposition("inline", "a.png") == (
        "inline; filename=\"a.png\"; filename*=UTF-8''a.png"
    )


def test_quotes_and_backslashes_are_escaped_in_ascii_name() -> None:
    assert content_disposition("attachment", 'a";x="b\\') == (
        'attachment; filename="a\\";x=\\"b\\\\"; filename*=UTF-8\'\'a%22%3Bx%3D%22b%5C'
    )


def test_percent_signs_are_removed_from_ascii_name() -> None:
    assert content_disposition("attachment", "100%41.pdf") == (
        "attachment; filename=\"100_41.pdf\"; filename*=UTF-8''100%2541.pdf"
    )


@given(ANY_TEXT)
def test_header_is_single_ascii_line(filename: str) -> None:
    header = content_disposition("attachment", filename)

    assert header.isascii()
    assert header.isprintable()


@given(ANY_TEXT)
def test_header_has_only_two_parameters(filename: str) -> None:
    header = content_disposition("attachment", filename)

    quoted, token = r'"(?:[^"\\]|\\["\\])*"', r"[\w!#$&+.^`|~%-]*"
    assert re.fullmatch(rf"attachment; filename={quoted}; filename\*=UTF-8''{token}", header)


@given(st.text(min_size=1))
def test_header_round_trips_through_standard_library(raw: str) -> None:
    try:
        filename = sanitize_filename(raw)
    except ValueError:
        return
    message = Message()
    message["Content-Disposition"] = content_disposition("attachment", filename)

    # The stubs do not know that the value of an extended parameter is a tuple.
    parameters: Any = message.get_params(header="Content-Disposition")
    (_, _), (_, _fallback), (_, (charset, _, value)) = parameters
    # The library decodes the bytes of the value as latin-1.
    assert (charset, value.encode("latin-1").decode()) == ("UTF-8", filename)
