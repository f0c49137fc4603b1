import io
import os
from collections.abc import Callable

import pytest
from tests.factories import files

from docvault.rules.media_types import Content, CorruptContent, UnknownContent, inspect_content

MACRO_DOCUMENT = "application/vnd.ms-word.document.macroEnabled.12"


def inspect(data: bytes) -> Content:
    return inspect_content(io.BytesIO(data), len(data), None)


def refused_as(data: bytes) -> str | None:
    with pytest.raises(UnknownContent) as refusal:
        inspect(data)
    return refusal.value.detected


def assert_corrupt(data: bytes, reason: str):
    with pytest.raises(CorruptContent, match=reason):
        inspect(data)


def docx_with_types(content_types: str | bytes) -> bytes:
    return files.archive(files.docx_parts() | {"[Content_Types].xml": content_types})


def main_part(content_type: str, part: str = "word/document.xml") -> bytes:
    return docx_with_types(files.content_types(part, content_type))


# Office Open XML


@pytest.mark.parametrize("media_type", [files.DOCX, files.XLSX, files.PPTX])
def test_the_main_parts_content_type_decides(media_type: str):
    assert inspect(main_part(media_type + ".main+xml")).media_type == media_type


def test_the_main_type_may_be_given_by_extension():
    types = files.content_types("other.xml", "application/xml").replace(
        '"application/xml"', f'"{files.DOCX}.main+xml"', 1
    )

    assert inspect(docx_with_types(types)).media_type == files.DOCX


def test_the_parts_list_may_use_a_namespace_prefix_and_a_byte_order_mark():
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")
    for element in ("Types", "Default", "Override"):
        types = types.replace(f"<{element} ", f"<t:{element} ").replace(
            f"</{element}", f"</t:{element}"
        )
    types = types.replace("xmlns=", "xmlns:t=")

    assert inspect(docx_with_types(b"\xef\xbb\xbf" + types.encode())).media_type == files.DOCX


def test_the_parts_list_may_be_utf16():
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")

    assert inspect(
        docx_with_types(types.replace("UTF-8", "UTF-16").encode("utf-16"))
    ).media_type == (files.DOCX)


@pytest.mark.parametrize(
    ("content_type", "detected"),
    [
        ("application/vnd.ms-word.document.macroEnabled.main+xml", MACRO_DOCUMENT),
        (
            "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
            "application/vnd.ms-word.template.macroEnabled.12",
        ),
        (
            "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
            "application/vnd.ms-excel.sheet.macroEnabled.12",
        ),
        (
            "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
            "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        ),
        (
            "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
            "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
        ),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        ),
        ("application/vnd.ms-package.xps-fixeddocumentsequence+xml", "application/zip"),
    ],
)
def test_macro_documents_templates_and_others_are_refused_by_name(content_type: str, detected: str):
    assert refused_as(main_part(content_type)) == detected


def test_a_macro_document_is_refused_even_in_capitals():
    assert refused_as(main_part("APPLICATION/VND.MS-WORD.DOCUMENT.MACROENABLED.MAIN+XML")) == (
        MACRO_DOCUMENT
    )


def test_a_macro_document_is_refused():
    assert refused_as(files.docm()) == MACRO_DOCUMENT


@pytest.mark.parametrize("name", ["word/vbaProject.bin", "vbaproject.BIN", "xl/macrosheets/s.xml"])
def test_macros_in_a_plain_document_are_active_content(name: str):
    assert inspect(files.archive(files.docx_parts() | {name: b"x"})) == Content(
        files.DOCX, has_active_content=True
    )


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.ms-office.vbaProject",
        "application/vnd.ms-excel.macrosheet+xml",
        "application/vnd.ms-office.activeX+xml",
    ],
)
def test_macros_under_another_name_are_active_content(kind: str):
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        "</Types>", f'<Override PartName="/word/a.dat" ContentType="{kind}"/></Types>'
    )

    assert inspect(docx_with_types(types)).has_active_content


def test_two_main_types_are_corrupt():
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        '"application/xml"', '"application/vnd.ms-word.document.macroEnabled.main+xml"'
    )

    assert_corrupt(docx_with_types(types), "two types")


def test_a_main_part_that_is_not_there_is_corrupt():
    assert_corrupt(main_part(files.DOCX + ".main+xml", "word/other.xml"), "main part is missing")


def test_a_commented_out_type_does_not_count():
    types = files.content_types("word/document.xml", "application/xml").replace(
        "</Types>", f'<!--<Override ContentType="{files.DOCX}.main+xml"/>--></Types>'
    )

    assert refused_as(docx_with_types(types)) == "application/zip"


@pytest.mark.parametrize("types", ["", "<Types", "no xml", b"<a>\0</a>"])
def test_a_parts_list_that_is_not_xml_is_corrupt(types: str | bytes):
    assert_corrupt(docx_with_types(types), "not XML")


def test_a_parts_list_with_entities_is_corrupt():
    types = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'

    assert_corrupt(docx_with_types(types), "document type declaration")


def test_an_encoding_named_by_the_parts_list_is_not_used():
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")

    renamed = types.replace('encoding="UTF-8"', 'encoding="unicode_escape"')
    assert inspect(docx_with_types(renamed)).media_type == files.DOCX


def test_a_parts_list_of_more_than_a_mebibyte_is_corrupt():
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")

    assert_corrupt(docx_with_types(types + os.urandom(1 << 19).hex()), "too big")


def test_a_document_that_is_also_a_jar_is_refused():
    data = files.archive(files.docx_parts() | {"META-INF/MANIFEST.MF": b"Main-Class: A\n"})

    assert refused_as(data) == "application/java-archive"


# OpenDocument


@pytest.mark.parametrize("make", [files.odt, files.ods, files.odp])
def test_an_open_document_is_not_active(make: Callable[[], bytes]):
    assert not inspect(make()).has_active_content


@pytest.mark.parametrize(
    "name", ["Basic/Standard/Module1.xml", "Scripts/python/a.py", "Object 1/Basic/a.xml"]
)
def test_macros_in_an_open_document_are_active_content(name: str):
    data = files.archive(files.odf_parts(files.ODT, "") | {name: b"x"})

    assert inspect(data) == Content(files.ODT, has_active_content=True)


@pytest.mark.parametrize(
    ("mimetype", "detected"),
    [
        ("application/vnd.oasis.opendocument.text-template", None),
        ("application/vnd.oasis.opendocument.graphics", None),
        ("application/epub+zip", None),
        ("text/html", "application/zip"),
        ("application/vnd.oasis.opendocument.text\n", "application/zip"),
        ("", "application/zip"),
        ("ä", "application/zip"),
    ],
)
def test_other_types_by_mimetype_are_refused(mimetype: str, detected: str | None):
    assert refused_as(files.archive(files.odf_parts(mimetype, ""))) == (detected or mimetype)


def test_a_mimetype_that_does_not_come_first_is_corrupt():
    parts = files.odf_parts(files.ODT, "")
    data = files.archive({"content.xml": parts.pop("content.xml"), **parts})

    assert_corrupt(data, "does not start with its media type")


def test_an_open_document_without_content_is_corrupt():
    assert_corrupt(files.archive({"mimetype": files.ODT}), "no content")


def test_a_long_mimetype_is_corrupt():
    assert_corrupt(files.archive({"mimetype": "a" * 129}), "too big")
