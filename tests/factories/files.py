"""Sample files as bytes: valid ones of each stored type, unusual and hostile ones.

Images and documents open in real programs. Nothing is read from disk.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache

import pillow_heif
from PIL import Image
from tests.factories import containers

_OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = _OOXML + "wordprocessingml.document"
XLSX = _OOXML + "spreadsheetml.sheet"
PPTX = _OOXML + "presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"


# Images


def image(width: int = 64, height: int = 48) -> Image.Image:
    """An image with a different colour in each corner, so that a rotation is visible."""
    picture = Image.new("RGB", (2, 2))
    picture.putdata([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)])
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _encode(encoder: str, width: int, height: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    image(width, height).save(buffer, encoder, **options)
    return buffer.getvalue()


@cache
def jpeg(width: int = 64, height: int = 48, orientation: int = 1) -> bytes:
    """A JPEG with the EXIF orientation 1 to 8 and a camera name."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Factory Camera"
    return _encode("JPEG", width, height, exif=exif)


@cache
def png(width: int = 64, height: int = 48) -> bytes:
    return _encode("PNG", width, height)


@cache
def gif(width: int = 64, height: int = 48) -> bytes:
    return _encode("GIF", width, height)


@cache
def webp(width: int = 64, height: int = 48, *, lossless: bool = False) -> bytes:
    return _encode("WEBP", width, height, lossless=lossless)


@cache
def tiff(width: int = 64, height: int = 48, *, big_tiff: bool = False) -> bytes:
    return _encode("TIFF", width, height, big_tiff=big_tiff)


def tiff_big_endian() -> bytes:
    """A grey pixel in Motorola byte order, which Pillow does not write."""
    entries = [(256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    entries += [(277, 3, 1), (278, 3, 1), (279, 4, 1)]
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">L", value)
        directory += struct.pack(">HHL", tag, kind, 1) + packed
    return b"MM\0*" + struct.pack(">L", 10) + b"\x80\0" + directory + b"\0\0\0\0"


@cache
def heic(width: int = 64, height: int = 48) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image(width, height)).save(buffer, quality=50)
    return buffer.getvalue()


@cache
def avif(width: int = 64, height: int = 48) -> bytes:
    return _encode("AVIF", width, height)


@cache
def bmp(width: int = 64, height: int = 48) -> bytes:
    return _encode("BMP", width, height)


@cache
def jp2(width: int = 64, height: int = 48) -> bytes:
    return _encode("JPEG2000", width, height)


def with_brands(major: bytes, *compatible: bytes) -> bytes:
    """The HEIC with another file type box of the same length, so that offsets stay valid."""
    sample = heic()
    length = int.from_bytes(sample[:4], "big")
    box = (b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)).ljust(length - 4, b"\0")
    return sample[:4] + box[: length - 4] + sample[length:]


