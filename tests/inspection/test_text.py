import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories import containers, files

from docvault import inspection
from docvault.inspection import Content, CorruptContent, UnknownContent
from docvault.inspection.result import uninspected


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def media_type(data: bytes, filename: str | None = None) -> str:
    return inspect(data, filename).media_type


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
def test_utf8_is_plain_text(data: bytes) -> None:
    assert media_type(data) == "text/plain"


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.b.csv"])
def test_csv_is_recognised_by_filename(name: str) -> None:
    assert media_type(b"a;b\n", name) == "text/csv"


@pytest.mark.parametrize(
    "data",
    [
        b"nul\0byte",
        b"escape\x1b[31m",
        b"bell\x07",
        b"delete\x7f",
        b"vertical\x0b",
        "UTF-16 without a mark".encode("utf-16-le"),
        "UTF-16 with a bell \x07".encode("utf-16"),
        b"\xff\xfe\x00\xd8 a lone surrogate ",
        b"\xff\xfea\0b",
        b"Ctrl-Z \x1a before the end",
    ],
)
def test_control_characters_and_invalid_utf16_are_not_text(data: bytes) -> None:
    assert refused_as(data) is None


@pytest.mark.req("B-087")
@pytest.mark.parametrize(
    "data",
    [
        b"M\xfcller;1,50 \x80\r\n",
        "Łódź".encode("iso-8859-2"),
        "Москва".encode("koi8-r"),
        "日本".encode("euc-jp"),
        b"cut off \xe2\x82",
        "Unicode text\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "Łódź 👍".encode("utf-16-be"),
        b"DOS text\r\n\x1a",
        b"DOS text\r\n\x1a\x1a\r\n",
        codecs.BOM_UTF16_LE + "text\x1a".encode("utf-16-le"),
        b"\x1a",
    ],
)
def test_text_in_other_encodings_is_stored(data: bytes) -> None:
    assert media_type(data) == "text/plain"
    assert media_type(data, "a.csv") == "text/csv"


@pytest.mark.req("B-088")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"escape \x1b[31m", "The text contains a control character, 0x1B. Remove it."),
        (b"nul \0 byte", "The text contains a control character, 0x00. Remove it."),
        (b"a" * 1_000_000 + b"\x07", "The text contains a control character, 0x07. Remove it."),
        (codecs.BOM_UTF16_LE + b"a\0b", "The text is not valid UTF-16."),
        (bytes(range(256)), None),
    ],
)
def test_reason_names_the_control_character(data: bytes, reason: str | None) -> None:
    with pytest.raises(UnknownContent) as refusal:
        media_type(data)
    assert refusal.value.reason == reason


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
        (b"<?php phpinfo();", "application/x-httpd-php"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"%!PS-Adobe-3.0\n", "application/postscript"),
        (b"@ECHO OFF\r\n", "application/x-bat"),
        (b"[InternetShortcut]\r\nURL=file://a", "application/x-mswinurl"),
        (b"push graphic-context\nimage over 0,0 0,0 'a'", "image/x-mvg"),
    ],
)
def test_executable_or_rendered_text_is_rejected(data: bytes, detected: str) -> None:
    assert refused_as(data) == detected


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf \x0c", b" " * 300_000]
)
def test_leading_whitespace_does_not_hide_markup(before: bytes) -> None:
    assert refused_as(before + b"<html>") == "text/html"


@pytest.mark.parametrize("before", ["", " \r\n\t", " " * 300_000])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_does_not_hide_markup(before: str, encoding: str) -> None:
    data = ("\ufeff" + before + "<HTML>").encode(encoding)

    assert refused_as(data) == "text/html"


def test_markup_in_other_encoding_is_named() -> None:
    assert refused_as(b"<html>M\xfcller") == "text/html"


def test_pdf_header_after_whitespace_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="not at the start"):
        media_type(b"\n%PDF-1.7\n%%EOF\n")


def test_pdf_header_where_readers_search_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="not at the start"):
        media_type(b"hello\n%PDF-1.7\n%%EOF\n")
    with pytest.raises(CorruptContent, match="inside the text"):
        media_type(b"x" * 1024 + b"%pdf-1.7\n%%EOF\n")

    assert media_type(b"x" * 1025 + b"%PDF-1.7\n%%EOF\n") == "text/plain"


def test_character_may_span_two_chunks() -> None:
    assert media_type(b"a" * (256 * 1024 - 1) + "ü".encode()) == "text/plain"


def test_last_byte_of_large_text_is_checked() -> None:
    assert refused_as(b"a" * 1_000_000 + b"\0") is None


@given(st.text(st.characters(categories=["L", "N", "P", "Z"], exclude_characters="<#{%@[")))
def test_words_in_any_script_are_text(text: str) -> None:
    assert media_type(b"a " + text.encode()) == "text/plain"


# Mail and RTF


@pytest.mark.parametrize(
    "data",
    [
        b"Return-Path: <a@a.example>\r\n\r\nM\xfcller\x1b$B",
        b"Subject: a\r\nMIME-Version: 1.0\r\n\r\nHello",
        b"\xef\xbb\xbfDelivered-To: a@a.example\n\n",
    ],
)
def test_mail_is_recognized_by_its_fields(data: bytes) -> None:
    assert inspect(data) == uninspected("message/rfc822")


@pytest.mark.parametrize("data", [b"Received: 3 parcels", b"From: a\nTo: b\n", b"Delivered-To: x"])
def test_note_that_begins_like_mail_is_text(data: bytes) -> None:
    assert media_type(data) == "text/plain"


def test_saved_mail_is_recognized_by_its_extension() -> None:
    assert inspect(b"From: a@a.example\r\n\r\nHello", "a.eml").media_type == "message/rfc822"
    assert inspect(b"From - Mon\r\nX-A: b\r\n\r\nHello", "a.eml").media_type == "message/rfc822"
    assert inspect(b"From: a@a.example\r\n\r\nHello", "a.txt").media_type == "text/plain"


@pytest.mark.parametrize("make", [containers.rtf, containers.eml])
def test_pdf_within_a_marked_text_is_corrupt(make: object) -> None:
    assert callable(make)
    with pytest.raises(CorruptContent, match="PDF"):
        inspect(make() + b"%PDF-1.7\n")


def test_archive_behind_rtf_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="appended"):
        inspect(containers.rtf() + files.archive({"a": b"a"}))


def test_rtf_is_often_named_doc() -> None:
    assert inspect(containers.rtf(), "a.doc").media_type == "application/rtf"
