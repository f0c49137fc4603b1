"""docvault with a PostgreSQL of its operator: poolers, roles, TLS, standbys and failover."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import certifi
import httpx
import psycopg
import pytest
from tests.factories.certificates import make_private_ca
from tests.factories.setups import upload_of
from tests.fixtures.network_postgres import (
    PASSWORD,
    VERSIONS,
    NetworkPostgres,
    network_postgres,
    pgbouncer,
    standby_of,
)
from tests.fixtures.server import DOCVAULT, RunningServer, running_server

pytestmark = pytest.mark.system

SECONDS = 60
CUSTOMERS = 30
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[NetworkPostgres]:
    with network_postgres(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def oldest() -> Iterator[NetworkPostgres]:
    with network_postgres(VERSIONS[0]) as server:
        yield server


@pytest.fixture
def settings(data_dir: Path) -> dict[str, str]:
    return {
        "DOCVAULT_DATA_DIR": str(data_dir),
        "DOCVAULT_SECRET_KEY": token_hex(32),
        "DOCVAULT_WORKER": "embedded",
    }


def command(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [DOCVAULT, *arguments],
        env={"PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def staff_client(server: RunningServer) -> httpx.Client:
    token = subprocess.run(
        [DOCVAULT, "token", "admin"],
        env=server.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=SECONDS)


@contextmanager
def staff_of(data_dir: Path, **settings: str) -> Iterator[httpx.Client]:
    """Serve, and yield a client of a member of staff."""
    settings.pop("DOCVAULT_DATA_DIR")
    with running_server(data_dir, **settings) as running, staff_client(running) as client:
        yield client


def use(staff: httpx.Client) -> None:
    """Upload for many customers at once, and erase one; check that jobs and times work."""
    assert staff.get("/readyz").json()["status"] == "ok"
    staff.put("/v1/admin/document-types/contract", json={"name": "Contract"})
    if staff.get("/v1/admin/document-types").json()["items"] == []:
        staff.post("/v1/admin/document-types", json={"name": "Contract"}).raise_for_status()

    def upload(number: int) -> httpx.Response:
        path = f"/v1/admin/customers/c-{number}"
        staff.put(path, json={}).raise_for_status()
        return staff.put(f"{path}/documents/contract", **upload_of()).raise_for_status()

    with ThreadPoolExecutor(12) as pool:
        documents = list(pool.map(upload, range(CUSTOMERS)))
    assert {one.json()["uploaded_at"][-1] for one in documents} == {"Z"}
    erasure = staff.delete("/v1/admin/customers/c-0").headers["Location"]
    deadline = time.monotonic() + SECONDS
    while staff.get(erasure).json()["state"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.2)


class TestPooler:
    """Debian's PgBouncer."""

    @pytest.mark.req("B-200")
    def test_session_mode_with_its_defaults_works(
        self, server: NetworkPostgres, data_dir: Path, settings: dict[str, str]
    ) -> None:
        server.run("ALTER ROLE docvault SET timezone = 'America/Los_Angeles'")
        with pgbouncer(server) as port:
            url = f"postgresql://docvault:{PASSWORD}@127.0.0.1:{port}/docvault"
            with staff_of(data_dir, **settings, DOCVAULT_DATABASE_URL=url) as staff:
                use(staff)
        server.run("ALTER ROLE docvault RESET timezone")

    @pytest.mark.req("B-200")
    @pytest.mark.parametrize(
        ("mode", "arguments"),
        [
            ("transaction", ["serve", "--port", "0"]),
            ("transaction", ["worker"]),
            ("transaction", ["migrate"]),
            ("statement", ["migrate"]),
        ],
    )
    def test_shared_sessions_are_refused_in_one_line(
        self,
        oldest: NetworkPostgres,
        settings: dict[str, str],
        mode: str,
        arguments: list[str],
    ) -> None:
        with pgbouncer(oldest, pool_mode=mode) as port:
            url = f"postgresql://docvault:{PASSWORD}@127.0.0.1:{port}/docvault"
            done = command(*arguments, **settings, DOCVAULT_DATABASE_URL=url)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "does not keep sessions" in line
        assert "pool_mode" in line

    def test_doctor_reports_shared_sessions(
        self, oldest: NetworkPostgres, settings: dict[str, str]
    ) -> None:
        with pgbouncer(oldest, pool_mode="transaction") as port:
            url = f"postgresql://docvault:{PASSWORD}@127.0.0.1:{port}/docvault"
            done = command("doctor", **settings, DOCVAULT_DATABASE_URL=url)
        assert done.returncode == 1
        assert "does not keep sessions" in done.stdout


def documented_rights() -> str:
    """Return the statements of the guide that separate the owner from docvault's role."""
    text = (ROOT / "docs" / "how-to" / "postgresql.md").read_text()
    return text.partition("```sql\n")[2].partition("```")[0]


