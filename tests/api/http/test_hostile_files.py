"""Files and file names that are known to cause trouble (T20, T24)."""

import email.message
import random
import time
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest
from tests.api.http.test_hostile_bodies import failures
from tests.api.stored_state import stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type
from tests.factories.strings import NAMES
from tests.fixtures.corpus import Corpus
from tests.torture.figures import Figure, Size

from docvault.domain.media_types import KNOWN_MEDIA_TYPES, may_be_inline
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/anything"
LONGEST_SECONDS = 10
EXTENSIONS = ("pdf", "jpg", "png", "docx")
SEED = 20
BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Media types that nothing may be stored as.
NEVER = {"image/svg+xml", "text/html", "application/x-executable", "application/java-archive"}


@pytest.fixture
async def document(admin: httpx.AsyncClient) -> str:
    """A document that accepts every known media type."""
    await make_type(admin, "Anything", accepted_media_types=sorted(KNOWN_MEDIA_TYPES))
    await make_customer(admin, "c-1")
    return PATH


def generated() -> Iterator[tuple[str, bytes]]:
    """Yield generated files by name: valid, corrupt and hostile ones."""
    chance = random.Random(SEED)
    for make, extension in [*files.GOOD_FILES.values(), *files.RARE_FILES.values()]:
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
        yield f"after another.{extension}", files.png() + good
        yield f"before another.{extension}", good + files.pdf()
        yield f"twice.{extension}", good + good
        yield f"trailing zeros.{extension}", good + bytes(5000)
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
    """Return a document with archives nested to this depth."""
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
    promise="Any file is rejected with a reason or stored byte for byte under a type that it has.",
    tried="Valid files of every type, each truncated, changed, doubled and joined with others, and "
    "hostile ones are uploaded under their own name and as PDF, JPEG, PNG and DOCX, each declared "
    "as PDF, as HTML and as the type that the name suggests; so is every file of the corpus, where "
    "it is present. Stored files are downloaded and compared, and their previews requested.",
    not_shown="Vendors' malware: see T27.",
)
async def test_file_is_rejected_or_stored_unchanged(
    admin: httpx.AsyncClient,
    document: str,
    corpus: Corpus,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    own = list(generated())
    others = [(path.name, path.read_bytes()) for path in corpus.files()]
    confused = {path.name for path in corpus.files("type-confusion")}
    chosen = own + others if size.is_full else own[::2] + others[:: len(others) // 50 + 1]
    statuses: Counter[int] = Counter()
    changed = []
    stored = rejected = previews = 0
    longest = 0.0
    for number, (name, body) in enumerate(chosen):
        ways = disguises(name)
        # In CI each file is sent in only one of the ways.
        for filename, media_type in ways if size.is_full else [ways[number % len(ways)]]:
            began = time.monotonic()
            part = (filename, body, media_type) if media_type else (filename, body)
            response = await admin.put(document, files={"file": part})
            longest = max(longest, time.monotonic() - began)
            assert response.status_code < 500, (name, filename, response.text)
            statuses[response.status_code] += 1
            stored += response.is_success
            rejected += response.is_client_error
            if response.is_success:
                assert name not in confused, (name, filename, response.text)
                if await served(admin, document, response.json()["files"][0]) != body:
                    changed.append(name)
                preview = await admin.get(f"{document}/preview", params={"size": "small"})
                statuses[preview.status_code] += 1
                previews += preview.is_success
                assert preview.status_code in {200, 404, 409}, (name, preview.text)
    assert (await stored_state(resources)).in_spool == frozenset()
    assert longest < LONGEST_SECONDS
    figures["generated files"] = len(own)
    figures["files from the corpus"] = len(others)
    figures["corpus"] = corpus.origin
    figures["uploads stored"] = stored
    figures["uploads rejected"] = rejected
    figures["previews rendered"] = previews
    figures["longest upload, ms"] = round(longest * 1000)
    figures["5xx responses"] = failures(statuses)
    figures["files served changed"] = len(changed)
    assert (failures(statuses), changed) == (0, [])
    assert min(stored, rejected, previews) > 0


async def served(admin: httpx.AsyncClient, document: str, shown: dict[str, Any]) -> bytes:
    """Return the served bytes, after checking that their headers are safe."""
    content = await admin.get(f"{document}/content", params={"disposition": "inline"})
    assert content.status_code == 200, content.text
    assert shown["media_type"] in KNOWN_MEDIA_TYPES - NEVER
    assert content.headers["content-type"].split(";")[0] == shown["media_type"]
    assert content.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    if not may_be_inline(shown["media_type"], is_active=shown["has_active_content"]):
        assert content.headers["content-disposition"].startswith("attachment")
    return content.content


@pytest.mark.guarantee(
    "T24",
    promise="A file name is only displayed; it has no other effect.",
    tried="Names with paths, devices, control characters, bidirectional text, several extensions, "
    "and of every length are sent as browsers send them; so are the lists of the corpus, where it "
    "is present. Served names are parsed by another header parser, and the data directory is "
    "searched for files with their extensions.",
    not_shown="",
)
async def test_filename_has_no_effect_but_display(
    admin: httpx.AsyncClient,
    document: str,
    corpus: Corpus,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    lists = [path.read_text(errors="replace") for path in corpus.files("names", "strings")]
    known = [*NAMES, *(line for text in lists for line in text.splitlines() if line)]
    others = known[len(NAMES) :]
    names = known if size.is_full else [*NAMES[::3], *others[:: len(others) // 50 + 1]]
    statuses: Counter[int] = Counter()
    misread = []
    for name in names:
        response = await admin.put(document, files={"file": (name, files.pdf())})
        assert response.status_code in {200, 201, 415, 422}, (name, response.text)
        statuses[response.status_code] += 1
        if response.is_success:
            shown = response.json()["files"][0]["filename"]
            if await name_in_header(admin, document, shown) != shown:
                misread.append(name)
    # Blobs are stored under random names in folders of two letters.
    folder = resources.settings.data_dir
    assert [p for p in folder.rglob("*") if p.is_file() and p.suffix in {".pdf", ".exe"}] == []
    assert {p.name for p in folder.parent.iterdir()} <= {"data"}
    figures["names"] = len(names)
    figures["names from the corpus"] = len(others)
    figures["corpus"] = corpus.origin
    figures["stored"] = statuses[200] + statuses[201]
    figures["rejected with 4xx"] = statuses[415] + statuses[422]
    figures["headers that another parser reads differently"] = len(misread)
    figures["5xx responses"] = failures(statuses)
    assert (failures(statuses), misread) == (0, [])


async def name_in_header(admin: httpx.AsyncClient, document: str, shown: str) -> str:
    """Return the name that mail programs parse from the header; check that it is safe."""
    assert shown.lower().endswith(".pdf")
    assert shown == PurePosixPath(shown).name
    assert "\\" not in shown
    assert shown not in {"", ".", ".."}
    assert len(shown.encode()) <= 255
    kinds = {unicodedata.category(char) for char in shown}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}, shown
    assert not BIDIRECTIONAL & set(shown), shown
    header = (await admin.get(f"{document}/content")).headers["content-disposition"]
    assert header.isascii()
    assert header.isprintable()
    plain, _, extended = header.partition("; filename*=UTF-8''")
    message = email.message.Message()
    message["Content-Disposition"] = plain
    names = [name for name, _ in message.get_params([], "content-disposition")]
    assert names == ["attachment", "filename"], header
    return urllib.parse.unquote(extended or plain[22:-1], errors="strict")
