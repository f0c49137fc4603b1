"""The time to inspect a file is proportional to its size, whatever its content (SECURITY T44)."""

import contextlib
import io
import os
import random
import time
import zlib
from collections.abc import Callable

import pytest
from tests.contract.test_regular_expressions import patterns
from tests.factories import files
from tests.factories.locked_files import pdf_with_attachments
from tests.factories.pumps import pumped, pumps, samples
from tests.torture.figures import Figure, Size

from docvault import inspection
from docvault.inspection.result import CorruptContent, ExtensionMismatch, UnknownContent

SEED = 44
LENGTH = 16_000
FLOOR_SECONDS = 0.03
LARGEST_RATIO = 8
# A file of at most 200 KB takes some milliseconds; a slow machine may need ten times as long.
LONGEST_SECONDS = 0.5
TOKENS = [
    b"<<", b">>", b"[", b"]", b"(", b")", b"<", b">", b"/", b"%", b"#41", b"\n", b" ", b"0",
    b"1 0 R", b"1 0 obj", b"endobj\n", b"stream\n", b"endstream\n", b"/Type/ObjStm", b"/First 4",
    b"/N 1", b"/Length 9", b"/First 7 0 R", b"/S", b"/S%", b"/AA%", b"/EF%", b"/OpenAction 5 0 R",
    b"5%", b"/OpenAction<</S/GoTo", b"/FontMatrix[1", b"/Filter/FlateDecode", b"trailer<<",
    b"xref\n0 1\n", b"startxref\n0\n", b"%%EOF\n", b"/Prev 9", b"/Root 1 0 R", b"/XRef",
    b"/Kids[", b"-", b"\0",
]  # fmt: skip


def object_stream(text: bytes) -> bytes:
    packed = zlib.compress(b"9 0 " + text)
    entries = b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>" % len(packed)
    return files.pdf_with_catalog(b"", entries + b"stream\n" + packed + b"\nendstream")


def raw_pdf(text: bytes) -> bytes:
    return b"%PDF-1.7\n" + text + b"\nstartxref\n0\n%%EOF\n"


def in_an_object(text: bytes) -> bytes:
    return files.pdf_with_catalog(b"/OpenAction 6 0 R", text)


def content_types(text: bytes) -> bytes:
    return files.archive(files.docx_parts() | {"[Content_Types].xml": text})


def relationships_part(text: bytes) -> bytes:
    return files.archive(files.docx_parts() | {"word/_rels/a.rels": text})


def fields_part(text: bytes) -> bytes:
    return files.archive(files.docx_parts() | {"word/a.xml": b"<a><instrText>" + text})


def odf_content(text: bytes) -> bytes:
    return files.archive(files.odf_parts(files.ODT, "") | {"styles.xml": b"<a href='" + text})


def attached(text: bytes) -> bytes:
    return pdf_with_attachments({"a.xml": b"<a>" + text})


def part_name(text: bytes) -> bytes:
    # A name has at most 65,535 bytes, and some letters take two.
    return files.archive(files.docx_parts() | {text[:30_000].decode("latin-1"): b""})


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "PDF": raw_pdf,
    "object": in_an_object,
    "object stream": object_stream,
    "content types": content_types,
    "relationships": relationships_part,
    "fields": fields_part,
    "OpenDocument content": odf_content,
    "attachment": attached,
    "part name": part_name,
    "text": bytes,
    "UTF-16": lambda text: b"\xff\xfe" + text.decode("latin-1").encode("utf-16-le"),
    "XML": lambda text: b"<?xml version='1.0'?><a>" + text,
    "mail": lambda text: b"Received: a\r\n" + text,
    "signed file": lambda text: b"-----BEGIN PKCS7-----\n" + text,
}


def text_of(head: str, unit: str, length: int) -> bytes:
    return pumped(head, unit, length).encode("latin-1", "replace")


def seconds(data: bytes) -> float:
    """Return the minimum duration of several inspections."""
    durations = []
    for _ in range(3):
        began = time.process_time()
        with contextlib.suppress(CorruptContent, ExtensionMismatch, UnknownContent):
            inspection.inspect(io.BytesIO(data), len(data), None)
        durations.append(time.process_time() - began)
        if durations[-1] < FLOOR_SECONDS:
            break
    return min(durations)


