"""Small files that expand to large ones, sent to a running server (T22)."""

import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.factories import files
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.torture.figures import Figure, Size

pytestmark = pytest.mark.torture

DOCUMENT_PATH = "/v1/admin/customers/c-1/documents/anything"
MEBIBYTE = 1024 * 1024
GROWTH_BYTES = 64 * MEBIBYTE
# The renderer's own limit is 512 MiB of address space; the resident size is smaller.
CHILD_BYTES = 512 * MEBIBYTE
LONGEST_SECONDS = 20
LIVEZ_SECONDS = 1.0


def flat_png(side: int) -> bytes:
    """A complete PNG of `side` by `side` pixels of one bit."""
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    header = files.png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    body = header + files.png_chunk(b"IDAT", rows) + files.png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def many_frames(number: int) -> bytes:
    """A GIF that repeats its one frame."""
    gif = files.gif(8, 8)
    start = gif.index(b"\x2c", 13)
    return gif[:start] + gif[start:-1] * number + b"\x3b"


def lottapixel() -> bytes:
    """A JPEG that claims to be 64,250 pixels wide and high."""
    jpeg = bytearray(files.jpeg())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 64_250, 64_250)
    return bytes(jpeg)


def page(entries: bytes, *others: bytes) -> bytes:
    """A PDF of one page with these entries."""
    tree = {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>"}
    more = dict(enumerate(others, 4))
    return files.pdf_of(tree | {3: b"<</Type/Page/Parent 2 0 R" + entries + b">>"} | more)


def nested(depth: int) -> bytes:
    inner = files.docx()
    for _ in range(depth):
        inner = files.archive(files.docx_parts() | {"word/embeddings/inner.docx": inner})
    return inner


BOMBS: dict[str, Callable[[], bytes]] = {
    "400 megapixels.png": lambda: flat_png(20_000),
    "39 megapixels.png": lambda: flat_png(6_240),
    "lottapixel.jpg": lottapixel,
    "4,000 megapixels.bmp": lambda: (
        files.bmp()[:18] + struct.pack("<LL", 63_000, 63_000) + files.bmp()[26:]
    ),
    "4,000 megapixels.jp2": lambda: (
        files.jp2()
        .replace(struct.pack(">LL", 48, 64), struct.pack(">LL", 63_000, 63_000))
        .replace(struct.pack(">LL", 64, 48), struct.pack(">LL", 63_000, 63_000))
    ),
    "elements.xml": lambda: b"<?xml version='1.0'?><a>" + b"<b/>" * 6_000_000 + b"</a>",
    "10,000 frames.gif": lambda: many_frames(10_000),
    "200 MiB of XML.docx": lambda: files.docx_bomb(200 * MEBIBYTE),
    "20,000 entries.docx": lambda: files.archive({f"word/{n}.xml": b"" for n in range(20_000)}),
    "archives in archives.docx": lambda: nested(20),
    "page tree without an end.pdf": lambda: files.pdf_of(
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"}
    ),
    "100,000 objects.pdf": lambda: page(b"/MediaBox[0 0 9 9]", *[b"null"] * 100_000),
    "a square kilometre.pdf": lambda: page(b"/MediaBox[0 0 2834645 2834645]"),
    "form in itself.pdf": lambda: page(
        b"/MediaBox[0 0 9 9]/Contents 5 0 R/Resources<</XObject<</X 4 0 R>>>>",
        b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 4 0 R>>>>/Length 5>>"
        b"stream\n/X Do\nendstream",
        b"<</Length 5>>stream\n/X Do\nendstream",
    ),
}


class Watch:
    """Probes liveness and memory of the server until the block ends."""

    def __init__(self, server: RunningServer) -> None:
        self._client = httpx.Client(base_url=server.url)
        self._process = psutil.Process(server.process.pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.responses: list[float] = []
        self.largest = self.largest_child = 0
        self.before = self._process.memory_info().rss

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._done.wait(0.02):
            began = time.monotonic()
            assert self._client.get("/livez").status_code == 200
            self.responses.append(time.monotonic() - began)
            self.largest = max(self.largest, self._process.memory_info().rss)
            for child in self._process.children():
                self._look_at(child)

    def _look_at(self, child: psutil.Process) -> None:
        try:
            if "postgres" not in child.name():
                self.largest_child = max(self.largest_child, child.memory_info().rss)
        except psutil.NoSuchProcess:
            pass  # A renderer has exited meanwhile.

    def slowest(self) -> float:
        """Return the 99th percentile of the response times."""
        return sorted(self.responses)[len(self.responses) * 99 // 100]


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir) as running:
        yield running


@pytest.mark.guarantee(
    "T22",
    promise="A small file that expands to a large one affects its own upload only.",
    tried="Images of up to 400 megapixels, images with thousands of frames, documents that unpack "
    "to hundreds of MiB or contain thousands of entries or nested archives, and PDFs with an "
    "endless page tree or pages of a square kilometre are uploaded to a running server, and their "
    "previews are requested. Meanwhile the memory of the server and its children and the latency "
    "of /livez are measured.",
    not_shown="A machine that is short of memory.",
)
def test_bombs_are_harmless(server: RunningServer, size: Size, figures: dict[str, Figure]) -> None:
    command = [DOCVAULT, "token", "admin"]
    output = subprocess.check_output(command, env=server.environment, text=True)
    headers = {"Authorization": f"Bearer {output.splitlines()[-1]}"}
    statuses: dict[str, tuple[int, int]] = {}
    longest = 0.0
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as admin:
        types = [*files.GOOD_FILES, *files.RARE_FILES]
        document_type = {"name": "Anything", "accepted_media_types": types}
        assert admin.post("/v1/admin/document-types", json=document_type).status_code == 201
        assert admin.put("/v1/admin/customers/c-1", json={}).status_code == 201
        assert (
            admin.put(DOCUMENT_PATH, files={"file": ("good.png", files.png())}).status_code == 201
        )
        assert admin.get(f"{DOCUMENT_PATH}/preview?size=small").status_code == 200
        chosen = list(BOMBS)[:: size.of(ci=6, full=1)]
        bombs = {name: BOMBS[name]() for name in chosen}
        with Watch(server) as watch:
            for name, body in bombs.items():
                began = time.monotonic()
                stored = admin.put(DOCUMENT_PATH, files={"file": (name, body)}).status_code
                preview = 0
                if stored == 200:
                    preview = admin.get(f"{DOCUMENT_PATH}/preview?size=small").status_code
                longest = max(longest, time.monotonic() - began)
                statuses[name] = stored, preview
    assert {stored for stored, _ in statuses.values()} <= {200, 415, 422}, statuses
    assert {preview for _, preview in statuses.values()} <= {0, 200, 404}, statuses
    assert statuses["400 megapixels.png"][1] != 200
    assert longest < LONGEST_SECONDS, statuses
    assert watch.largest - watch.before < GROWTH_BYTES
    assert watch.largest_child < CHILD_BYTES
    assert watch.slowest() < LIVEZ_SECONDS
    figures["bombs"] = len(statuses)
    figures["rejected"] = sum(stored != 200 for stored, _ in statuses.values())
    figures["stored without a preview"] = sum(preview == 404 for _, preview in statuses.values())
    figures["stored with a preview"] = sum(preview == 200 for _, preview in statuses.values())
    figures["memory growth of the server, MiB"] = (watch.largest - watch.before) // MEBIBYTE
    figures["largest child, MiB"] = watch.largest_child // MEBIBYTE
    figures["longest upload and preview, ms"] = round(longest * 1000)
    figures["p99 of /livez, ms"] = round(watch.slowest() * 1000)
