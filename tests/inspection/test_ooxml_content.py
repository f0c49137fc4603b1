"""The facts of Office Open XML documents."""

import io
import os

import pytest
from tests.factories import files
from tests.factories.locked_files import (
    docx_with_field,
    docx_with_relationships,
    field_of,
    relationship,
)

from docvault import inspection
from docvault.inspection import Content


def inspect(data: bytes) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), None)


def facts(data: bytes) -> tuple[bool, bool | None]:
    content = inspect(data)
    assert not content.needs_password
    return content.has_active_content, content.has_attachments


def field_is_active(xml: str) -> bool:
    active, attachments = facts(docx_with_field(xml))
    assert attachments is False
    return active


# Embedded files


@pytest.mark.req("B-093")
@pytest.mark.parametrize("name", ["x.exe", "oleObject1.bin", "Document.DOCM", "folder/x"])
def test_embedded_files_that_can_run_are_active_attachments(name: str) -> None:
    data = files.archive(files.docx_parts() | {f"word/embeddings/{name}": b"x"})
    assert facts(data) == (True, True)


@pytest.mark.req("B-093")
@pytest.mark.parametrize("name", ["Microsoft_Excel_Sheet.xlsx", "Document.DOCX"])
def test_embedded_documents_without_macros_are_only_attachments(name: str) -> None:
    data = files.archive(files.docx_parts() | {f"word/embeddings/{name}": b"x"})
    assert facts(data) == (False, True)


@pytest.mark.req("B-093")
@pytest.mark.parametrize("kind", ["oleObject", "package", "aFChunk"])
def test_relationship_to_embedded_file_is_active_attachment(kind: str) -> None:
    assert facts(docx_with_relationships(relationship(kind, "a/b.xlsx"))) == (True, True)


@pytest.mark.req("B-093")
def test_workbook_of_a_chart_is_not_active() -> None:
    part = "word/charts/_rels/chart1.xml.rels"
    workbook = relationship("package", "../embeddings/Workbook1.xlsx")
    program = relationship("package", "../embeddings/a.exe")

    assert facts(docx_with_relationships(workbook, part=part)) == (False, True)
    assert facts(docx_with_relationships(program, part=part)) == (True, True)


def test_embedded_kind_is_found_whatever_its_name() -> None:
    kind = "application/vnd.openxmlformats-officedocument.oleObject"
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        "</Types>", f'<Override PartName="/word/a.dat" ContentType="{kind}"/></Types>'
    )

    data = files.archive(files.docx_parts() | {"[Content_Types].xml": types, "word/a.dat": b""})
    assert facts(data) == (True, True)


# Relationships to what is outside


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    "kind", ["attachedTemplate", "oleObject", "image", "frame", "subDocument", "externalLinkPath"]
)
@pytest.mark.parametrize("mode", ["External", "external", "&#69;xternal"])
def test_external_relationship_is_active(kind: str, mode: str) -> None:
    item = relationship(kind, "https://a.example/b", mode)
    assert facts(docx_with_relationships(item)) == (True, False)


@pytest.mark.req("B-093")
def test_hyperlink_is_not_active() -> None:
    item = relationship("hyperlink", "https://a.example/b", "External")
    assert facts(docx_with_relationships(item)) == (False, False)


@pytest.mark.parametrize("kind", ["styles", "image", "theme"])
def test_internal_relationship_is_not_active(kind: str) -> None:
    assert facts(docx_with_relationships(relationship(kind, "a.xml"))) == (False, False)


@pytest.mark.parametrize("part", ["_rels/x.rels", "word/_rels/header1.xml.RELS", "a/b/c.rels"])
def test_relationships_of_every_part_are_read(part: str) -> None:
    item = relationship("image", "https://a.example/b.png", "External")
    assert facts(docx_with_relationships(item, part=part)) == (True, False)


