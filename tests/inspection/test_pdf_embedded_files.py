"""Files that are attached to a PDF, and passwords."""

import io
from collections.abc import Callable

import pytest
from tests.factories import files
from tests.factories.locked_files import (
    INVOICE,
    encrypted_pdf,
    pdf_invoice,
    pdf_with_attachments,
)

from docvault import inspection
from docvault.inspection import Content, pdf
from docvault.inspection.attached_xml import is_plain_xml


def inspect(data: bytes) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), "a.pdf")


def facts(data: bytes) -> tuple[bool, bool | None, bool]:
    content = inspect(data)
    return content.has_active_content, content.has_attachments, content.needs_password


# Invoices


@pytest.mark.req("B-094")
@pytest.mark.parametrize("compressed", [False, True])
def test_invoice_with_its_xml_is_not_active(compressed: bool) -> None:
    assert facts(pdf_invoice(compressed=compressed)) == (False, True, False)
    assert facts(encrypted_pdf(pdf_invoice(compressed=compressed))) == (False, True, False)


@pytest.mark.req("B-094")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "attachments",
    [
        {"a.exe": b"MZ"},
        {"factur-x.xml": INVOICE, "a.docx": files.docx()},
        {"factur-x.xml": b"MZ"},
        {"factur-x.html": INVOICE},
        {"a.xml": b'<html xmlns="http://www.w3.org/1999/xhtml"><script>1</script></html>'},
        {"a.xml": b"<html/>"},
        {"a.xml": b'<?xml-stylesheet href="a.xsl"?><a/>'},
        {"a.xml": b'<!DOCTYPE a SYSTEM "https://a.example"><a/>'},
        {"a.xml": b'<a><b xmlns="http://www.w3.org/2000/s&#118;g"/></a>'},
        {"a.xml": b"<a>" + b" " * (5 << 20) + b"</a>"},
        {"a.xml": b""},
    ],
)
def test_other_attachment_is_active(attachments: dict[str, bytes], compressed: bool) -> None:
    data = pdf_with_attachments(attachments, compressed=compressed)
    assert facts(data) == (True, True, False)


@pytest.mark.req("B-092")
@pytest.mark.parametrize("compressed", [False, True])
def test_invoice_with_a_script_is_active(compressed: bool) -> None:
    script = b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>"
    data = pdf_with_attachments({"a.xml": INVOICE}, script, compressed=compressed)
    assert facts(data) == (True, True, False)


SPECIFICATION = b"<</Type/Filespec/F(a.xml)/EF<</F 7 0 R>>>>"
EMBEDDED = b"<</Type/EmbeddedFile/Length %d>>stream\n%b\nendstream" % (len(INVOICE), INVOICE)


def raw_invoice(specification: bytes = SPECIFICATION, embedded: bytes = EMBEDDED) -> bytes:
    return files.pdf_with_catalog(
        b"/Names<</EmbeddedFiles<</Names[(a.xml)6 0 R]>>>>", specification, embedded
    )


def test_uncompressed_invoice_is_not_active() -> None:
    assert facts(raw_invoice()) == (False, True, False)


@pytest.mark.parametrize(
    "specification",
    [
        SPECIFICATION.replace(b"/F(a.xml)", b""),
        SPECIFICATION.replace(b"/F(a.xml)", b"/F(a.xml)/UF(a.exe)"),
        SPECIFICATION.replace(b"/EF", b"/RF<</F[(a.exe)8 0 R]>>/EF"),
        SPECIFICATION.replace(b"7 0 R", b"5 0 R"),
        SPECIFICATION.replace(b"7 0 R", b"66 0 R"),
        SPECIFICATION.replace(b"<</F 7 0 R>>", b"<<>>"),
        SPECIFICATION.replace(b"<</F 7 0 R>>", b"7 0 R"),
        SPECIFICATION.replace(b"/EF", b"/#45F"),
        b"<<>>",
    ],
)
def test_unusual_file_specification_is_active(specification: bytes) -> None:
    assert facts(raw_invoice(specification)) == (True, True, False)


@pytest.mark.req("B-094")
def test_file_that_only_other_readers_find_is_active() -> None:
    older = SPECIFICATION.replace(b"a.xml", b"a.exe")
    data = raw_invoice()
    for number in (b"6", b"9"):
        hidden = number + b" 0 obj" + older + b"endobj\n"
        assert facts(data.replace(b"6 0 obj", hidden + b"6 0 obj")) == (True, True, False)


