"""docvault on a test's own database and store, repeatedly started and killed."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import psycopg
import pytest
from tests.fixtures.seaweedfs import BUCKET, S3Server
from tests.torture.processes import DocvaultProcess, ForkServer

from docvault.auth.local_tokens import LocalIssuer
from docvault.db.migrate import migrate
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.settings import Settings
from docvault.storage.base import OTHER_FOLDERS

_NUMBERS = count()
OURS = "torture"
DYING_SECONDS = 30
SECRET_KEY = secrets.token_hex(32)


@dataclass(slots=True)
class Deployment:
    """The state that survives a kill, and the process that runs now."""

    fork_server: ForkServer
    folder: Path
    database_url: str
    environment: dict[str, str]
    list_keys: Callable[[], set[str]]
    process: DocvaultProcess | None = None
    client: httpx.AsyncClient | None = None
    logs: list[Path] = field(default_factory=list)
    _started_at: float = 0.0
    _token: str | None = None

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def start(self, failpoint: Mapping[str, Any] | None = None) -> httpx.AsyncClient:
        """Start the server; return a client with a staff token."""
        self._started_at = time.time()
        self.process = self.run(["serve", "--port", "0"], failpoint)
        return self.connect_client()

    def connect_client(self) -> httpx.AsyncClient:
        """Return a new client of the running server."""
        assert self.process is not None
        self.client = httpx.AsyncClient(
            base_url=self.process.address(),
            headers={"Authorization": f"Bearer {self.staff_token()}"},
            timeout=30,
            trust_env=False,
            # No TLS is used here, and loading the CA bundle takes longer than starting the server.
            verify=False,
        )
        return self.client

    def start_worker(self, failpoint: Mapping[str, Any] | None = None) -> DocvaultProcess:
        """Start a worker."""
        return self.run(["worker"], failpoint)

    def on_database(self, database_url: str) -> "Deployment":
        """Return a deployment with the same store and another database, without processes."""
        environment = self.environment | {"DOCVAULT_DATABASE_URL": database_url}
        return replace(self, database_url=database_url, environment=environment)

    def kill_process(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    async def close_client(self) -> None:
        """Close the client once its requests have ended."""
        if self.client is not None:
            await self.client.aclose()
            self.client = None

    def wait_for_dead_clients(self) -> None:
        """Wait until the database has finished the statements of killed processes."""
        orphaned = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND application_name <> %s"
            " AND backend_start < to_timestamp(%s)"
        )
        deadline = time.monotonic() + DYING_SECONDS
        with self.connect() as connection:
            while connection.execute(orphaned, [OURS, self._started_at]).fetchone() != (0,):
                assert time.monotonic() < deadline, "the backend of a dead client is still running"
                connection.execute("SELECT pg_sleep(0.005)")

    @property
    def own_url(self) -> str:
        """The database URL for this process, with a name of its own for its connections."""
        return f"{self.database_url}&application_name={OURS}"

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection of the test's own."""
        with psycopg.connect(self.own_url, autocommit=True) as connection:
            yield connection

    def staff_token(self) -> str:
        """Return a staff token, created once."""
        if self._token is None:
            self._token = LocalIssuer(self.settings()).admin_token("staff-1")
        return self._token

    def settings(self) -> Settings:
        """Return the settings with which this test reads what the processes wrote."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return Settings()

    def run(
        self, arguments: list[str], failpoint: Mapping[str, Any] | None = None
    ) -> DocvaultProcess:
        """Start a docvault command."""
        log = self.folder / f"log-{len(self.logs)}"
        self.logs.append(log)
        return self.fork_server.start(arguments, self.environment, log, failpoint)

    def log_text(self) -> str:
        """Return the log output of all processes."""
        return "".join(log.read_text() for log in self.logs if log.exists())


def files_below(root: Path) -> set[str]:
    """Return the keys of a filesystem store, listed without docvault."""
    return {
        f"{path.parent.name}/{path.name}"
        for path in root.glob("??/*/*")
        if path.is_file() and not path.is_relative_to(root / ".spool")
    }


def blobs_folder(deployment: Deployment) -> Path:
    """Return the directory of a filesystem store."""
    return Path(urlsplit(deployment.settings().effective_storage_url).path)


def objects_below(server: S3Server, prefix: str) -> set[str]:
    """Return the keys of blobs in an S3 store, listed without docvault."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = {item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])}
    return {key for key in keys if key.partition("/")[0] not in OTHER_FOLDERS}


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """The process that forks all docvault processes of the run."""
    with ForkServer() as started:
        yield started


MakeDeployment = Callable[..., Deployment]


@pytest.fixture
async def make_deployment(
    request: pytest.FixtureRequest,
    fork_server: ForkServer,
    postgres: EmbeddedPostgres,
    data_dir: Path,
) -> AsyncIterator[MakeDeployment]:
    """Create a deployment with its own database on a store of the given kind.

    The database is on the shared server of the run, or on one that the test may stop.
    """
    made: list[Deployment] = []

    def make(store: str, *, own: EmbeddedPostgres | None = None, **settings: str) -> Deployment:
        number = next(_NUMBERS)
        database_url = (own or postgres).create_database(f"torture_{number}")
        migrate(database_url)
        folder = data_dir.parent
        environment = {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "DOCVAULT_DATA_DIR": str(folder / "data"),
            "DOCVAULT_DATABASE_URL": database_url,
            "DOCVAULT_SECRET_KEY": SECRET_KEY,
            "DOCVAULT_LOG_LEVEL": "warning",
        }
        if store == "s3":
            server: S3Server = request.getfixturevalue("s3_server")
            prefix = f"torture-{number}/"
            environment |= {
                **server.environment(),
                "DOCVAULT_STORAGE_URL": f"s3://{BUCKET}/{prefix}",
                **settings,
            }
            deployment = Deployment(
                fork_server,
                folder,
                database_url,
                environment,
                lambda: objects_below(server, prefix),
            )
        else:
            environment |= settings
            deployment = Deployment(
                fork_server,
                folder,
                database_url,
                environment,
                lambda: files_below(blobs_folder(deployment)),
            )
        made.append(deployment)
        return deployment

    yield make
    for deployment in made:
        deployment.kill_process()
        await deployment.close_client()


def embedded_deployment(fork_server: ForkServer, data_dir: Path) -> Deployment:
    """Return docvault without any settings, with everything in one directory."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "DOCVAULT_DATA_DIR": str(data_dir),
        "DOCVAULT_LOG_LEVEL": "warning",
    }
    url = f"postgresql://docvault@/docvault?host={quote(str(data_dir / 'postgres'), safe='')}"
    return Deployment(
        fork_server, data_dir.parent, url, environment, lambda: files_below(data_dir / "blobs")
    )
