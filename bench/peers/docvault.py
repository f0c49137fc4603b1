"""docvault as it runs in production: two API processes, a separate worker, PostgreSQL."""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import psutil
import psycopg

from bench.processes import Tree, free_port, responses, running
from bench.setup import Setup
from docvault.auth.local_tokens import LocalIssuer
from docvault.db.migrate import migrate
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.settings import Settings

WORKERS = 2
PROGRAM = Path(sys.executable).with_name("docvault")
# Not a real secret: the database exists only during the run.
SECRET = token_hex(32)
OUT_OF_REACH = str(10**15)
LIMITS = (
    "DOCVAULT_CUSTOMER_UPLOADS_PER_MINUTE",
    "DOCVAULT_CUSTOMER_REQUESTS_PER_MINUTE",
    "DOCVAULT_CUSTOMER_VALUE_CHANGES_PER_MINUTE",
    "DOCVAULT_CUSTOMER_MAX_VALUE_BYTES",
    "DOCVAULT_CUSTOMER_MAX_CONCURRENT_UPLOADS",
    "DOCVAULT_CUSTOMER_MAX_CONCURRENT_DOWNLOADS",
    "DOCVAULT_CUSTOMER_MAX_FILES",
    "DOCVAULT_CUSTOMER_MAX_BYTES",
)


@dataclass(slots=True)
class Docvault:
    """A running docvault."""

    port: int
    server: Tree
    worker: Tree
    database: Tree
    database_url: str
    store: Path
    issuer: LocalIssuer
    # Its environment, so that other processes can be started next to it.
    environment: dict[str, str]
    types: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def admin_headers(self) -> dict[str, str]:
        """Return the credential of a staff member."""
        return {"Authorization": f"Bearer {self.issuer.admin_token('bench')}"}

    def customer_headers(self, customer_id: str) -> dict[str, str]:
        """Return the credential of a customer."""
        return {"Authorization": f"Bearer {self.issuer.customer_token(customer_id)}"}

    def client(self) -> httpx.Client:
        """Return a staff client for the set-up."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=self.admin_headers(), timeout=60
        )

    def add_types(self, number: int, **properties: Any) -> list[str]:
        """Create document types; return their keys."""
        with self.client() as client:
            for _ in range(number):
                name = f"Document {len(self.types) + 1}"
                response = client.post(
                    "/v1/admin/document-types", json={"name": name, **properties}
                )
                response.raise_for_status()
                self.types.append(response.json()["key"])
        return self.types[-number:]

    def add_customers(self, number: int) -> list[str]:
        """Create customers; return their ids."""
        ids = [f"c-{next(self._numbers)}" for _ in range(number)]
        with self.client() as client:
            for customer_id in ids:
                client.put(
                    f"/v1/admin/customers/{customer_id}", json={"name": f"Customer {customer_id}"}
                ).raise_for_status()
        return ids

    def enable_gate(self) -> None:
        """Enforce the gate for customers with missing documents."""
        with self.client() as client:
            portal = "/v1/admin/settings/portal"
            condition = {"If-Match": client.get(portal).headers["ETag"]}
            response = client.patch(portal, json={"gate_enabled": True}, headers=condition)
            response.raise_for_status()


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, Tree]]:
    """Run docvault's own PostgreSQL, durable; yield its URL and its processes."""
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        yield server.url, postmaster(connection)


def postmaster(connection: psycopg.Connection) -> Tree:
    """Return the processes of the server behind a connection."""
    return Tree(psutil.Process(connection.info.backend_pid).ppid())


@contextmanager
def docvault(
    setup: Setup,
    *,
    name: str = "docvault",
    workers: int = WORKERS,
    database_url: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Docvault]:
    """Run docvault on an empty or a prepared database.

    Everything is enabled: authentication, audit, checks, fsync; limits are counted as usual but
    never reached. `settings` are environment variables.
    """
    folder, store = setup.folder(name), setup.store_folder(name)
    environment = {
        "DOCVAULT_DATA_DIR": str(folder / "data"),
        "DOCVAULT_SECRET_KEY": SECRET,
        "DOCVAULT_STORAGE_URL": store.as_uri(),
        "DOCVAULT_WORKER": "external",
        **dict.fromkeys(LIMITS, OUT_OF_REACH),
        **(settings or {}),
    }
    with postgres(folder / "postgres") as (own_url, database):
        url = database_url or own_url
        migrate(url)
        environment["DOCVAULT_DATABASE_URL"] = url
        port = free_port()
        serve: list[str | Path] = [PROGRAM, "serve", "--port", str(port), "--workers", str(workers)]
        log = folder / "log"
        ready = responses(port, "/readyz")
        with (
            running(serve, log, environment=environment, ready=ready) as server,
            running([PROGRAM, "worker"], log, environment=environment, ready=lambda: True) as jobs,
        ):
            issuer = LocalIssuer(Settings(data_dir=folder / "data"))
            yield Docvault(port, server, jobs, database, url, store, issuer, environment)


def items(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the items of a page."""
    response.raise_for_status()
    found: list[dict[str, Any]] = json.loads(response.content)["items"]
    return found
