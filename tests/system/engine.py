"""Runs the compose deployment on the engine of `docker` and measures it: `make engine`.

Needs Docker with Compose, the images of docker-compose.yml, and some fifteen minutes. Everything is
in a project of its own, in a folder below ENGINE_FOLDER that the engine can see, and is removed at
the end. The figures go into docs/guarantees.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tests.factories import files
from tests.factories.setups import upload_of
from tests.torture.figures import RESULTS, Figure, record_name
from tests.torture.guarantees import Record

ROOT = Path(__file__).parents[2]
PORT = 18080
SERVICES = ("proxy", "api", "worker", "database", "store")
PACE_SECONDS = 0.1
CUSTOMERS = 8
UPLOADS = 32
UPLOAD_MEBIBYTES = 12


@dataclass(slots=True)
class Requests:
    """What a steady client saw."""

    sent: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    longest_gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Project:
    """A copy of the checkout with a deployment of its own."""

    folder: Path
    name: str
    port: int

    @property
    def url(self) -> str:
        """Where clients reach the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the copy; return its output."""
        environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.name,
            "DOCVAULT_PUBLISH": f"127.0.0.1:{self.port}",
            "DOCVAULT_PUBLIC_URL": self.url,
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode and not fails:
            sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def compose(self, *command: str) -> str:
        """Run `docker compose`."""
        return self.run("docker", "compose", *command)

    def client(self) -> httpx.Client:
        """Return a client with the token of staff."""
        token = self.compose("exec", "-T", "api", "docvault", "token", "admin").split()[-1]
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=2 * UPLOADS),
        )


@contextmanager
def project(name: str, port: int) -> Iterator[Project]:
    """Copy the checkout as with a umask of 077, and remove what was made of it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ.get("ENGINE_FOLDER")))
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for path in filter(lambda one: one and (ROOT / one).is_file(), names):
        target = folder / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
        target.chmod(0o700 if os.access(ROOT / path, os.X_OK) else 0o600)
    made = Project(folder, name, port)
    try:
        yield made
    finally:
        made.run("docker", "compose", "--profile", "*", "down", "--volumes", fails=True)
        shutil.rmtree(folder, ignore_errors=True)


def observe(deployment: Project, happens: Callable[[], object]) -> dict[str, Requests]:
    """Read, upload and download steadily while something happens, and a little longer."""
    stop = threading.Event()
    seen = {name: Requests() for name in ("reads", "uploads", "downloads")}
    document = "/v1/admin/customers/steady-{}/documents/scan"
    upload = upload_of(files.png(), "scan")
    with deployment.client() as client:
        client.post("/v1/admin/document-types", json={"name": "Scan"})
        for number in range(CUSTOMERS):
            client.put(f"/v1/admin/customers/steady-{number}", json={})
            client.put(document.format(number), **upload).raise_for_status()
        sends: dict[str, Callable[[int], httpx.Response]] = {
            "reads": lambda _: client.get("/v1/admin/customers"),
            "uploads": lambda n: client.put(document.format(n % CUSTOMERS), **upload),
            "downloads": lambda n: client.get(f"{document.format(n % CUSTOMERS)}/content"),
        }
        with ThreadPoolExecutor(len(sends)) as pool:
            for name, send in sends.items():
                pool.submit(send_steadily, send, stop, seen[name])
            time.sleep(3)
            try:
                happens()
                time.sleep(20)
            finally:
                stop.set()
    return seen


def send_steadily(
    send: Callable[[int], httpx.Response], stop: threading.Event, seen: Requests
) -> None:
    """Send a request ten times a second; record failures and the longest time without success."""
    succeeded_at = time.monotonic()
    while not stop.is_set():
        began = time.monotonic()
        try:
            outcome = str(send(seen.sent).status_code)
        except httpx.TransportError as error:
            outcome = type(error).__name__
        now = time.monotonic()
        seen.sent += 1
        if outcome.startswith("2"):
            seen.longest_gap = max(seen.longest_gap, now - succeeded_at)
            succeeded_at = now
        else:
            seen.failed[outcome] += 1
        time.sleep(max(0.0, PACE_SECONDS - (now - began)))
    seen.longest_gap = max(seen.longest_gap, time.monotonic() - succeeded_at)


