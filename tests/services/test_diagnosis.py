"""The checks of `docvault doctor` and of every start."""

import dataclasses
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from docvault.auth.jwks import RemoteKeys
from docvault.auth.tokens import TokenVerifier
from docvault.db.engine import Database
from docvault.db.health import DatabaseSetup, DatabaseState
from docvault.domain.findings import Finding, Severity
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.scanning.clamd import Scanner
from docvault.services.diagnosis import (
    _judge_clock,
    _judge_setup,
    _judge_state,
    check_database,
    check_surroundings,
    diagnose,
)
from docvault.services.resources import Resources

SOUND = DatabaseState(
    is_migrated=True,
    is_newer=False,
    is_read_only=False,
    now=datetime.now(UTC),
    free_connections=50,
)
SOUND_SETUP = DatabaseSetup(has_checksums=True, forbidden=[])


async def test_sound_deployment_passes_every_check(resources: Resources) -> None:
    # The machine of the tests may limit memory, and hold its files in it.
    findings = [one async for one in diagnose(resources) if one.check not in {"memory", "spool"}]
    assert {one.check for one in findings} == {"database", "clock", "store", "issuer default"}
    wrong = [str(one) for one in findings if one.severity >= Severity.PROBLEM]
    assert [line for line in wrong if "in memory" not in line] == []


async def test_unreachable_database_does_not_stop_other_checks(resources: Resources) -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/none")
    broken = dataclasses.replace(resources, database=database)
    findings = {one.check: one async for one in diagnose(broken)}
    await database.close()
    assert findings["database"].problem == "nothing listens at its address"
    assert findings["database"].severity is Severity.FATAL
    assert findings["issuer default"].severity is Severity.OK


async def test_unmigrated_database_is_fatal(
    resources: Resources, postgres: EmbeddedPostgres
) -> None:
    database = Database(postgres.create_database("doctor_unmigrated"))
    findings = await check_database(dataclasses.replace(resources, database=database))
    await database.close()
    assert (
        Finding(
            "database",
            "it is not at this version",
            "run `docvault migrate`",
            Severity.FATAL,
        )
        in findings
    )


async def test_database_of_newer_version_is_reported(
    resources: Resources, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert revision is not None
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        try:
            findings = await check_database(resources)
        finally:
            connection.execute("UPDATE alembic_version SET version_num = %s", revision)
    (finding,) = [one for one in findings if one.severity >= Severity.PROBLEM]
    assert (finding.problem, finding.severity) == (
        "it was migrated by a newer version",
        Severity.PROBLEM,
    )


@pytest.mark.req("B-225")
async def test_missing_rights_are_fatal_and_named(resources: Resources, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE nearly")
        try:
            connection.execute("GRANT USAGE ON SCHEMA public TO nearly")
            connection.execute(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO nearly"
            )
            connection.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO nearly")
            connection.execute("REVOKE UPDATE ON customers FROM nearly")
            connection.execute("REVOKE USAGE ON SEQUENCE fact_numbers FROM nearly")
            mark = "&" if "?" in database_url else "?"
            database = Database(f"{database_url}{mark}options=-crole%3Dnearly")
            findings = await check_database(dataclasses.replace(resources, database=database))
            await database.close()
        finally:
            connection.execute("DROP OWNED BY nearly")
            connection.execute("DROP ROLE nearly")
    (finding,) = [one for one in findings if one.severity is Severity.FATAL]
    assert finding.problem == "the role may not use customers, fact_numbers"


def test_many_missing_rights_are_counted() -> None:
    setup = dataclasses.replace(SOUND_SETUP, forbidden=["a", "b", "c", "d", "e"])
    (finding,) = _judge_setup(setup)
    assert finding.problem == "the role may not use a, b, c and 2 more"


def test_missing_checksums_are_a_hint() -> None:
    setup = dataclasses.replace(SOUND_SETUP, has_checksums=False)
    (finding,) = _judge_setup(setup)
    assert finding.severity is Severity.HINT
    assert str(finding).startswith("database: hint: data checksums are off")


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (
            dataclasses.replace(SOUND, is_read_only=True),
            "database: it is read-only; connect to the primary",
        ),
        (
            dataclasses.replace(SOUND, free_connections=3),
            (
                "database: 3 connections are free, and a process opens 10; "
                "raise max_connections or lower DOCVAULT_DATABASE_POOL_SIZE"
            ),
        ),
    ],
)
def test_problem_of_database_has_advice(state: DatabaseState, line: str) -> None:
    assert list(map(str, _judge_state(state, 10))) == [line]


@pytest.mark.parametrize("minutes", [-2, 2])
def test_wrong_clock_is_reported(minutes: int) -> None:
    clock = _judge_clock(datetime.now(UTC) + timedelta(minutes=minutes))
    assert clock.problem == "it differs by 120 seconds from the database's"


async def test_unreachable_issuer_is_reported(resources: Resources) -> None:
    async with httpx.AsyncClient() as client:
        (trusted,) = resources.tokens.trusted
        keys = RemoteKeys("http://127.0.0.1:9/jwks", client)
        tokens = TokenVerifier([dataclasses.replace(trusted, keys=keys)])
        broken = dataclasses.replace(resources, tokens=tokens)
        findings = {one.check: one async for one in diagnose(broken)}
    assert findings["issuer default"].problem == "its keys cannot be fetched: connection refused"


async def test_unreachable_scanner_is_reported(resources: Resources) -> None:
    broken = dataclasses.replace(resources, scanner=Scanner("tcp://127.0.0.1:9"))
    findings = {
        one.check: one async for one in check_surroundings(broken, processes=1, is_worker=False)
    }
    assert findings["scanner"].severity is Severity.PROBLEM
