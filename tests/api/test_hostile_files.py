"""Files and names of files that make trouble elsewhere (T20, T24)."""

import email.message
import random
import time
import unicodedata
import urllib.parse
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest
from tests.api.holdings import holdings
from tests.factories import files
from tests.factories.setups import make_customer, make_type
from tests.factories.strings import NAMES
from tests.fixtures.corpus import Corpus
from tests.torture.figures import Figure, Size

from docvault.rules.media_types import KNOWN_MEDIA_TYPES
from docvault.services.resources import Resources

SLOT = "/v1/admin/customers/c-1/documents/anything"
LONGEST_SECONDS = 10
EXTENSIONS = ("pdf", "jpg", "png", "docx")
SEED = 20
BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What no bytes of these kinds may be stored as.
NEVER = {"image/svg+xml", "text/html", "application/x-executable", "application/zip"}


@pytest.fixture
async def slot(admin: httpx.AsyncClient) -> str:
    """A document that takes every type there is."""
    await make_type(admin, "Anything", accepted_media_types=sorted(KNOWN_MEDIA_TYPES))
    await make_customer(admin, "c-1")
    return SLOT


def generated() -> Iterator[tuple[str, bytes]]:
    """Yield files of our own, by name: good ones, broken in every way, and hostile ones."""
    chance = random.Random(SEED)
    for make, extension in files.GOOD_FILES.values():
        good = make()
        yield f"good.{extension}", good
        yield f"empty.{extension}", b""
        for share in (0.01, 0.1, 0.5, 0.9, 0.99):
            yield f"cut at {share}.{extension}", good[: int(len(good) * share)]
        for number in range(3):
            changed = bytearray(good)
            for _ in range(20):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            yield f"noisy {number}.{extension}", bytes(changed)
        yield f"head alone.{extension}", good[:16] + chance.randbytes(4000)
        yield f"behind another.{extension}", files.png() + good
        yield f"before another.{extension}", good + files.pdf()
        yield f"twice.{extension}", good + good
        yield f"zeros behind.{extension}", good + bytes(5000)
    hostile = {
        "program.exe": files.executable(),
        "page.html": files.html(),
        "drawing.svg": files.svg(),
        "jar.png": files.image_with_archive_appended(),
        "paper.jpg": files.image_with_pdf_inside(),
        "bomb.docx": files.docx_bomb(101 << 20),
        "flood.png": files.png_claiming(60_000, 60_000),
        "script.pdf": files.pdf_with_javascript(),
        "attachment.pdf": files.pdf_with_attachment(),
        "hidden.pdf": files.pdf_with_compressed_javascript(),
        "macro.docm": files.docm(),
        "nested.docx": nested(20),
        "many.docx": files.archive({f"word/{n}.xml": b"" for n in range(2_001)}),
        "noise.bin": chance.randbytes(10_000),
        "zeros.bin": bytes(10_000),
        "loop.pdf": files.pdf_of({1: b"<</Type/Catalog/Pages 2 0 R>>",
                                  2: b"<</Type/Pages/Kids[2 0 R]/Count 1/Parent 2 0 R>>"}),
        "plain.zip": files.archive({"a.txt": b"a"}),
        "traversal.docx": files.archive(files.docx_parts() | {"../../x": b"x"}),
    }  # fmt: skip
    yield from hostile.items()


def nested(depth: int) -> bytes:
    """Return a document with an archive in an archive in an archive."""
    inner = files.docx()
    for _ in range(depth):
        inner = files.archive(files.docx_parts() | {"word/embeddings/inner.docx": inner})
    return inner


def disguises(name: str) -> list[tuple[str, str | None]]:
    """Return the names and media types that a file is sent with."""
    names = [name, *(f"a.{extension}" for extension in EXTENSIONS)]
    return [(n, t) for n in names for t in ("application/pdf", "text/html", None)]


