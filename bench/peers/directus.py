"""Directus, the closest alternative: authentication, a database record and a file per upload."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError, run
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from bench.peers.docvault import postgres
from bench.peers.npm import installed
from bench.processes import NotStarted, Tree, free_port, responses, running
from bench.setup import Missing, Setup

FOLDER = Path(__file__).with_name("directus_server")
MAIL, PASSWORD = "bench@example.org", "bench-password"


@dataclass(frozen=True, slots=True)
class Directus:
    """A running Directus."""

    port: int
    server: Tree
    database: Tree
    headers: dict[str, str]

    def client(self) -> httpx.Client:
        """Return a client for the set-up."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=self.headers, timeout=60
        )

    def create(self, path: str, body: Any) -> Any:
        """Create an item; return it."""
        with self.client() as client:
            return _data(client.post(path, json=body))

    def upload(self, content: bytes, filename: str) -> Any:
        """Upload a PDF; return the record of the file."""
        with self.client() as client:
            file = (filename, content, "application/pdf")
            return _data(client.post("/files", files={"file": file}))

    def files(self) -> list[str]:
        """Return the ids of all files."""
        with self.client() as client:
            return [row["id"] for row in _data(client.get("/files", params={"fields": "id"}))]

    def delete_files(self) -> None:
        """Delete all files."""
        with self.client() as client:
            client.request("DELETE", "/files", json=self.files()).raise_for_status()


@contextmanager
def directus(setup: Setup, processes: int = 1) -> Iterator[Directus]:
    """Run Directus on a PostgreSQL like docvault's until the block ends; raise `Missing`.

    Its rate and load limits are disabled, as are docvault's.
    """
    programs = installed(FOLDER) / ".bin"
    folder, store = setup.folder("directus"), setup.store_folder("directus")
    with postgres(folder / "postgres") as (url, database):
        port = free_port()
        environment = _environment(url, store, port, programs)
        program = FOLDER / "node_modules" / "@directus" / "api" / "dist" / "cli" / "run.js"
        log = folder / "log"
        _bootstrap([programs / "node", program, "bootstrap"], environment, folder)
        command: list[str | Path] = [programs / "node", FOLDER / "start.mjs", str(processes)]
        ready = responses(port, "/server/ping")
        with running(command, log, environment=environment, folder=folder, ready=ready) as server:
            # A session token is cheaper for Directus than a static one.
            response = httpx.post(
                f"http://127.0.0.1:{port}/auth/login",
                json={"email": MAIL, "password": PASSWORD},
                timeout=60,
            )
            token = _data(response)["access_token"]
            yield Directus(port, server, database, {"Authorization": f"Bearer {token}"})


def _data(response: httpx.Response) -> Any:
    if response.is_error:
        raise NotStarted(f"Directus rejected {response.url}: {response.text}")
    return response.json()["data"]


def _bootstrap(command: list[Path | str], environment: dict[str, str], folder: Path) -> None:
    try:
        run(
            command,
            env=environment,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except CalledProcessError as error:
        raise Missing(f"Directus did not start: {(error.stdout + error.stderr)[-500:]}") from None


def _environment(url: str, store: Path, port: int, programs: Path) -> dict[str, str]:
    parts = urlsplit(url)
    socket = parse_qs(parts.query)["host"][0]
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(store),
        "NODE_ENV": "production",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SECRET": "bench-bench-bench-bench-bench-bench",
        "ADMIN_EMAIL": MAIL,
        "ADMIN_PASSWORD": PASSWORD,
        "ACCESS_TOKEN_TTL": "12h",
        "DB_CLIENT": "pg",
        "DB_HOST": socket,
        "DB_PORT": "5432",
        "DB_DATABASE": "docvault",
        "DB_USER": "docvault",
        "DB_PASSWORD": "",
        "STORAGE_LOCATIONS": "local",
        "STORAGE_LOCAL_DRIVER": "local",
        "STORAGE_LOCAL_ROOT": str(store),
        "LOG_STYLE": "raw",
        "TELEMETRY": "false",
        "RATE_LIMITER_ENABLED": "false",
        "PRESSURE_LIMITER_ENABLED": "false",
    }
