import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.rules.media_types import CorruptContent, UnknownContent, inspect_content


def media_type(data: bytes, filename: str | None = None) -> str:
    return inspect_content(io.BytesIO(data), len(data), filename).media_type


def refused_as(data: bytes) -> str | None:
    with pytest.raises(UnknownContent) as refusal:
        media_type(data)
    return refusal.value.detected


@pytest.mark.parametrize(
    "data",
    [
        b"plain\r\n",
        "Łódź 日本 👍".encode(),
        b"\xef\xbb\xbfwith a byte order mark",
        b"a\tb\n\x0cnext page",
        b"\n",
        b"MZ is how this text starts",
        b"BMW 320d, 2019",
        b"1 < 2 and <john@example.com> wrote",
        b"Use <b>bold</b> here",
        b'{"json": true}',
    ],
)
def test_utf8_is_plain_text(data: bytes):
    assert media_type(data) == "text/plain"


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.b.csv"])
def test_text_is_csv_by_the_file_name(name: str):
    assert media_type(b"a;b\n", name) == "text/csv"


@pytest.mark.parametrize(
    "data",
    [
        b"nul\0byte",
        b"escape\x1b[31m",
        b"bell\x07",
        b"delete\x7f",
        b"vertical\x0b",
        b"M\xfcller",
        b"overlong \xc0\xaf",
        b"surrogate \xed\xa0\x80",
        b"cut off \xe2\x82",
        "UTF-16".encode("utf-16"),
    ],
)
def test_other_encodings_and_control_characters_are_not_text(data: bytes):
    assert refused_as(data) is None


@pytest.mark.parametrize(
    ("data", "detected"),
    [
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"<!-- a --><script>", "text/html"),
        (b"<html>", "text/html"),
        (b"<ScRiPt >", "text/html"),
        (b"<img/src=x onerror=alert(1)>", "text/html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><!-- a --><svg/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>", "text/html"),
        (b"<?xml version='1.0'?><a/>", "application/xml"),
        (b"<?php phpinfo();", "application/x-httpd-php"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"{\\rtf1 a}", "application/rtf"),
        (b"%!PS-Adobe-3.0\n", "application/postscript"),
        (b"@ECHO OFF\r\n", "application/x-bat"),
        (b"[InternetShortcut]\r\nURL=file://a", "application/x-mswinurl"),
        (b"push graphic-context\nimage over 0,0 0,0 'a'", "image/x-mvg"),
        (b"From: a\r\nMIME-Version: 1.0\r\n\r\n<html>", "message/rfc822"),
    ],
)
def test_text_that_some_program_runs_or_renders_is_refused(data: bytes, detected: str):
    assert refused_as(data) == detected


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf \x0c", b" " * 300_000]
)
def test_blank_characters_do_not_hide_markup(before: bytes):
    assert refused_as(before + b"<html>") == "text/html"


def test_markup_in_another_encoding_is_still_named():
    assert refused_as(b"<html>M\xfcller") == "text/html"


def test_a_pdf_header_after_blank_characters_is_corrupt():
    with pytest.raises(CorruptContent, match="not at the start"):
        media_type(b"\n%PDF-1.7\n%%EOF\n")


def test_a_pdf_header_where_readers_look_for_one_is_corrupt():
    with pytest.raises(CorruptContent, match="inside the text"):
        media_type(b"hello\n%PDF-1.7\n%%EOF\n")
    with pytest.raises(CorruptContent, match="inside the text"):
        media_type(b"x" * 1024 + b"%PDF-1.7\n%%EOF\n")

    assert media_type(b"x" * 1025 + b"%PDF-1.7\n%%EOF\n") == "text/plain"


def test_a_character_may_lie_across_two_chunks():
    assert media_type(b"a" * (256 * 1024 - 1) + "ü".encode()) == "text/plain"


def test_the_last_byte_of_a_big_text_counts():
    assert refused_as(b"a" * 1_000_000 + b"\0") is None


@given(st.text(st.characters(categories=["L", "N", "P", "Z"], exclude_characters="<#{%@[")))
def test_words_in_any_script_are_text(text: str):
    assert media_type(b"a " + text.encode()) == "text/plain"