class TestRoles:
    """Migrations by the owner of the tables, everything else by a role without DDL."""

    @pytest.mark.req("B-202")
    def test_role_without_ddl_serves_after_owner_migrated(
        self, server: NetworkPostgres, data_dir: Path, settings: dict[str, str]
    ) -> None:
        server.run("CREATE DATABASE roles", "postgres")
        statements = (
            documented_rights()
            .replace("'…'", f"'{PASSWORD}'")
            .replace("DATABASE docvault", "DATABASE roles")
        )
        with psycopg.connect(server.url("roles"), autocommit=True) as connection:
            connection.execute(statements)
        owner = {**settings, "DOCVAULT_DATABASE_URL": server.url("roles", "docvault_owner")}
        limited = {**settings, "DOCVAULT_DATABASE_URL": server.url("roles", "docvault_app")}
        refused = command("serve", "--port", "0", **limited)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "may not migrate" in refused.stderr
        assert command("migrate", **owner).returncode == 0
        with staff_of(data_dir, **limited) as staff:
            use(staff)
        assert command("doctor", **limited).stdout.count(": ok") >= 5
        with (
            psycopg.connect(server.url("roles", "docvault_app")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE TABLE docvault.x ()")

    @pytest.mark.req("B-225")
    def test_missing_grant_ends_start_in_one_line_or_is_unavailable_with_its_cause(
        self, oldest: NetworkPostgres, data_dir: Path, settings: dict[str, str]
    ) -> None:
        oldest.run("CREATE DATABASE grants", "postgres")
        oldest.run(f"CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'")
        assert (
            command("migrate", **settings, DOCVAULT_DATABASE_URL=oldest.url("grants")).returncode
            == 0
        )
        oldest.run("GRANT SELECT ON alembic_version TO poor", "grants")
        poor = {
            **settings,
            "DOCVAULT_WORKER": "external",
            "DOCVAULT_DATABASE_URL": oldest.url("grants", "poor"),
        }
        for arguments in (["serve", "--port", "0"], ["worker"]):
            refused = command(*arguments, **poor)
            assert refused.returncode == 1
            (line,) = refused.stderr.splitlines()
            assert line.startswith("docvault: database: the role may not use api_keys, ")
        for kind, rights in (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE")):
            oldest.run(f"GRANT {rights} ON ALL {kind} IN SCHEMA public TO poor", "grants")
        with staff_of(data_dir, **poor) as staff:
            assert staff.get("/v1/admin/document-types").status_code == 200
            oldest.run("REVOKE SELECT ON document_types FROM poor", "grants")
            response = staff.get("/v1/admin/document-types")
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert "the role lacks a privilege" in data_dir.with_suffix(".log").read_text()
        oldest.run("DROP DATABASE grants WITH (FORCE)", "postgres")
        oldest.run("DROP ROLE poor", "postgres")


class TestTls:
    """A private certificate authority."""

    @pytest.mark.req("B-203")
    def test_private_authority_verifies_server(
        self, data_dir: Path, tmp_path: Path, settings: dict[str, str]
    ) -> None:
        make_private_ca(tmp_path)
        with network_postgres(VERSIONS[0]) as server:
            server.use_tls((tmp_path / "server.pem").read_bytes())
            url = f"{server.url()}?sslmode=verify-full"
            trusted = {"DOCVAULT_DATABASE_URL": url, "DOCVAULT_CA_FILE": str(tmp_path / "ca.pem")}
            with staff_of(data_dir, **settings, **trusted) as staff:
                assert staff.get("/readyz").json()["status"] == "ok"
                query = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                used = server.run(f"{query} WHERE datname = 'docvault' AND pid <> pg_backend_pid()")
            wrong = trusted | {"DOCVAULT_CA_FILE": certifi.where()}
            refused = command("migrate", **settings, **wrong)
        assert used == [(True,)]
        assert refused.stderr == (
            "docvault: the database of DOCVAULT_DATABASE_URL does not respond: its certificate is"
            " not signed by a trusted authority\n"
        )


class TestStandby:
    """A server that only reads, and a failover to it."""

    @pytest.mark.req("B-204")
    def test_standby_is_not_ready(
        self, server: NetworkPostgres, data_dir: Path, settings: dict[str, str]
    ) -> None:
        url = server.url()
        assert command("migrate", **settings, DOCVAULT_DATABASE_URL=url).returncode == 0
        with standby_of(server) as standby:
            own = {**settings, "DOCVAULT_WORKER": "external"}
            with staff_of(data_dir, **own, DOCVAULT_DATABASE_URL=standby.url()) as staff:
                response = staff.get("/readyz")
            only_writable = f"{standby.url()}?target_session_attrs=read-write"
            refused = command("migrate", **settings, DOCVAULT_DATABASE_URL=only_writable)
        assert (response.status_code, response.json()["detail"]) == (
            503,
            "The database is read-only.",
        )
        assert refused.stderr == (
            "docvault: the database of DOCVAULT_DATABASE_URL does not respond: no host accepts"
            " writes\n"
        )

    @pytest.mark.req("B-205")
    def test_failover_is_a_short_outage(
        self,
        data_dir: Path,
        settings: dict[str, str],
        record_property: Callable[[str, object], None],
    ) -> None:
        with network_postgres("18") as primary, standby_of(primary) as standby:
            url = (
                f"postgresql://docvault:{PASSWORD}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
                "/docvault?target_session_attrs=read-write"
            )
            with staff_of(data_dir, **settings, DOCVAULT_DATABASE_URL=url) as staff:
                use(staff)
                primary.stop(signal.SIGQUIT)
                assert staff.put("/v1/admin/customers/lost", json={}).status_code == 503
                standby.promote()
                promoted = time.monotonic()
                statuses: list[int] = []
                while not statuses or statuses[-1] >= 500:
                    assert time.monotonic() < promoted + SECONDS
                    statuses.append(staff.put("/v1/admin/customers/new", json={}).status_code)
                assert set(statuses) <= {201, 503}
                record_property("seconds_to_first_write", time.monotonic() - promoted)
                use(staff)
