import io
import os
import zipfile
from collections.abc import Callable

import pytest
from tests.factories import files

from docvault import inspection
from docvault.inspection import Content, CorruptContent, UnknownContent
from docvault.inspection.result import uninspected

MACRO_DOCUMENT = "application/vnd.ms-word.document.macroEnabled.12"


def inspect(data: bytes) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), None)


def refused_as(data: bytes) -> str | None:
    with pytest.raises(UnknownContent) as refusal:
        inspect(data)
    return refusal.value.detected


def assert_corrupt(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptContent, match=reason):
        inspect(data)


def docx_with_types(content_types: str | bytes) -> bytes:
    return files.archive(files.docx_parts() | {"[Content_Types].xml": content_types})


def main_part(content_type: str, part: str = "word/document.xml") -> bytes:
    return docx_with_types(files.content_types(part, content_type))


# Office Open XML


@pytest.mark.parametrize("media_type", [files.DOCX, files.XLSX, files.PPTX])
def test_main_part_content_type_decides(media_type: str) -> None:
    assert inspect(main_part(media_type + ".main+xml")).media_type == media_type


def test_main_type_may_be_given_by_extension() -> None:
    types = files.content_types("other.xml", "application/xml").replace(
        '"application/xml"', f'"{files.DOCX}.main+xml"', 1
    )

    assert inspect(docx_with_types(types)).media_type == files.DOCX


def test_parts_list_may_use_a_namespace_prefix_and_a_byte_order_mark() -> None:
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")
    for element in ("Types", "Default", "Override"):
        types = types.replace(f"<{element} ", f"<t:{element} ").replace(
            f"</{element}", f"</t:{element}"
        )
    types = types.replace("xmlns=", "xmlns:t=")

    assert inspect(docx_with_types(b"\xef\xbb\xbf" + types.encode())).media_type == files.DOCX


def test_parts_list_may_be_utf16() -> None:
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
    ],
)
def test_macro_documents_and_templates_are_rejected_by_name(
    content_type: str, detected: str
) -> None:
    assert refused_as(main_part(content_type)) == detected


def test_uppercase_macro_document_is_rejected() -> None:
    assert refused_as(main_part("APPLICATION/VND.MS-WORD.DOCUMENT.MACROENABLED.MAIN+XML")) == (
        MACRO_DOCUMENT
    )


def test_macro_document_is_rejected() -> None:
    assert refused_as(files.docm()) == MACRO_DOCUMENT


@pytest.mark.parametrize("name", ["word/vbaProject.bin", "vbaproject.BIN", "xl/macrosheets/s.xml"])
def test_macros_in_a_plain_document_are_active_content(name: str) -> None:
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
def test_renamed_macros_are_active_content(kind: str) -> None:
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        "</Types>", f'<Override PartName="/word/a.dat" ContentType="{kind}"/></Types>'
    )

    assert inspect(docx_with_types(types)).has_active_content


def test_two_main_types_are_corrupt() -> None:
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml").replace(
        '"application/xml"', '"application/vnd.ms-word.document.macroEnabled.main+xml"'
    )

    assert_corrupt(docx_with_types(types), "two types")


def test_missing_main_part_is_corrupt() -> None:
    assert_corrupt(main_part(files.DOCX + ".main+xml", "word/other.xml"), "main part is missing")


def test_package_of_other_program_is_an_archive() -> None:
    data = main_part("application/vnd.ms-package.xps-fixeddocumentsequence+xml")

    assert inspect(data) == uninspected("application/zip")


def test_backslash_in_the_name_of_the_main_part_is_accepted() -> None:
    data = main_part(files.DOCX + ".main+xml", "word\\document.xml")

    assert inspect(data).media_type == files.DOCX


def test_commented_out_type_is_ignored() -> None:
    types = files.content_types("word/document.xml", "application/xml").replace(
        "</Types>", f'<!--<Override ContentType="{files.DOCX}.main+xml"/>--></Types>'
    )

    assert inspect(docx_with_types(types)).media_type == "application/zip"


@pytest.mark.parametrize("types", ["", "<Types", "no xml", b"<a>\0</a>"])
def test_parts_list_that_is_not_xml_is_corrupt(types: str | bytes) -> None:
    assert_corrupt(docx_with_types(types), "not valid XML")


def test_parts_list_with_entities_is_corrupt() -> None:
    types = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'

    assert_corrupt(docx_with_types(types), "contain a DTD")


def test_declared_encoding_of_parts_list_is_ignored() -> None:
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")

    renamed = types.replace('encoding="UTF-8"', 'encoding="unicode_escape"')
    assert inspect(docx_with_types(renamed)).media_type == files.DOCX


def test_parts_list_over_one_mebibyte_is_corrupt() -> None:
    types = files.content_types("word/document.xml", files.DOCX + ".main+xml")

    assert_corrupt(docx_with_types(types + os.urandom(1 << 19).hex()), "too large")


def test_jar_polyglot_is_rejected() -> None:
    data = files.archive(files.docx_parts() | {"META-INF/MANIFEST.MF": b"Main-Class: A\n"})

    assert refused_as(data) == "application/java-archive"


# OpenDocument


@pytest.mark.parametrize("make", [files.odt, files.ods, files.odp])
def test_open_document_is_not_active(make: Callable[[], bytes]) -> None:
    assert not inspect(make()).has_active_content


@pytest.mark.parametrize(
    "name", ["Basic/Standard/Module1.xml", "Scripts/python/a.py", "Object 1/Basic/a.xml"]
)
def test_macros_in_an_open_document_are_active_content(name: str) -> None:
    data = files.archive(files.odf_parts(files.ODT, "") | {name: b"x"})

    assert inspect(data) == Content(files.ODT, has_active_content=True)


@pytest.mark.parametrize(
    "mimetype",
    [
        "application/vnd.oasis.opendocument.text-template",
        "application/vnd.oasis.opendocument.graphics",
        "application/epub+zip",
    ],
)
def test_other_mimetypes_are_rejected(mimetype: str) -> None:
    assert refused_as(files.archive(files.odf_parts(mimetype, ""))) == mimetype


@pytest.mark.parametrize("mimetype", ["text/html", "", "ä"])
def test_archive_of_unknown_mimetype_is_an_archive(mimetype: str) -> None:
    data = files.archive(files.odf_parts(mimetype, ""))

    assert inspect(data) == uninspected("application/zip")


@pytest.mark.req("B-087")
def test_mimetype_may_be_anywhere_and_compressed() -> None:
    parts = files.odf_parts(files.ODT, "")
    moved = {"content.xml": parts.pop("content.xml"), "mimetype": parts.pop("mimetype"), **parts}
    assert inspect(files.archive(moved)).media_type == files.ODT

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in moved.items():
            target.writestr(name, data)
    assert inspect(buffer.getvalue()) == Content(files.ODT, has_active_content=False)


def test_mimetype_may_end_in_a_line_break() -> None:
    data = files.archive(files.odf_parts(files.ODT + "\n", ""))

    assert inspect(data).media_type == files.ODT


def test_open_document_without_content_is_corrupt() -> None:
    assert_corrupt(files.archive({"mimetype": files.ODT}), "no content")


def test_long_mimetype_is_corrupt() -> None:
    assert_corrupt(files.archive({"mimetype": "a" * 129}), "too large")
