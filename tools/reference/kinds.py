"""Texts of docs/reference/kinds.md that are not in the code: how a kind is recognized."""

from docvault.domain import media_types as types

_OOXML = "ZIP archive with `[Content_Types].xml` that declares this main part, which exists."
_ODF = "ZIP archive whose entry `mimetype`, wherever it is, has this type, with `content.xml`."
_OLE = "OLE compound file with the entry {} at the top level."

RECOGNIZED: dict[str, str] = {
    "image/jpeg": "`FF D8 FF`, then segments up to the frame header. Up to 64 KiB of stray bytes"
    " between segments are skipped.",
    "image/png": "The signature, then a valid IHDR chunk with its checksum.",
    "image/webp": "`RIFF` and `WEBP`, then a VP8, VP8L or VP8X chunk within the file.",
    "image/gif": "`GIF87a` or `GIF89a`, then blocks up to an image.",
    "image/tiff": "TIFF or BigTIFF in either byte order; the first directory has the dimensions.",
    "image/heic": "ISO media file of brand heic, heix, heim or heis, or of a burst with one of"
    " these, that describes a picture.",
    "image/heif": "ISO media file of brand mif1 or mif2 that describes a picture.",
    "image/avif": "ISO media file with the brand avif or avis that describes a picture.",
    "application/pdf": "`%PDF-` in the first 1024 bytes, after neither markup nor another"
    " signature; an end marker, `startxref` or trailer near the end, before any blanks.",
    types.DOCX: _OOXML,
    types.XLSX: _OOXML,
    types.PPTX: _OOXML,
    types.ODT: _ODF,
    types.ODS: _ODF,
    types.ODP: _ODF,
    "text/plain": "No control characters but tab, line feed, form feed and carriage return, and"
    " Ctrl-Z at the end; UTF-8, UTF-16 with a byte order mark, or any encoding of 8 bits.",
    "text/csv": "As plain text, with the extension `.csv`.",
    types.ENCRYPTED_OOXML: _OLE.format("`EncryptedPackage`"),
    types.DOC: _OLE.format("`WordDocument`"),
    types.XLS: _OLE.format("`Workbook` or `Book`"),
    types.PPT: _OLE.format("`PowerPoint Document`"),
    types.MSG: _OLE.format("`__properties_version1.0`"),
    types.RTF: r"Begins with `{\rt`.",
    types.EML: "Begins with a field that mail servers add, or has `MIME-Version` in the first"
    " 1024 bytes; with the extension `.eml`, begins with any field.",
    types.XML: "Well-formed XML with a declaration, a namespace on its root, or the extension"
    " `.xml`; up to 32 MiB are parsed.",
    types.PAGES: "ZIP archive with `Index/Document.iwa`, `Index.zip` or `index.xml`, and the"
    " extension of none of the other two.",
    types.NUMBERS: "As Pages, with the extension `.numbers`; before 2013, by its root element.",
    types.KEYNOTE: "As Pages, with slides, `index.apxl` or the extension `.key`.",
    types.ZIP: "`PK 03 04`, and none of the other kinds in ZIP archives.",
    types.ASICE: "ZIP archive with the entry `mimetype` of ASiC-E or BDOC, or with several files"
    " and signatures in `META-INF`.",
    types.ASICS: "ZIP archive with the entry `mimetype` of ASiC-S, or with one file and its"
    " signature in `META-INF`.",
    types.P7M: "CMS in DER, BER or PEM: signed data with content, or encrypted data.",
    types.P7S: "CMS in DER, BER or PEM: signed data without content.",
    "image/bmp": "`BM` and a valid bitmap header.",
    "image/jp2": "The JPEG 2000 signature box, the brand jp2 or jpx, and an image header.",
}

_ARCHIVE = (
    "Two entries of one name, entries that overlap or have data between them, more than 2,000"
    " entries, more than 100 MiB or 200 times its size unpacked, links, and names that are"
    " absolute or have `..`: two readers could see different files, or one could be overwhelmed."
    " Encrypted entries in Office documents, which have other ways to need a password. Blanks after"
    " the archive are accepted, and `\\` separates folders as `/` does."
)

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "PDF": (
        ("application/pdf",),
        (
            "No end at all: the file is cut. Bytes before the header if the rest cannot be opened."
            " Archives after an end of the document; attached ones are accepted."
        ),
    ),
    "Images": (
        tuple(kind for kind in RECOGNIZED if kind.startswith("image/")),
        (
            "A PDF in the first 1024 bytes, or an archive at the end: the file would be two files."
            " A broken header, as no program would show the image."
        ),
    ),
    "Office documents and other ZIP archives": (
        (
            *(types.DOCX, types.XLSX, types.PPTX, types.ODT, types.ODS, types.ODP, types.PAGES),
            *(types.NUMBERS, types.KEYNOTE, types.ASICE, types.ASICS, types.ZIP),
        ),
        _ARCHIVE + " Documents of types with macros, templates, and programs (JAR, APK, APPX).",
    ),
    "OLE compound files": (
        (types.DOC, types.XLS, types.PPT, types.MSG, types.ENCRYPTED_OOXML),
        "Installers, files of other programs, and a directory that cannot be read.",
    ),
    "Text": (
        ("text/plain", "text/csv", types.RTF, types.EML),
        (
            "Text that programs run or render: HTML, SVG, scripts, shortcuts. A PDF header where"
            " readers search for one. In plain text, other control characters."
        ),
    ),
    "XML": (
        (types.XML,),
        (
            "HTML, SVG and XSLT, whatever the extension. Declared entities, which expand to more"
            " than the file, and encodings that hide markup (UTF-7). What a style sheet, a"
            " document type or the namespace of a page, drawing or office document would run or"
            " fetch counts as active."
        ),
    ),
    "Signed and encrypted files": (
        (types.P7M, types.P7S),
        "Nothing: what is inside is neither opened nor verified.",
    ),
}