def png_claiming(width: int, height: int) -> bytes:
    """A tiny PNG whose header claims any size (a pixel flood when decoded)."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + png_chunk(b"IEND", b"")
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", checksum)


# PDF


def pdf(text: str = "Hello", pages: int = 1) -> bytes:
    """A PDF of A4 pages with a line of text on each."""
    return pdf_of(_page_objects(text, pages))


def pdf_with_catalog(entries: bytes, *others: bytes) -> bytes:
    """A one-page PDF with more entries in its catalog; `others` are the objects from 6 on."""
    objects = _page_objects("Hello", 1)
    objects[1] = objects[1][:-2] + entries + b">>"
    objects.update(enumerate(others, 6))
    return pdf_of(objects)


def pdf_with_javascript() -> bytes:
    return pdf_with_catalog(b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>")


def pdf_with_attachment() -> bytes:
    return pdf_with_catalog(
        b"/Names<</EmbeddedFiles<</Names[(a.txt)6 0 R]>>>>",
        b"<</Type/Filespec/F(a.txt)/EF<</F 7 0 R>>>>",
        b"<</Type/EmbeddedFile/Length 2>>stream\nhi\nendstream",
    )


def pdf_with_compressed_javascript() -> bytes:
    """The script's dictionary is in an object stream, so the raw bytes do not show it."""
    return pdf_with_compressed_catalog(b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>")


def pdf_with_compressed_catalog(entries: bytes = b"", *others: bytes) -> bytes:
    """As `pdf_with_catalog`, with all objects but the page's content in an object stream."""
    objects = _page_objects("Hello", 1)
    objects[1] = objects[1][:-2] + entries + b">>"
    objects.update(enumerate(others, 6))
    content = objects.pop(5)
    header = bodies = b""
    for number, body in objects.items():
        header += b"%d %d " % (number, len(bodies))
        bodies += body + b" "
    packed = zlib.compress(header + bodies)
    dictionary = b"<</Type/ObjStm/N %d/First %d/Filter/FlateDecode/Length %d>>"
    dictionary %= (len(objects), len(header), len(packed))
    stream = dictionary + b"stream\n" + packed + b"\nendstream"
    return _pdf_with_xref_stream(content, stream, list(objects))


def pdf_of(objects: Mapping[int, bytes]) -> bytes:
    """A PDF of these objects, 1 being the catalog, with a cross-reference table."""
    data = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    table = b"xref\n0 1\n0000000000 65535 f \n"
    for number, body in objects.items():
        table += b"%d 1\n%010d 00000 n \n" % (number, len(data))
        data += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    trailer = b"trailer<</Size %d/Root 1 0 R>>\n" % (max(objects) + 1)
    return data + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(data)


def slow_pdf(draws: int = 50) -> bytes:
    """A small PDF that takes long to render: one shading, blended again and again.

    Ten draws take about 2 s at 800 pixels.
    """
    content = b"/G gs" + b" /S sh" * draws
    shading = (
        b"<</ShadingType 3/ColorSpace/DeviceRGB/Coords[300 300 0 300 300 400]/Extend[true true]"
        b"/Function<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>>>"
    )
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 600]/Contents 4 0 R"
        b"/Resources<</Shading<</S " + shading + b">>/ExtGState<</G<</BM/Luminosity>>>>>>>>"
    )
    return pdf_of(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: page,
            4: b"<</Length %d>>stream\n" % len(content) + content + b"\nendstream",
        }
    )