@pytest.mark.req("B-013")
@pytest.mark.guarantee(
    "T44",
    promise="The time to inspect an upload is proportional to its size.",
    tried="Texts built by repeating parts of each regular expression of the inspection are placed "
    "in a PDF directly, in one of its objects, in a compressed object stream, in an attachment, in "
    "the parts list, the relationships, the text and the part names of office documents, and in "
    "text, XML, mail and a signed file. A file of 64 KB must not take more than eight times as "
    "long as one of 16 KB. Files of up to 200 KB, generated from PDF tokens, are each inspected "
    "within half a second of CPU time.",
    not_shown="Larger corrupt files; the inspection process has limits of its own.",
)
def test_inspection_time_is_linear(size: Size, figures: dict[str, Figure]) -> None:
    seconds(files.pdf())  # loads the library before the measurement
    chance = random.Random(SEED)
    inspecting = [pattern for pattern in patterns().values() if isinstance(pattern.pattern, bytes)]
    tried = pumps(text for pattern in inspecting for text in samples(pattern, 20, chance))
    tried = chance.sample(tried, min(len(tried), size.of(ci=20, full=300)))
    tried += [("", "/S%"), ("", "/AA%"), ("", "/First 7 0 R "), ("", "5%"), ("/FontMatrix[", "1")]
    for head, unit in tried:
        for way, make in WAYS.items():
            texts = [
                pumped(head, unit, n).encode("latin-1", "replace") for n in (LENGTH, 4 * LENGTH)
            ]
            longer = seconds(make(texts[1]))
            if longer > FLOOR_SECONDS:
                short = max(seconds(make(texts[0])), FLOOR_SECONDS / 4)
                assert longer < LARGEST_RATIO * short, (way, head, unit)
    slowest = 0.0
    generated = size.of(ci=200, full=2_000)
    for _ in range(generated):
        some = chance.choices(TOKENS, k=chance.randint(1, 6))
        text = b"".join(some) * (chance.randint(100, 150_000) // sum(map(len, some)))
        make = chance.choice([raw_pdf, in_an_object, object_stream])
        slowest = max(slowest, seconds(make(text)))
        assert slowest < LONGEST_SECONDS, (make, some, len(text))
    figures["texts"] = len(tried)
    figures["positions for each"] = len(WAYS)
    figures["generated files"] = generated
    figures["slowest generated file, ms"] = round(slowest * 1000)


def outlines(number: int) -> bytes:
    entries = b"9 0 obj<</Title(x)/First 7 0 R>>endobj\n" * number
    return files.pdf().replace(b"xref\n0 1", entries + b"xref\n0 1")


def cross_references(number: int) -> bytes:
    """A chain of compressed cross-references, each of a million entries."""
    data, before = b"%PDF-1.7\n", b""
    packed = zlib.compress(b"\1\0\0" * 1_000_000)
    for _ in range(number):
        position = len(data)
        data += b"1 0 obj<</Type/XRef/Size 1000000/W[1 1 1]/Root 1 0 R/Filter/FlateDecode"
        data += before + b"/Length %d>>stream\n" % len(packed) + packed + b"\nendstream endobj\n"
        before = b"/Prev %d" % position
    return data + b"startxref\n%d\n%%%%EOF\n" % position


BOMBS = {
    "comments in an object stream of 4 MB": lambda: object_stream(b"/S%" * 1_300_000),
    "comments": lambda: raw_pdf(b"/AA%\n" * 200_000),
    "opening actions": lambda: raw_pdf(b"/OpenAction 5 0 R" + b"5%" * 500_000),
    "outlines": lambda: outlines(40_000),
    "object streams": lambda: files.pdf_with_catalog(
        b"", *[object_stream(b"x" * 4_000_000).split(b"6 0 obj\n")[1].split(b"\nendobj")[0]] * 50
    ),
    "header of an object stream": lambda: object_stream(b"1 0 " * 1_000_000),
    "nested arrays": lambda: in_an_object(b"[" * 500_000),
    "an array": lambda: in_an_object(b"[" + b"[]" * 2_000_000 + b"]"),
    "a chain of cross-references": lambda: cross_references(200),
    "cross-references": lambda: files.pdf().replace(
        b"xref\n0 1\n", b"xref\n9 400000\n" + b"0000000015 00000 n \n" * 400_000, 1
    ),
    "a size": lambda: files.pdf().replace(b"/Size 6", b"/Size 2147483646"),
    "pages in themselves": lambda: files.pdf_of(
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"}
    ),
    "streams without an end": lambda: files.pdf_with_catalog(
        b"", *[b"<</Length 9999999>>stream\n"] * 5_000
    ),
    "lines": lambda: raw_pdf(b"trailer<<\n" * 2_000_000),
    "elements": lambda: files.archive(
        files.docx_parts()
        | {"word/a.xml": "<a/>" * 4_000_000 + "<instrText/>", "noise": os.urandom(100_000)}
    ),
    "relationships": lambda: files.archive(
        files.docx_parts()
        | {f"_rels/{n}.rels": "<a><b/>" + "<a b=''/>" * 100_000 for n in range(50)}
    ),
    "filters": lambda: in_an_object(b"<</Filter[" + b"/FlateDecode" * 5_000 + b"]/Length 0>>"),
}


@pytest.mark.req("B-013")
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_inspected_cheaply(name: str) -> None:
    data = BOMBS[name]()
    seconds(files.pdf())

    assert seconds(data) < 1


def test_malformed_number_does_not_raise() -> None:
    data = files.pdf().replace(b"startxref\n", b"startxref\n9223372036854775808 ")

    assert inspection.inspect(io.BytesIO(data), len(data), None).has_active_content
