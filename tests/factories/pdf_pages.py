"""PDFs of one page for previews: forms, annotations, and text in fonts that are not embedded."""

import io
from collections.abc import Mapping
from typing import Any

from pikepdf import Array, Dictionary, Name, Object, Pdf, Stream, String

WIDTH, HEIGHT = 400, 200
_INK = b"0 0 0 rg 0 0 100 40 re f"
_RECTANGLE = [100, 80, 200, 120]


def _saved(pdf: Pdf) -> bytes:
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


def _ink(pdf: Pdf) -> Stream:
    """An appearance: a black rectangle of the size of the annotation."""
    return Stream(pdf, _INK, Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 100, 40]))


def _annotated(annotation: Mapping[str, Any], form: Mapping[str, Any] | None) -> bytes:
    pdf = Pdf.new()
    page = pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
    made = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Rect=Array(_RECTANGLE),
            F=4,
            AP=Dictionary(N=pdf.make_indirect(_ink(pdf))),
            **annotation,
        )
    )
    page.Annots = Array([made])
    if form is not None:
        pdf.Root.AcroForm = Dictionary(Fields=Array([made]), **form)
    return _saved(pdf)


def with_field_value() -> bytes:
    """A text field with an appearance, as programs that fill forms write it."""
    field = {"Subtype": Name.Widget, "FT": Name.Tx, "T": String("name"), "V": String("Value")}
    return _annotated(field, {})


def with_signature() -> bytes:
    """A visible signature."""
    signature = Dictionary(Type=Name.Sig, Filter=Name("/Adobe.PPKLite"))
    field = {"Subtype": Name.Widget, "FT": Name.Sig, "T": String("signature"), "V": signature}
    return _annotated(field, {"SigFlags": 3})


def with_stamp() -> bytes:
    return _annotated({"Subtype": Name.Stamp, "Name": Name.Approved}, None)


def with_tick(*, is_on: bool) -> bytes:
    """A check box whose tick is a letter of ZapfDingbats."""
    pdf = Pdf.new()
    page = pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.ZapfDingbats)
    resources = Dictionary(Font=Dictionary(ZaDb=font))
    kind = {"Type": Name.XObject, "Subtype": Name.Form, "BBox": Array([0, 0, 100, 40])}
    tick = Stream(pdf, b"BT /ZaDb 36 Tf 10 8 Td (4) Tj ET", Resources=resources, **kind)
    states = Dictionary(
        Yes=pdf.make_indirect(tick), Off=pdf.make_indirect(Stream(pdf, b"", **kind))
    )
    state = Name.Yes if is_on else Name.Off
    field = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Btn,
            T=String("agreed"),
            Rect=Array(_RECTANGLE),
            F=4,
            V=state,
            AS=state,
            AP=Dictionary(N=states),
        )
    )
    page.Annots = Array([field])
    pdf.Root.AcroForm = Dictionary(Fields=Array([field]))
    return _saved(pdf)


def with_value_without_appearance(value: str) -> bytes:
    """A text field that leaves it to the viewer to draw its value."""
    pdf = Pdf.new()
    page = pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
    font = pdf.make_indirect(
        Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    )
    field = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Tx,
            T=String("name"),
            V=String(value),
            DA=String("/Helv 24 Tf 0 g"),
            Rect=Array(_RECTANGLE),
            F=4,
        )
    )
    page.Annots = Array([field])
    pdf.Root.AcroForm = Dictionary(
        Fields=Array([field]),
        NeedAppearances=True,
        DR=Dictionary(Font=Dictionary(Helv=font)),
        DA=String("/Helv 24 Tf 0 g"),
    )
    return _saved(pdf)


def with_glyphs(glyphs: list[str], base_font: str, subtype: str = "Type1") -> bytes:
    """Text of glyphs given by name, in a font that is not embedded, as report generators write."""
    pdf = Pdf.new()
    encoding = Dictionary(
        Type=Name.Encoding, Differences=Array([1, *(Name("/" + glyph) for glyph in glyphs)])
    )
    font = Dictionary(
        Type=Name.Font,
        Subtype=Name("/" + subtype),
        BaseFont=Name("/" + base_font),
        Encoding=encoding,
    )
    return _with_text(pdf, font, bytes(range(1, len(glyphs) + 1)))


def with_text_by_unicode(text: str) -> bytes:
    """Text of 16-bit codes in a composite font that is not embedded."""
    pdf = Pdf.new()
    lines = "".join(f"<{code:04x}> <{ord(char):04x}>\n" for code, char in enumerate(text, 1))
    meaning = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        f"1 begincodespacerange <0000> <ffff> endcodespacerange\n{len(text)} beginbfchar\n"
        f"{lines}endbfchar endcmap end end"
    )
    descriptor = Dictionary(
        Type=Name.FontDescriptor,
        FontName=Name.ArialMT,
        Flags=32,
        ItalicAngle=0,
        StemV=80,
        Ascent=900,
        Descent=-200,
        CapHeight=700,
        FontBBox=Array([0, -200, 1000, 900]),
    )
    inner = Dictionary(
        Type=Name.Font,
        Subtype=Name.CIDFontType2,
        BaseFont=Name.ArialMT,
        DW=600,
        CIDSystemInfo=Dictionary(
            Registry=String("Adobe"), Ordering=String("Identity"), Supplement=0
        ),
        FontDescriptor=pdf.make_indirect(descriptor),
    )
    font = Dictionary(
        Type=Name.Font,
        Subtype=Name.Type0,
        BaseFont=Name.ArialMT,
        Encoding=Name("/Identity-H"),
        DescendantFonts=Array([pdf.make_indirect(inner)]),
        ToUnicode=pdf.make_stream(meaning.encode()),
    )
    codes = b"".join(code.to_bytes(2, "big") for code in range(1, len(text) + 1))
    return _with_text(pdf, font, codes)


def _with_text(pdf: Pdf, font: Object, codes: bytes) -> bytes:
    page = pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
    page.Resources = Dictionary(Font=Dictionary(F1=pdf.make_indirect(font)))
    page.Contents = pdf.make_stream(b"BT /F1 40 Tf 20 90 Td <" + codes.hex().encode() + b"> Tj ET")
    return _saved(pdf)