def figures_of(seen: dict[str, Requests]) -> dict[str, Figure]:
    """Return the figures of a record."""
    shown: dict[str, Figure] = {}
    for name, requests in seen.items():
        shown[name] = requests.sent
        shown[f"{name} that failed"] = requests.failed.total()
        shown[f"longest time without a success of {name}, s"] = round(requests.longest_gap, 1)
    return shown


def kill(deployment: Project, service: str) -> None:
    """Kill a service; the engine does not restart what it was told to kill."""
    for container in deployment.compose("ps", "--quiet", service).split():
        deployment.run("docker", "kill", "--signal", "KILL", container)
    deployment.compose("up", "--detach", "--no-recreate")


def change_image(deployment: Project) -> None:
    """Make the next build another version."""
    with (deployment.folder / "src" / "docvault" / "py.typed").open("a") as file:
        file.write(f"# {time.time()}\n")


def upload_at_once(deployment: Project) -> dict[str, Figure]:
    """Upload as many files as the API accepts at once; return outcomes and peaks of memory."""
    body = files.pdf() + b"%" + b"0" * (UPLOAD_MEBIBYTES * 2**20) + b"\n" + files.pdf()[-40:]
    with deployment.client() as client:
        client.post("/v1/admin/document-types", json={"name": "Large"})
        for number in range(UPLOADS):
            client.put(f"/v1/admin/customers/large-{number}", json={})

        def upload(number: int) -> int:
            path = f"/v1/admin/customers/large-{number}/documents/large"
            return client.put(path, **upload_of(body, "large")).status_code

        with ThreadPoolExecutor(UPLOADS) as pool:
            outcomes = Counter(pool.map(upload, range(UPLOADS)))
    shown: dict[str, Figure] = {f"responses {status}": n for status, n in sorted(outcomes.items())}
    for service in ("api", "store"):
        script = "cat /proc/[0-9]*/status 2>/dev/null"
        lines = deployment.compose("exec", "-T", service, "sh", "-c", script).splitlines()
        peaks = [int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")]
        shown[f"{service}: sum of the peaks of its processes, MiB"] = sum(peaks)
        restarts = deployment.run(
            "docker",
            "inspect",
            "--format",
            "{{.RestartCount}}",
            *deployment.compose("ps", "--quiet", service).split(),
        )
        shown[f"{service}: restarts"] = sum(map(int, restarts.split()))
    return shown


def save(guarantee: str, case: str, promise: str, tried: str, shown: dict[str, Figure]) -> None:
    """Write a record, from which docs/guarantees.md is rendered."""
    record = Record(
        id=guarantee,
        promise=promise,
        tried=tried,
        not_shown="Images other than those of the engine it ran on; several machines.",
        case=case,
        figures=shown,
        share=1,
        seconds=0,
        date=datetime.now(UTC).date().isoformat(),
    )
    name = record_name(guarantee, f"engine-{case or 'run'}")
    (RESULTS / name).write_text(json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{guarantee} {case}: {shown}\n")


def main() -> None:
    """Measure one after the other."""
    with project("docvault-engine", PORT) as deployment:
        deployment.run("deploy/make-secrets.sh")
        deployment.compose("up", "--build", "--detach", "--wait")
        save(
            "B-217",
            "",
            "The memory limits of the compose file hold at full capacity.",
            f"{UPLOADS} files of {UPLOAD_MEBIBYTES} MiB are uploaded at once, through the proxy.",
            upload_at_once(deployment),
        )
        for how in ("restart", "kill"):
            for service in SERVICES:
                act = {
                    "restart": lambda name=service: deployment.compose("restart", name),
                    "kill": lambda name=service: kill(deployment, name),
                }[how]
                save(
                    "B-222",
                    f"{how} {service}",
                    "A service of the compose deployment that is restarted or killed comes back.",
                    "A client reads, uploads and downloads ten times a second each meanwhile.",
                    figures_of(observe(deployment, act)),
                )
        change_image(deployment)
        save(
            "B-218",
            "",
            "An upgrade of the compose deployment refuses no request.",
            "A client reads, uploads and downloads ten times a second each while "
            "`deploy/upgrade.sh` replaces the image.",
            figures_of(observe(deployment, lambda: deployment.run("deploy/upgrade.sh"))),
        )
        deployment.compose("exec", "-T", "api", "docvault", "verify", "--rehash")


if __name__ == "__main__":
    main()