@pytest.mark.req("B-093")
def test_linked_workbook_is_active() -> None:
    """As of a cell with a formula of DDE."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.externalLink+xml"
    types = files.content_types("xl/workbook.xml", files.XLSX + ".main+xml").replace(
        "</Types>", f'<Override PartName="/xl/a.xml" ContentType="{kind}"/></Types>'
    )
    main = "<workbook/>"
    parts = files.ooxml_parts("xl/workbook.xml", files.XLSX + ".main+xml", main)
    data = files.archive(parts | {"[Content_Types].xml": types, "xl/a.xml": "<x/>"})
    assert facts(data) == (True, False)
    data = files.archive(parts | {"xl/externalLinks/externalLink1.xml": "<x><ddeLink/></x>"})
    assert facts(data) == (True, False)


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    ("formula", "active"),
    [
        ('_xlfn.WEBSERVICE("http://a.example/"&amp;A1)', True),
        ("webservice(A1)", True),
        ("SUM(1,_xlfn.IMAGE(A1))", True),
        ("&#87;EBSERVICE(A1)", True),
        ("cmd|'/c calc'!A0", True),
        ("'cmd'|'/c calc'!A0", True),
        ('RTD("a.b",,"c")', True),
        (" " * 8190 + "WEB&#83;ERVICE(A1)", True),
        ('IF(A1="|","WEBSERVICE(x)",SUM(B1:B9))', False),
        ("'a|b'!A1+1", False),
        ("MYIMAGE(A1)", False),
        ("A1*2", False),
    ],
)
def test_formula_that_starts_or_fetches_is_active(formula: str, active: bool) -> None:
    parts = files.ooxml_parts("xl/workbook.xml", files.XLSX + ".main+xml", "<workbook/>")
    sheet = (
        f"<worksheet><sheetData><row><c><f>{formula}</f><v>0</v></c></row></sheetData></worksheet>"
    )
    assert facts(files.archive(parts | {"xl/worksheets/sheet1.xml": sheet})) == (active, False)


@pytest.mark.req("B-093")
def test_text_of_a_cell_is_no_formula() -> None:
    parts = files.ooxml_parts("xl/workbook.xml", files.XLSX + ".main+xml", "<workbook/>")
    sheet = "<worksheet><c><is><t>WEBSERVICE(cmd|a!b)</t></is></c></worksheet>"
    assert facts(files.archive(parts | {"xl/worksheets/sheet1.xml": sheet})) == (False, False)


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    ("action", "active"),
    [
        ("ppaction://program", True),
        ("&#112;paction://MACRO?name=a", True),
        ("ppaction://hlinksldjump", False),
        ("", False),
    ],
)
def test_click_that_starts_a_program_is_active(action: str, active: bool) -> None:
    slide = f'<p:sld xmlns:p="p"><p:hlinkClick action="{action}"/></p:sld>'
    parts = files.ooxml_parts("ppt/presentation.xml", files.PPTX + ".main+xml", "<p/>")
    data = files.archive(parts | {"ppt/slides/slide1.xml": slide})
    assert facts(data) == (active, False)


@pytest.mark.parametrize("xml", ["<Relationships", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"])
def test_unreadable_relationships_are_active(xml: str) -> None:
    data = files.archive(files.docx_parts() | {"word/_rels/document.xml.rels": xml})
    assert facts(data) == (True, False)


# Fields


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    "xml",
    [
        field_of(' DDEAUTO c:\\\\a.exe "/k x" '),
        field_of("dde a b"),
        field_of("D", "DE", "AUTO a b"),
        field_of("&#68;D<!-- -->E a"),
        field_of("<![CDATA[DDE]]> a"),
        field_of("IF 1 = 1 " + field_of("DDE a b")),
        field_of("QUOTE 1") + field_of("DDE a b"),
        field_of("LINK Excel.Sheet a.xlsx"),
        field_of('INCLUDEPICTURE "https://a.example/b.png"'),
        field_of('INCLUDETEXT "\\\\\\\\server\\\\a.docx"'),
        '<w:fldSimple w:instr=" DDEAUTO a b"/>',
        field_of("DDE a b").removesuffix('<w:r><w:fldChar w:fldCharType="end"/></w:r>'),
        "<w:r><w:instrText>DDE a b</w:instrText></w:r>",
    ],
)
def test_field_that_starts_or_fetches_something_is_active(xml: str) -> None:
    assert field_is_active(xml)


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    "xml",
    [
        field_of("PAGE"),
        field_of('HYPERLINK "https://a.example"'),
        field_of(' TOC \\o "1-3" \\h '),
        field_of('INCLUDEPICTURE "cid:image001.png@01D9" \\* MERGEFORMATINET'),
        field_of("REF DDE"),
        '<w:fldSimple w:instr="DATE"/>',
        "<w:r><w:t>DDEAUTO instrText</w:t></w:r>",
    ],
)
def test_other_field_is_not_active(xml: str) -> None:
    assert not field_is_active(xml)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_field_is_found_in_every_encoding(encoding: str) -> None:
    main = f'<w:d xmlns:w="w">{field_of("DDE a b")}</w:d>'.encode(encoding)
    assert facts(files.archive(files.docx_parts() | {"word/document.xml": main})) == (True, False)


@pytest.mark.parametrize("encoding", ["utf-7", "ebcdic-cp-us", "x"])
def test_text_in_unknown_encoding_is_active(encoding: str) -> None:
    main = f'<?xml version="1.0" encoding="{encoding}"?><w:d xmlns:w="w">+</w:d'
    data = files.archive(files.docx_parts() | {"word/document.xml": main})
    assert facts(data) == (True, False)


def test_field_is_found_in_a_part_of_any_name() -> None:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.header+xml"
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        "</Types>", f'<Override PartName="/word/A.dat" ContentType="{kind}"/></Types>'
    )
    header = f'<w:hdr xmlns:w="w">{field_of("DDE a b")}</w:hdr>'
    parts = files.docx_parts() | {"[Content_Types].xml": types, "word/A.dat": header}
    assert facts(files.archive(parts)) == (True, False)


def test_field_is_found_in_a_part_declared_by_extension() -> None:
    types = files.content_types("x.xml", "application/xml").replace(
        '<Default Extension="xml" ContentType="application/xml"/>',
        f'<Default Extension="dat" ContentType="{files.DOCX}.main+xml"/>',
    )
    main = f'<w:d xmlns:w="w">{field_of("DDE a b")}</w:d>'
    parts = files.docx_parts() | {"[Content_Types].xml": types, "word/a.dat": main}
    assert facts(files.archive(parts)) == (True, False)


@pytest.mark.req("B-095")
@pytest.mark.parametrize(
    "main",
    [
        "<d>" + "<a/>" * 700_000 + "<instrText/></d>",
        "<d>" + "<a b=''/>" * 350_000 + "<instrText/></d>",
        "<d>" + " " * (17 << 20) + "<instrText/></d>",
        "<d>" + '<w:fldChar fldCharType="begin"/>'.replace("w:", "") * 5000 + "<instrText/></d>",
    ],
)
def test_text_over_a_limit_is_active(main: str) -> None:
    # The noise is against the limit of the compression.
    parts = files.docx_parts() | {"word/document.xml": main, "noise": os.urandom(200_000)}
    assert facts(files.archive(parts)) == (True, False)


def test_large_text_without_fields_is_not_parsed() -> None:
    main = "<d>" + "<a>Hello</a>" * 2_000_000 + "</d>"
    parts = files.docx_parts() | {"word/document.xml": main, "noise": os.urandom(200_000)}
    assert facts(files.archive(parts)) == (False, False)


def test_name_across_two_pieces_is_found() -> None:
    for shift in range(0, 12, 3):
        padding = " " * ((256 << 10) - 40 + shift)
        main = f'<w:d xmlns:w="w">{padding}{field_of("DDE a b")}</w:d>'
        parts = files.docx_parts() | {"word/document.xml": main, "noise": os.urandom(9_000)}
        assert facts(files.archive(parts)) == (True, False)