def _page_objects(text: str, pages: int) -> dict[int, bytes]:
    """Catalog 1, page tree 2, font 3, then a page and its content for each page."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(pages))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % pages,
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    content = b"BT/F1 24 Tf 72 720 Td(" + escaped.encode("latin-1", "replace") + b")Tj ET"
    for i in range(pages):
        objects[4 + 2 * i] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]"
            b"/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>" % (5 + 2 * i)
        )
        objects[5 + 2 * i] = b"<</Length %d>>stream\n" % len(content) + content + b"\nendstream"
    return objects


def _pdf_with_xref_stream(content: bytes, object_stream: bytes, inside: list[int]) -> bytes:
    size = max(5, *inside) + 3
    data = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    rows = {0: (0, 0, 65535)}
    rows |= {number: (2, size - 2, index) for index, number in enumerate(inside)}
    for number, body in ((5, content), (size - 2, object_stream)):
        rows[number] = (1, len(data), 0)
        data += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    rows[size - 1] = (1, len(data), 0)
    table = b"".join(struct.pack(">BLH", *rows.get(n, (0, 0, 0))) for n in range(size))
    dictionary = b"<</Type/XRef/Size %d/W[1 4 2]/Root 1 0 R/Length %d>>" % (size, len(table))
    xref = b"%d 0 obj\n" % (size - 1) + dictionary + b"stream\n" + table + b"\nendstream\nendobj\n"
    return data + xref + b"startxref\n%d\n%%%%EOF\n" % len(data)


# Office documents


def archive(entries: Mapping[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive; an entry named `mimetype` is stored, as OpenDocument wants it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else compression
            target.writestr(info, data)
    return buffer.getvalue()


def content_types(main_part: str, main_type: str) -> str:
    """The `[Content_Types].xml` of an Office Open XML document."""
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main_part}" ContentType="{main_type}"/></Types>'
    )


def ooxml_parts(main_part: str, main_type: str, main: str) -> dict[str, bytes | str]:
    """The smallest set of parts; `main` is the XML of the main one."""
    relationships = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return {
        "[Content_Types].xml": content_types(main_part, main_type),
        "_rels/.rels": (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{relationships}/officeDocument" Target="{main_part}"/>'
            "</Relationships>"
        ),
        main_part: main,
    }


def docx_parts(text: str = "Hello") -> dict[str, bytes | str]:
    namespace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = f"<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>"
    main = f'<w:document xmlns:w="{namespace}">{body}</w:document>'
    return ooxml_parts("word/document.xml", DOCX + ".main+xml", main)


def docx(text: str = "Hello") -> bytes:
    return archive(docx_parts(text))


def xlsx() -> bytes:
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relationships = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = (
        f'<workbook xmlns="{namespace}" xmlns:r="{relationships}">'
        '<sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>'
    )
    parts = ooxml_parts("xl/workbook.xml", XLSX + ".main+xml", main)
    parts["xl/_rels/workbook.xml.rels"] = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{relationships}/worksheet" Target="worksheets/1.xml"/>'
        "</Relationships>"
    )
    parts["xl/worksheets/1.xml"] = f'<worksheet xmlns="{namespace}"><sheetData/></worksheet>'
    return archive(parts)


def pptx() -> bytes:
    namespace = "http://schemas.openxmlformats.org/presentationml/2006/main"
    main = f'<p:presentation xmlns:p="{namespace}"/>'
    return archive(ooxml_parts("ppt/presentation.xml", PPTX + ".main+xml", main))


def docm() -> bytes:
    """A macro-enabled document."""
    macro_type = "application/vnd.ms-word.document.macroEnabled.main+xml"
    parts = ooxml_parts("word/document.xml", macro_type, "<w/>")
    return archive(parts | {"word/vbaProject.bin": b"\xcc\x61"})


def odf_parts(media_type: str, body: str) -> dict[str, bytes | str]:
    office = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
    manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    return {
        "mimetype": media_type,
        "content.xml": (
            f'<office:document-content xmlns:office="{office}" office:version="1.3">'
            f"<office:body>{body}</office:body></office:document-content>"
        ),
        "META-INF/manifest.xml": (
            f'<manifest:manifest xmlns:manifest="{manifest}" manifest:version="1.3">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{media_type}"/>'
            '<manifest:file-entry manifest:full-path="content.xml"'
            ' manifest:media-type="text/xml"/></manifest:manifest>'
        ),
    }


def odt() -> bytes:
    return archive(odf_parts(ODT, "<office:text/>"))


def ods() -> bytes:
    return archive(odf_parts(ODS, "<office:spreadsheet/>"))


def odp() -> bytes:
    return archive(odf_parts(ODP, "<office:presentation/>"))


# Text


def text() -> bytes:
    return "Grüße aus Łódź\nsecond line\n".encode()


def csv() -> bytes:
    return "name;city\nMüller;Köln\n".encode()


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def html() -> bytes:
    return b"<!DOCTYPE html><html><script>alert(1)</script></html>"


# Hostile files


def executable() -> bytes:
    """The beginning of a Windows program."""
    return b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + b"\0" * 48


def image_with_archive_appended() -> bytes:
    """A PNG that Java would run as a jar."""
    return png() + archive({"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n", "A.class": b"\0"})


def image_with_pdf_inside() -> bytes:
    """A JPEG with a PDF in its first comment, early enough for PDF readers."""
    comment = pdf()
    sample = jpeg()
    return sample[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + sample[2:]


def docx_bomb(unpacked_bytes: int = 101 << 20) -> bytes:
    """A document that unpacks to far more than its own size."""
    return archive(docx_parts() | {"word/media/image1.bmp": b"\0" * unpacked_bytes})


# Split, so that no scanner flags this source file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The text by which every scanner can be tried; harmless."""


GOOD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "image/jpeg": (jpeg, "jpg"),
    "image/png": (png, "png"),
    "image/webp": (webp, "webp"),
    "image/gif": (gif, "gif"),
    "image/tiff": (tiff, "tiff"),
    "image/heic": (heic, "heic"),
    "image/avif": (avif, "avif"),
    "application/pdf": (pdf, "pdf"),
    DOCX: (docx, "docx"),
    XLSX: (xlsx, "xlsx"),
    PPTX: (pptx, "pptx"),
    ODT: (odt, "odt"),
    ODS: (ods, "ods"),
    ODP: (odp, "odp"),
    "text/plain": (text, "txt"),
    "text/csv": (csv, "csv"),
}
"""By media type: what makes a good file of it, and its usual extension."""

RARE_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "image/bmp": (bmp, "bmp"),
    "image/jp2": (jp2, "jp2"),
    **{kind: (make, extension) for kind, (make, extension, _) in containers.FILES.items()},
}
"""As `GOOD_FILES`, for the kinds that a document type may accept and that are never inline."""