@pytest.mark.parametrize(
    "dictionary",
    [
        b"/Filter/ASCIIHexDecode",
        b"/Filter/FlateDecode",
        b"/Filter[/FlateDecode/FlateDecode]",
        b"/F(a.xml)",
        b"/DecodeParms<<>>",
    ],
)
def test_attachment_in_unusual_form_is_active(dictionary: bytes) -> None:
    embedded = EMBEDDED.replace(b"/Length", dictionary + b"/Length")
    assert facts(raw_invoice(embedded=embedded)) == (True, True, False)


def test_too_many_values_around_attachments_are_active() -> None:
    specification = SPECIFICATION.replace(b"/Type", b"/X[" + b"1 " * 120_000 + b"]/Type")
    assert facts(raw_invoice(specification)) == (True, True, False)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_attached_xml_may_be_in_utf_16(encoding: str) -> None:
    declared = '<?xml version="1.0" encoding="UTF-16"?><rsm:Invoice xmlns:rsm="urn:un:invoice"/>\n'
    assert is_plain_xml(f"\ufeff{declared}".encode(encoding))
    page = declared.replace("urn:un:invoice", "http://www.w3.org/1999/xhtml")
    assert not is_plain_xml(f"\ufeff{page}".encode(encoding))


@pytest.mark.req("B-094")
@pytest.mark.parametrize(
    ("encoding", "is_plain"),
    [("ISO-8859-1", True), ("windows-1252", True), ("UTF-7", False), ("us-ascii", True)],
)
def test_attached_xml_may_be_in_an_encoding_of_8_bits(encoding: str, is_plain: bool) -> None:
    data = f'<?xml version="1.0" encoding="{encoding}"?><a>Größe</a>'.encode("cp1252")
    assert is_plain_xml(data) is is_plain


def test_plain_xml_may_be_padded() -> None:
    assert is_plain_xml(b"\xef\xbb\xbf" + INVOICE + b"\0\n")


# Passwords


@pytest.mark.req("B-091", "B-011")
@pytest.mark.parametrize(
    "make", [files.pdf, files.pdf_with_compressed_catalog, files.pdf_with_javascript]
)
def test_user_password_is_needed(make: Callable[[], bytes]) -> None:
    assert facts(encrypted_pdf(make(), user="secret")) == (True, None, True)


@pytest.mark.req("B-091")
@pytest.mark.parametrize("make", [files.pdf, files.pdf_with_compressed_catalog])
def test_owner_password_is_not_needed(make: Callable[[], bytes]) -> None:
    assert facts(encrypted_pdf(make())) == (False, False, False)


@pytest.mark.req("B-091")
def test_empty_owner_password_does_not_help_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encrypted_pdf(files.pdf(), user="secret", owner="")
    assert facts(data) == (True, None, True)
    monkeypatch.setattr(pdf, "MAX_SEARCHED_BYTES", 100)
    assert facts(data) == (True, None, True)


@pytest.mark.req("B-091")
@pytest.mark.parametrize(
    ("filters", "locked"), [("/StmF/StrF", False), ("/StmF", True), ("", True)]
)
def test_password_of_attachments_alone_is_not_needed_to_read(filters: str, locked: bool) -> None:
    data = encrypted_pdf(files.pdf_with_attachment(), user="secret")
    for name in filters.split("/")[1:]:
        old = b"/%b /StdCF" % name.encode()
        assert old in data
        data = data.replace(old, old.replace(b"/StdCF", b"/Identity"))
    data = data.replace(b"/CF <<", b"/EFF /StdCF /CF <<", 1)
    assert facts(data) == (True, True, locked)


def test_attachments_show_in_a_locked_file() -> None:
    assert facts(encrypted_pdf(files.pdf_with_attachment(), user="secret")) == (True, True, True)


@pytest.mark.req("B-091")
@pytest.mark.parametrize("user", ["secret", ""])
def test_password_of_a_very_large_file_is_noticed(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MAX_SEARCHED_BYTES", 100)
    assert facts(encrypted_pdf(files.pdf(), user=user)) == (True, None, bool(user))
    assert facts(files.pdf()) == (True, None, False)


def test_password_of_a_file_with_too_many_names_is_noticed() -> None:
    names = files.pdf_with_catalog(b"/X[" + b"/A#20B " * 60_000 + b"]")
    assert facts(encrypted_pdf(names)) == (True, None, False)
    data = encrypted_pdf(names, user="secret")
    assert facts(data) == (True, None, True)


def test_attachments_of_an_uninspectable_file_are_not_known() -> None:
    assert facts(files.pdf_with_catalog(b"", b"/A#20B " * 60_000)) == (True, None, False)
