"""The order of system calls before an upload is acknowledged (T04)."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.factories.setups import make_type
from tests.torture.figures import Figure, Size
from tests.torture.load import register_customer
from tests.torture.processes import ROOT

pytestmark = pytest.mark.torture

START_SECONDS = 120
CALLS = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,writev,sendto,sendmsg"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<what>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^>]*)>")
_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One call; `began` and `ended` are positions in the trace."""

    name: str
    arguments: str
    began: int
    ended: int

    @property
    def path(self) -> str:
        """The path of its descriptor."""
        found = _DESCRIPTOR.match(self.arguments)
        return found["path"] if found else ""


def read_trace(lines: Sequence[str]) -> list[SystemCall]:
    """Return the calls in order of their start; calls of different threads overlap."""
    calls: list[SystemCall] = []
    unfinished: dict[str, tuple[int, str, str]] = {}
    for place, line in enumerate(lines):
        entry = _LINE.match(line)
        if entry is None:
            continue
        pid, what = entry["pid"], entry["what"]
        if _RESUMED.match(what) and pid in unfinished:
            began, name, arguments = unfinished.pop(pid)
            calls.append(SystemCall(name, arguments, began, place))
        elif call := _CALL.match(what):
            if what.endswith("<unfinished ...>"):
                unfinished[pid] = (place, call["name"], call["arguments"])
            else:
                calls.append(SystemCall(call["name"], call["arguments"], place, place))
    return sorted(calls, key=lambda call: call.began)


@contextmanager
def traced_server(data_dir: Path, trace: Path) -> Iterator[str]:
    """Run docvault with its own PostgreSQL under strace; yield its address."""
    options = ["-f", "--seccomp-bpf", "-y", "-qq", "-s", "48", "-o", str(trace), "-e", CALLS]
    log = data_dir.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["strace", *options, sys.executable, "-m", "docvault", "serve", "--port", "0"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DOCVAULT_DATA_DIR": str(data_dir)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"docvault listens on (\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        # strace ignores signals; it exits with the process it traces.
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int((data_dir / "lock").read_text()), signal.SIGTERM)
        process.wait()


def token(data_dir: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "docvault", "token", "admin"],
        env={"PATH": os.environ["PATH"], "DOCVAULT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def names_blob(call: SystemCall) -> bool:
    """Return whether a blob gets its final name; the store is also probed at the start."""
    is_link = call.name in {"link", "linkat"} and "/blobs/" in call.arguments
    return is_link and "/.probes/" not in call.arguments


def check_upload(calls: Sequence[SystemCall]) -> None:
    """Check the calls up to an acknowledgement; each step must end before the next starts."""
    link = next(call for call in calls if names_blob(call))
    source, target = _QUOTED.findall(link.arguments)
    flushed = [c for c in calls if c.name in {"fsync", "fdatasync"}]
    assert any(c.path == source and c.ended < link.began for c in flushed), "the bytes"
    folders = [c for c in flushed if c.path == str(Path(target).parent) and c.began > link.ended]
    assert folders, "the name"
    response = calls[-1]
    committed = [
        c
        for c in flushed
        if "/pg_wal/" in c.path and c.began > folders[0].ended and c.ended < response.began
    ]
    assert committed, "the rows"


@pytest.mark.guarantee(
    "T04",
    promise="An upload is acknowledged only after its bytes, its directory entry and its rows are "
    "flushed.",
    tried="docvault with its own PostgreSQL under strace. For each upload the trace must show, in "
    "this order: fsync of the file, link to its final name, fsync of the directory, fdatasync of "
    "the database's log, and then the write of the 201 response.",
    not_shown="Disks that report a flush before it is complete.",
)
async def test_upload_is_flushed_before_it_is_acknowledged(
    data_dir: Path, size: Size, figures: dict[str, Figure]
) -> None:
    uploads = size.of(ci=20, full=100)
    trace = data_dir.with_suffix(".strace")
    with traced_server(data_dir, trace) as address:
        headers = {"Authorization": f"Bearer {token(data_dir)}"}
        async with httpx.AsyncClient(
            base_url=address, headers=headers, timeout=60, trust_env=False
        ) as client:
            await make_type(client, "Contract")
            for number in range(uploads):
                await register_customer(client, f"c-{number}")
                path = f"/v1/admin/customers/c-{number}/documents/contract"
                response = await client.put(path, files={"file": ("a.txt", b"some text\n" * 1000)})
                assert response.status_code == 201, response.text
    calls = read_trace(trace.read_text(errors="replace").splitlines())
    # Creating a customer is 201 too, so uploads are identified by their link.
    links = [place for place, call in enumerate(calls) if names_blob(call)]
    checked = 0
    begin = 0
    for place in links:
        end = next(
            later for later in range(place, len(calls)) if "HTTP/1.1 201" in calls[later].arguments
        )
        check_upload(calls[begin : end + 1])
        begin = end + 1
        checked += 1
    figures["uploads traced"] = checked
    figures["out of order"] = 0
    assert checked == uploads
