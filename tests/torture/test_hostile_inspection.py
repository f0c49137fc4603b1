"""Generated and mutated files are uploaded to a running server, which keeps responding."""

import contextlib
import itertools
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.factories import files
from tests.fixtures.corpus import Corpus
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.torture.figures import Figure, Size

from docvault.domain.media_types import KNOWN_MEDIA_TYPES
from docvault.inspection.child import CPU_SECONDS

pytestmark = pytest.mark.torture

DOCUMENT_PATH = "/v1/admin/customers/c-1/documents/anything"
MEBIBYTE = 1024 * 1024
SEED = 33
# How long /livez may take, or, on a busy machine, how many times its duration with harmless files.
LIVEZ_SECONDS = 0.25
LOADED = 3
# The child's timer has the resolution of a kernel tick.
CPU_TOLERANCE_SECONDS = 0.1
LARGEST_CORPUS_FILE = 2 * MEBIBYTE
# Repeated, these caused quadratic time in patterns of earlier rules.
PIECES = (
    *(b"/S%", b"/AA%", b"/EF%", b"5%", b"/First 5 0 R ", b"1 0 obj", b"<<", b"[", b"(", b"stream"),
    *(b"PK\3\4", b"PK\1\2", b"PK\5\6", b"<a ", b"\xff\xd8\xff\xe1\xff\xff", b"\0\0\0\x08meta"),
    *(b"%", b"\n", b" ", b"\0", b"\xc3\xa4", b"obj endobj ", b"trailer<<", b"startxref\n"),
)


class Inspectors:
    """The inspectors of a server, monitored from outside, one file at a time."""

    def __init__(self, server: RunningServer) -> None:
        self._server = psutil.Process(server.process.pid)
        # The CPU time of each before the current file.
        self._before: dict[int, float] = {}
        self.slowest = 0.0
        self.largest = 0
        self.seen: set[int] = set()

    def before_file(self) -> None:
        """Record the inspectors and the CPU time they have used so far."""
        self._before = {
            child.pid: cpu_seconds(child.pid) or 0.0
            for child in self._server.children()
            if is_inspector(child)
        }
        self.seen |= self._before.keys()

    def sample(self) -> None:
        """Record the cost of the current file so far, in case its inspector is killed."""
        for pid, before in self._before.items():
            used = cpu_seconds(pid)
            if used is not None:
                self.slowest = max(self.slowest, used - before)

    def after_file(self) -> None:
        """Record the cost of the file."""
        self.sample()
        for pid in self._before:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text()
                peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
                self.largest = max(self.largest, peak)


def is_inspector(child: psutil.Process) -> bool:
    try:
        return "inspection" in "".join(child.cmdline())
    except psutil.Error:
        return False


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of a process from its clock; see clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


class Prober:
    """Probes /livez repeatedly until the block ends, and keeps the longest response time."""

    def __init__(self, url: str, sample: Callable[[], None]) -> None:
        self._sample = sample
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.responses = 0
        self.longest = 0.0

    def __enter__(self) -> "Prober":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._done.wait(0.01):
            began = time.monotonic()
            assert self._client.get("/livez").status_code == 200
            self.longest = max(self.longest, time.monotonic() - began)
            self.responses += 1
            self._sample()


def seeds(corpus: Corpus) -> list[tuple[str, bytes]]:
    """Return a valid file of every type: extension and bytes."""
    kinds = [*files.GOOD_FILES.values(), *files.RARE_FILES.values()]
    made = [(extension, make()) for make, extension in kinds]
    made += [("pdf", files.pdf_with_compressed_javascript()), ("docx", files.docx_bomb(MEBIBYTE))]
    made += [
        (path.suffix[1:] or "bin", path.read_bytes())
        for path in corpus.files()
        if 0 < path.stat().st_size < LARGEST_CORPUS_FILE
    ]
    return made


