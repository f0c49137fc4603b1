"""Files that need a password, and files with others embedded."""

import io
from collections.abc import Mapping

import pikepdf
from tests.factories import files

INVOICE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:standard:'
    b'CrossIndustryInvoice:100"><rsm:ExchangedDocument/></rsm:CrossIndustryInvoice>\n'
)
OFFICE_RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MANIFEST = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"


def encrypted_pdf(data: bytes, user: str = "", owner: str = "owner") -> bytes:
    """The PDF with an owner's password and, maybe, one that is needed to open it."""
    buffer = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(
            buffer,
            encryption=pikepdf.Encryption(user=user, owner=owner),
            object_stream_mode=pikepdf.ObjectStreamMode.preserve,
        )
    return buffer.getvalue()


def pdf_with_attachments(
    attachments: Mapping[str, bytes], entries: bytes = b"", *, compressed: bool = False
) -> bytes:
    """A PDF that has these files attached as its associated files."""
    buffer = io.BytesIO()
    mode = pikepdf.ObjectStreamMode.generate if compressed else pikepdf.ObjectStreamMode.disable
    with pikepdf.open(io.BytesIO(files.pdf_with_catalog(entries))) as pdf:
        specifications = []
        for name, data in attachments.items():
            attached = pikepdf.AttachedFileSpec(pdf, data, filename=name)
            pdf.attachments[name] = attached
            specifications.append(attached.obj)
        pdf.Root.AF = pikepdf.Array(specifications)
        pdf.save(buffer, object_stream_mode=mode)
    return buffer.getvalue()


def pdf_invoice(*, compressed: bool = False) -> bytes:
    """A PDF with the XML of an electronic invoice attached."""
    return pdf_with_attachments({"factur-x.xml": INVOICE}, compressed=compressed)


def relationships(*items: str) -> str:
    """The XML of a part that relates another one to these."""
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{"".join(items)}</Relationships>'


def relationship(kind: str, target: str, mode: str = "") -> str:
    """One relationship, by the last part of its type."""
    external = f' TargetMode="{mode}"' if mode else ""
    return (
        f'<Relationship Id="r" Type="{OFFICE_RELATIONSHIPS}/{kind}" Target="{target}"{external}/>'
    )


def docx_with_relationships(*items: str, part: str = "word/_rels/document.xml.rels") -> bytes:
    return files.archive(files.docx_parts() | {part: relationships(*items)})


def docx_with_field(xml: str) -> bytes:
    """A document with these runs in a paragraph."""
    parts = files.docx_parts()
    main = str(parts["word/document.xml"])
    return files.archive(parts | {"word/document.xml": main.replace("<w:r>", xml + "<w:r>", 1)})


def field_of(*runs: str) -> str:
    """The runs of a field whose instruction is split into these."""
    begin, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "end"))
    texts = (f"<w:r><w:instrText>{run}</w:instrText></w:r>" for run in runs)
    return begin + "".join(texts) + end


def odf_manifest(*entries: str, doctype: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}'
        f'<manifest:manifest xmlns:manifest="{_MANIFEST}">{"".join(entries)}</manifest:manifest>'
    )


def odf_entry(path: str, media_type: str, *, encrypted: bool = False) -> str:
    """One entry of a manifest."""
    inner = '<manifest:encryption-data manifest:checksum="x"/>' if encrypted else ""
    return (
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{media_type}">'
        f"{inner}</manifest:file-entry>"
    )


def encrypted_odt() -> bytes:
    """A text document whose entries are encrypted one by one, as programs did until 2024."""
    manifest = odf_manifest(
        odf_entry("/", files.ODT), odf_entry("content.xml", "text/xml", encrypted=True)
    )
    parts = files.odf_parts(files.ODT, "")
    return files.archive(
        parts | {"content.xml": b"\x8e\x01\xff\x93", "META-INF/manifest.xml": manifest}
    )


def encrypted_odt_package(*, encrypted: bool = True) -> bytes:
    """A text document that is encrypted as a whole, as LibreOffice does since 24.8."""
    entry = odf_entry("encrypted-package", files.ODT, encrypted=encrypted)
    return files.archive(
        {
            "mimetype": files.ODT,
            "META-INF/manifest.xml": odf_manifest(odf_entry("/", files.ODT), entry),
            "encrypted-package": b"\x8e\x01\xff\x93",
        }
    )


def odt_with(body: str, *entries: str) -> bytes:
    """A text document with this content, and these more entries in its manifest."""
    namespaces = "".join(
        f' xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in (
            ("script", "script"), ("text", "text"), ("draw", "drawing"),
            ("presentation", "presentation"),
        )
    )  # fmt: skip
    link = ' xmlns:xlink="http://www.w3.org/1999/xlink"'
    parts = files.odf_parts(files.ODT, f"<office:text{namespaces}{link}>{body}</office:text>")
    manifest = odf_manifest(
        odf_entry("/", files.ODT), odf_entry("content.xml", "text/xml"), *entries
    )
    return files.archive(parts | {"META-INF/manifest.xml": manifest})
