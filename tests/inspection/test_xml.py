import io

import pytest
from tests.factories import files

from docvault import inspection
from docvault.inspection import Content, UnknownContent


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def refusal(data: bytes, filename: str | None = None) -> UnknownContent:
    with pytest.raises(UnknownContent) as raised:
        inspect(data, filename)
    return raised.value


@pytest.mark.parametrize(
    "data",
    [
        b'<?xml version="1.0" encoding="windows-1252"?><a>M\xfcller</a>',
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><a/>\r\n',
        b'<?xml version="1.0" encoding="utf-16"?><a/>',
        b'\n<?xml version="1.0"?><a/>',
        '<?xml version="1.0" encoding="utf-16"?><a>Łódź</a>'.encode("utf-16"),
        b"<Invoice xmlns='urn:oasis:names:specification:ubl:schema:xsd:Invoice-2'/>",
        b"<ubl:Invoice xmlns:ubl='urn:a'><ubl:script>1</ubl:script></ubl:Invoice>",
        b"<!-- made by a program --><rsm:CrossIndustryInvoice xmlns:rsm='urn:un'/>",
    ],
)
def test_xml_that_is_data_is_not_active(data: bytes) -> None:
    assert inspect(data) == Content("application/xml", False, None)


@pytest.mark.parametrize(
    "data",
    [
        b'<?xml version="1.0"?><?xml-stylesheet href="a.xsl"?><a/>',
        b'<?xml version="1.0"?><?mso-application progid="Word.Document"?><a/>',
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://a.example/a.dtd"><a/>',
        b'<?xml version="1.0"?><a><b:script xmlns:b="http://www.w3.org/1999/xhtml"/></a>',
        b'<?xml version="1.0"?><a><b:g xmlns:b="http://www.w3.org/2000/s&#118;g"/></a>',
        b'<?xml version="1.0"?><a xmlns:xi="http://www.w3.org/2001/XInclude"/>',
        b'<?xml version="1.0"?><o:a xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0"/>',
        b'<?xml version="1.0"?><a>' + b'<b xmlns="c"/>' * 10_001 + b"</a>",
    ],
)
def test_xml_that_runs_or_fetches_something_is_active(data: bytes) -> None:
    assert inspect(data) == Content("application/xml", True, None)


@pytest.mark.parametrize(
    ("data", "detected"),
    [
        (b'<?xml version="1.0"?>' + b"<!-- a -->" * 500 + files.svg(), "image/svg+xml"),
        (b'<?xml version="1.0"?><p xmlns="http://www.w3.org/1999/xhtml"/>', "text/html"),
        (b'<?xml version="1.0"?><s:svg xmlns:s="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b'<?xml version="1.0"?><xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>',
         "application/xslt+xml"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"<b>bold</b>", "text/html"),
        (b"<a:b>", "text/html"),
        (files.html().decode().encode("utf-16"), "text/html"),
        (files.svg().decode().encode("utf-16"), "image/svg+xml"),
    ],
)  # fmt: skip
def test_page_or_drawing_is_not_stored_as_xml(data: bytes, detected: str) -> None:
    assert refusal(data, "a.xml").detected == detected


def test_element_without_declaration_is_xml_by_its_extension() -> None:
    assert inspect(b"<Rechnung/>", "a.xml").media_type == "application/xml"
    assert refusal(b"<Rechnung/>", "a.txt").detected == "text/html"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'<?xml version="1.0"?><a>', "The XML is not well-formed."),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
         "The XML declares entities."),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>',
         "The XML is in an encoding that is not supported."),
    ],
)  # fmt: skip
def test_hostile_or_broken_xml_is_named_with_the_reason(data: bytes, reason: str) -> None:
    error = refusal(data)

    assert (error.detected, error.reason) == ("application/xml", reason)