def mutated(chance: random.Random, body: bytes) -> bytes:
    """Return a file mutated by noise, or by removing, repeating or swapping pieces."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice([1, 8, 100, 5000]))
        match chance.randrange(5):
            case 0:
                changed[start:end] = chance.randbytes(end - start)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = changed[start:end]
            case 3:
                number = chance.choice([10, 1000, 50_000])
                changed[start:start] = chance.choice(PIECES) * number
            case 4:
                changed[start:start] = chance.choice(PIECES)
    return bytes(changed) or b"x"


def generated(corpus: Corpus, number: int) -> Iterator[tuple[str, bytes]]:
    """Yield mutated files with their extensions, the same ones in every run."""
    chance = random.Random(SEED)
    begin = seeds(corpus)
    for count in range(number):
        extension, body = chance.choice(begin)
        if chance.random() < 0.3:
            # The start of a valid file, followed by one repeated piece.
            body = body[: chance.choice([8, 64, 1024])]
            body += chance.choice(PIECES) * chance.choice([1000, 50_000])
        yield f"{count}.{extension}", mutated(chance, body)


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir) as running:
        yield running


@pytest.mark.req("B-001", "B-003")
@pytest.mark.guarantee(
    "B-003",
    promise="Whatever bytes a file contains, its inspection costs at most two seconds of CPU in a "
    "child process, and the server keeps responding to other clients.",
    tried="Files of every stored type, with noise and with pieces removed, duplicated or repeated "
    "up to 50,000 times, are uploaded to a running server of one process, one after another. "
    "Meanwhile /livez of the same process is probed every 10 ms, and each file's CPU time and the "
    "memory of the inspectors are measured from outside.",
    not_shown="A machine without an idle core: there /livez waits for the scheduler as well.",
)
def test_hostile_files_do_not_stop_server(
    server: RunningServer, corpus: Corpus, size: Size, figures: dict[str, Figure]
) -> None:
    command = [DOCVAULT, "token", "admin"]
    output = subprocess.check_output(command, env=server.environment, text=True)
    headers = {"Authorization": f"Bearer {output.splitlines()[-1]}"}
    inspectors = Inspectors(server)
    statuses: dict[int, int] = {}
    with httpx.Client(base_url=server.url, headers=headers, timeout=120, trust_env=False) as admin:
        document_type = {"name": "Anything", "accepted_media_types": sorted(KNOWN_MEDIA_TYPES)}
        assert admin.post("/v1/admin/document-types", json=document_type).status_code == 201
        assert admin.put("/v1/admin/customers/c-1", json={}).status_code == 201
        with Prober(server.url, inspectors.sample) as harmless:
            for extension, body in itertools.islice(
                itertools.cycle(seeds(corpus)), size.of(ci=60, full=1000)
            ):
                admin.put(DOCUMENT_PATH, files={"file": (f"a.{extension}", body)})
        with Prober(server.url, inspectors.sample) as prober:
            for name, body in generated(corpus, size.of(ci=200, full=5000)):
                inspectors.before_file()
                response = admin.put(DOCUMENT_PATH, files={"file": (name, body)})
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                inspectors.after_file()
    assert set(statuses) <= {200, 201, 415, 422}, statuses
    assert inspectors.slowest <= CPU_SECONDS + CPU_TOLERANCE_SECONDS
    assert prober.longest <= max(LIVEZ_SECONDS, LOADED * harmless.longest)
    figures["files inspected"] = sum(statuses.values())
    figures["stored"] = statuses.get(200, 0) + statuses.get(201, 0)
    figures["rejected"] = statuses.get(415, 0) + statuses.get(422, 0)
    figures["inspectors replaced"] = len(inspectors.seen) - 2
    figures["slowest inspection, ms of CPU"] = round(inspectors.slowest * 1000)
    figures["largest inspector, MiB"] = inspectors.largest // MEBIBYTE
    figures["/livez probes"] = prober.responses
    figures["longest silence of /livez, ms"] = round(prober.longest * 1000)
    figures["the same with unmodified files, ms"] = round(harmless.longest * 1000)
    figures["corpus"] = corpus.origin