@pytest.mark.guarantee(
    "T20",
    promise="Any file is refused with a reason or stored byte for byte under a type that it has.",
    tried="Good files of every type, each cut, changed, doubled and joined with others, and "
    "hostile ones are uploaded under their own name and as PDF, JPEG, PNG and DOCX, each said to "
    "be a PDF, a page and what the name suggests; so is every file of the corpus, where it is. "
    "What was stored is downloaded and compared, and its preview asked for.",
    not_shown="Vendors' malware: see T27.",
)
async def test_a_file_is_refused_or_stored_as_it_is(
    admin: httpx.AsyncClient,
    slot: str,
    corpus: Corpus,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    own = list(generated())
    others = [(path.name, path.read_bytes()) for path in corpus.files()]
    confused = {path.name for path in corpus.files("type-confusion")}
    counts = {"stored": 0, "refused": 0}
    longest = 0.0
    for number, (name, body) in enumerate(own + others):
        if not size.is_full and number % (2 if number < len(own) else 10):
            continue
        ways = disguises(name)
        # Every way comes up, but in CI not with every file.
        for filename, media_type in ways if size.is_full else [ways[number % len(ways)]]:
            began = time.monotonic()
            part = (filename, body, media_type) if media_type else (filename, body)
            answer = await admin.put(slot, files={"file": part})
            longest = max(longest, time.monotonic() - began)
            assert answer.status_code < 500, (name, filename, answer.text)
            stored = answer.status_code in {200, 201}
            counts["stored" if stored else "refused"] += 1
            if stored:
                await check_stored(admin, slot, body, answer.json()["files"][0])
                assert name not in confused, (name, filename, answer.text)
        if stored and size.is_full:
            preview = await admin.get(f"{slot}/preview", params={"size": "small"})
            assert preview.status_code in {200, 404, 409}, (name, preview.text)
    assert (await holdings(resources)).in_spool == frozenset()
    assert longest < LONGEST_SECONDS
    figures["files of our own"] = len(own)
    figures["files of the corpus"] = len(others) or corpus.absence
    figures["uploads stored"] = counts["stored"]
    figures["uploads refused"] = counts["refused"]
    figures["longest upload, ms"] = round(longest * 1000)
    figures["answers 5xx"] = figures["changed bytes"] = 0


async def check_stored(
    admin: httpx.AsyncClient, slot: str, body: bytes, shown: dict[str, Any]
) -> None:
    """Compare what is served with what was sent."""
    content = await admin.get(f"{slot}/content", params={"disposition": "inline"})
    assert content.status_code == 200, content.text
    assert content.content == body
    assert shown["media_type"] in KNOWN_MEDIA_TYPES - NEVER
    assert content.headers["content-type"].split(";")[0] == shown["media_type"]
    assert content.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    if shown["has_active_content"]:
        assert content.headers["content-disposition"].startswith("attachment")


@pytest.mark.guarantee(
    "T24",
    promise="A file's name is kept for display alone; no name gets anywhere else.",
    tried="Names with paths, devices, controls, other directions of writing, several extensions, "
    "and of every length are sent as browsers send them; so are the lists of the corpus, where it "
    "is. What is served is read back by another parser of headers, and all files of the service "
    "are counted before and after.",
    not_shown="",
)
async def test_a_name_is_shown_and_nothing_else(
    admin: httpx.AsyncClient,
    slot: str,
    corpus: Corpus,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    lists = [path.read_text(errors="replace") for path in corpus.files("names", "strings")]
    known = [*NAMES, *(line for text in lists for line in text.splitlines() if line)]
    names = known if size.is_full else [*NAMES[::3], *known[len(NAMES) :: 60]]
    counts = {"stored": 0, "refused": 0}
    for name in names:
        answer = await admin.put(slot, files={"file": (name, files.pdf())})
        assert answer.status_code in {200, 201, 415, 422}, (name, answer.text)
        stored = answer.status_code in {200, 201}
        counts["stored" if stored else "refused"] += 1
        if stored:
            await check_name(admin, slot, answer.json()["files"][0]["filename"])
    # Bytes lie under random names in folders of two letters.
    folder = resources.settings.data_dir
    assert [p for p in folder.rglob("*") if p.is_file() and p.suffix in {".pdf", ".exe"}] == []
    assert {p.name for p in folder.parent.iterdir()} <= {"data"}
    figures["names"] = len(names)
    figures["names of the corpus"] = len(known) - len(NAMES) or corpus.absence
    figures["stored"] = counts["stored"]
    figures["refused with 4xx"] = counts["refused"]
    figures["headers that another parser reads otherwise"] = figures["answers 5xx"] = 0


async def check_name(admin: httpx.AsyncClient, slot: str, shown: str) -> None:
    """Read the name in the header as mail programs do, and compare it with what is shown."""
    assert shown == PurePosixPath(shown).name
    assert "\\" not in shown
    assert shown not in {"", ".", ".."}
    assert len(shown.encode()) <= 255
    kinds = {unicodedata.category(char) for char in shown}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}, shown
    assert not BIDIRECTIONAL & set(shown), shown
    header = (await admin.get(f"{slot}/content")).headers["content-disposition"]
    assert header.isascii()
    assert header.isprintable()
    plain, _, extended = header.partition("; filename*=UTF-8''")
    message = email.message.Message()
    message["Content-Disposition"] = plain
    names = [name for name, _ in message.get_params([], "content-disposition")]
    assert names == ["attachment", "filename"], header
    assert urllib.parse.unquote(extended or plain[22:-1], errors="strict") == shown, header
