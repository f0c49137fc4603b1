"""The facts of OpenDocument files."""

import io

import pytest
from tests.factories import files
from tests.factories.locked_files import (
    encrypted_odt,
    encrypted_odt_package,
    odf_entry,
    odf_manifest,
    odt_with,
)

from docvault import inspection
from docvault.inspection import Content, CorruptContent


def inspect(data: bytes) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), None)


def facts(data: bytes) -> tuple[bool, bool | None]:
    content = inspect(data)
    assert not content.needs_password
    return content.has_active_content, content.has_attachments


# Passwords


@pytest.mark.req("B-091")
@pytest.mark.parametrize("make", [encrypted_odt, encrypted_odt_package])
def test_encrypted_document_needs_a_password(make: object) -> None:
    assert callable(make)
    assert inspect(make()) == Content(
        files.ODT, has_active_content=True, has_attachments=None, needs_password=True
    )


def test_package_in_a_package_without_encryption_is_corrupt() -> None:
    with pytest.raises(CorruptContent, match="no content"):
        inspect(encrypted_odt_package(encrypted=False))


# Scripts and addresses


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    "body",
    [
        '<script:event-listener script:event-name="dom:load"/>',
        '<x:event-listener xmlns:x="urn:oasis:names:tc:opendocument:xmlns:script:1.0"/>',
        '<presentation:event-listener presentation:action="execute"/>',
        "<text:dde-connection-decl/>",
        '<draw:object-ole xlink:href="./Object 1"/>',
        '<draw:plugin xlink:href="a"/>',
        '<draw:image xlink:href="https://a.example/b.png"/>',
        '<draw:image xlink:href=" HTTPS://a.example/b.png"/>',
        '<draw:image xlink:href="//a.example/b.png"/>',
        '<draw:object xlink:href="../other.ods"/>',
        '<text:section-source xlink:href="file:///C:/a.odt"/>',
        '<text:a xlink:href="vnd.sun.star.script:a?language=Basic">x</text:a>',
        '<text:a xlink:href="macro:///Standard.Module1.Main">x</text:a>',
        """<table:table-cell table:formula='of:=DDE("soffice";"a";"b")'/>""",
        """<table:table-cell table:formula='of:=COM.MICROSOFT.WEBSERVICE("http://a.example")'/>""",
        """<table:table-cell table:formula='of:=WEB&#83;ERVICE([.A1])'/>""",
        """<table:table-cell table:formula="of:='file:///etc/passwd'#$Sheet1.A1"/>""",
        """<table:named-expression table:expression="of:=webservice([.A1])"/>""",
    ],
)
def test_script_or_address_outside_is_active(body: str) -> None:
    assert inspect(odt_with(body)).has_active_content


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    "body",
    [
        '<presentation:event-listener presentation:action="next-page"/>',
        '<draw:image xlink:href="Pictures/1.png"/>',
        '<draw:object xlink:href="./Object 1"/>',
        '<draw:object xlink:href=""/>',
        '<text:a xlink:href="https://a.example">x</text:a>',
        '<text:a xlink:href="#chapter">x</text:a>',
        "<text:p>event-listener href</text:p>",
    ],
)
def test_other_content_is_not_active(body: str) -> None:
    assert facts(odt_with(body)) == (False, False)


@pytest.mark.parametrize("name", ["styles.xml", "Object 1/content.xml"])
def test_every_part_with_text_is_searched(name: str) -> None:
    script = '<a xmlns:s="x:script:y"><s:event-listener/></a>'
    data = files.archive(files.odf_parts(files.ODT, "") | {name: script})
    assert facts(data) == (True, False)


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    ("address", "active"),
    [
        ("https://a.example/t.ott", True),
        ("//server/t.ott", True),
        ("\\\\server\\t.ott", True),
        ("file:///C:/Templates/letter.ott", False),
        ("../../Templates/letter.ott", False),
    ],
)
def test_remote_template_is_active(address: str, active: bool) -> None:
    meta = f'<a xmlns:x="x"><template x:href="{address}"/></a>'
    data = files.archive(files.odf_parts(files.ODT, "") | {"meta.xml": meta})
    assert facts(data) == (active, False)


def test_unreadable_content_is_active() -> None:
    data = files.archive(files.odf_parts(files.ODT, "") | {"styles.xml": "<a href='"})
    assert facts(data) == (True, False)


# Embedded files


@pytest.mark.req("B-093")
@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.sun.star.oleobject", (True, True)),
        ("application/vnd.oasis.opendocument.spreadsheet", (False, True)),
        ("application/vnd.oasis.opendocument.chart", (False, False)),
        ("application/vnd.oasis.opendocument.formula", (False, False)),
        ("image/png", (False, False)),
    ],
)
def test_manifest_names_embedded_documents(media_type: str, expected: tuple[bool, bool]) -> None:
    assert facts(odt_with("", odf_entry("Object 1/", media_type))) == expected


def test_manifest_may_have_a_document_type() -> None:
    doctype = (
        '<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "M.dtd">'
    )
    manifest = odf_manifest(odf_entry("/", files.ODT), doctype=doctype)
    parts = files.odf_parts(files.ODT, "") | {"META-INF/manifest.xml": manifest}
    assert facts(files.archive(parts)) == (False, False)
