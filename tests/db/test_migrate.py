"""Migrations: up, down and up again, matching the table definitions, safe when concurrent."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from secrets import token_hex

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection

from docvault.db import migrate as migrations
from docvault.db.migrate import migrate
from docvault.db.revisions import head_revision
from docvault.db.sessions import SessionSettings, UnsuitableDatabase
from docvault.db.tables import Base
from docvault.embedded.postgres import EmbeddedPostgres

_NUMBERS = count()
DOCUMENTS_BEFORE_0008 = """
INSERT INTO document_types (
    id, key, name, folded_name, upload_mode, collects_fields, max_files, position
) VALUES (gen_random_uuid(), 't', 'T', 't', 'required', false, 1, 0);
INSERT INTO customers (id, external_id, tags, created_at)
SELECT gen_random_uuid(), id, '{}', '2024-01-01T00:00:00Z' FROM unnest(ARRAY['c-1', 'c-2']) AS id;
INSERT INTO documents (
    id, customer_id, document_type_id, last_version, field_values, created_at, updated_at
)
SELECT gen_random_uuid(), customers.id, document_types.id, 2, '{}', '2024-01-02T00:00:00Z',
    '2024-01-04T00:00:00Z'
FROM customers, document_types WHERE external_id = 'c-1';
INSERT INTO document_versions (
    id, document_id, number, uploaded_at, uploaded_by_kind, uploaded_by_id, field_values
)
SELECT gen_random_uuid(), documents.id, 2, '2024-01-03T00:00:00Z', 'integration', 'k', '{}'
FROM documents;
UPDATE documents SET current_version_id = document_versions.id FROM document_versions;
"""


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> str:
    """A database without tables."""
    return postgres.create_database(f"migrations_{next(_NUMBERS)}")


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine(
        "postgresql+psycopg://", creator=SessionSettings(empty_url).connect_unlimited
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def is_ours(name: str | None, type_: str, _: object) -> bool:
    return not (type_ == "table" and name is not None and name.startswith("procrastinate_"))


def downgrade(url: str, revision: str) -> None:
    config = migrations._config()
    config.attributes["url"] = url
    command.downgrade(config, revision)


def upgrade(url: str, revision: str) -> None:
    config = migrations._config()
    config.attributes["url"] = url
    command.upgrade(config, revision)


def objects(url: str) -> list[str]:
    """Every table, index, type and function of the schema."""
    query = """
        SELECT 'r:' || relkind::text || ':' || relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'f:' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 't:' || typname FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
        ORDER BY 1
    """
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query)]


class TestMigrate:
    """migrate()."""

    def test_empty_database_is_migrated_to_head(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert row == (head_revision(),)

    def test_migrating_again_changes_nothing(self, empty_url: str) -> None:
        migrate(empty_url)
        before = objects(empty_url)
        migrate(empty_url)
        assert objects(empty_url) == before

    def test_downgrade_and_upgrade_are_symmetric(self, empty_url: str) -> None:
        migrate(empty_url)
        made = objects(empty_url)
        downgrade(empty_url, "base")
        left = [name for name in objects(empty_url) if "alembic_version" not in name]
        assert left == []
        migrate(empty_url)
        assert objects(empty_url) == made

    def test_portal_settings_has_one_row(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            row = connection.execute(
                "SELECT section_enabled, gate_enabled, customer_may_delete FROM portal_settings"
            ).fetchall()
        assert row == [(True, False, False)]

    @pytest.mark.req("R-007")
    def test_no_document_type_exists_initially(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            assert connection.execute("SELECT count(*) FROM document_types").fetchone() == (0,)

    def test_facts_of_older_files_are_unknown_unless_they_have_none(self, empty_url: str) -> None:
        upgrade(empty_url, "0001")
        with psycopg.connect(empty_url) as connection:
            connection.execute("SET session_replication_role = replica")
            for media_type in ("image/png", "text/csv", "application/pdf"):
                connection.execute(
                    "INSERT INTO document_files (id, version_id, blob_id, number, filename,"
                    " media_type, size_bytes, sha256, has_active_content, scan, preview_failed)"
                    " VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'a',"
                    " %s, 1, '', false, 'clean', false)",
                    [media_type],
                )
        upgrade(empty_url, "0003")
        with psycopg.connect(empty_url) as connection:
            rows = connection.execute(
                "SELECT media_type, has_attachments, needs_password FROM document_files ORDER BY 1"
            ).fetchall()
        assert rows == [
            ("application/pdf", None, None),
            ("image/png", False, False),
            ("text/csv", False, False),
        ]

    def test_events_that_wait_during_the_migration_get_positions(self, empty_url: str) -> None:
        upgrade(empty_url, "0006")
        add = "INSERT INTO events (id, type, data) VALUES (gen_random_uuid(), 'a.b', '{}')"
        number = "SELECT sequence_events(10)"
        with psycopg.connect(empty_url, autocommit=True) as connection:
            connection.execute(add)
            assert connection.execute(number).fetchone() == (1,)
            connection.execute(add)
        upgrade(empty_url, "0007")
        with psycopg.connect(empty_url, autocommit=True) as connection:
            assert connection.execute(number).fetchone() == (1,)
            last = connection.execute("SELECT last FROM event_log").fetchone()
        assert last == (2,)
        downgrade(empty_url, "0006")
        with psycopg.connect(empty_url, autocommit=True) as connection:
            connection.execute(add)
            assert connection.execute(number).fetchone() == (1,)

    def test_words_of_older_names_are_filled_in(self, empty_url: str) -> None:
        upgrade(empty_url, "0008")
        add = (
            "INSERT INTO customers (id, external_id, name, tags) VALUES"
            " (gen_random_uuid(), %s, %s, '{}')"
        )
        words = "SELECT external_id, word, tail FROM customer_words ORDER BY 1, 3"
        with psycopg.connect(empty_url) as connection:
            connection.execute(add, ["c-1", "Anna de Bos"])
            connection.execute(add, ["c-2", None])
        upgrade(empty_url, "0010")
        of_first = [
            ("c-1", "anna", "anna de bos"),
            ("c-1", "bos", "bos"),
            ("c-1", "de", "de bos"),
        ]
        with psycopg.connect(empty_url) as connection:
            assert connection.execute(words).fetchall() == of_first
            connection.execute(add, ["c-3", "(Bos)"])
            found = connection.execute(words).fetchall()
            assert found == [*of_first, ("c-3", "", "(bos)"), ("c-3", "bos", "bos)")]
            connection.execute("DELETE FROM customers WHERE external_id = 'c-1'")
            connection.execute("UPDATE customers SET name = NULL")
            assert connection.execute(words).fetchall() == []
        downgrade(empty_url, "0008")
        with psycopg.connect(empty_url) as connection:
            connection.execute(add, ["c-4", "Anna"])

    def test_times_of_older_changes_and_uploaders_are_filled_in(self, empty_url: str) -> None:
        upgrade(empty_url, "0007")
        with psycopg.connect(empty_url) as connection:
            connection.execute(DOCUMENTS_BEFORE_0008)
        upgrade(empty_url, "0008")
        with psycopg.connect(empty_url) as connection:
            customers = connection.execute(
                "SELECT external_id, extract(day FROM documents_changed_at AT TIME ZONE 'UTC'),"
                " extract(day FROM last_uploaded_at AT TIME ZONE 'UTC') FROM customers ORDER BY 1"
            ).fetchall()
            kinds = connection.execute("SELECT uploaded_by_kind FROM documents").fetchall()
            connection.execute("DELETE FROM documents")
            facts = connection.execute("SELECT fact_set_id FROM customers").fetchall()
        assert customers == [("c-1", 4, 3), ("c-2", 1, None)]
        assert kinds == [("integration",)]
        assert facts == [(0,), (0,)]

    def test_older_customers_get_pseudonyms_of_their_own(self, empty_url: str) -> None:
        upgrade(empty_url, "0008")
        with psycopg.connect(empty_url) as connection:
            connection.execute(DOCUMENTS_BEFORE_0008)
        upgrade(empty_url, "0009")
        with psycopg.connect(empty_url) as connection:
            rows = connection.execute("SELECT pseudonym FROM customers").fetchall()
        pseudonyms = [pseudonym for (pseudonym,) in rows]
        assert len(set(pseudonyms)) == 2
        assert all(re.fullmatch("anon-[0-9a-f]{32}", pseudonym) for pseudonym in pseudonyms)

    def test_concurrent_migrations_are_safe(self, empty_url: str) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "docvault", "migrate"],
                env=os.environ
                | {"DOCVAULT_DATABASE_URL": empty_url, "DOCVAULT_SECRET_KEY": token_hex(32)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=60)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        assert "r:r:customers" in objects(empty_url)


class TestTables:
    """The table definitions and the migrations."""

    def test_models_match_migrations(self, empty_url: str, connection: Connection) -> None:
        migrate(empty_url)
        context = MigrationContext.configure(
            connection,
            opts={"include_name": is_ours, "compare_type": True, "compare_server_default": True},
        )
        assert compare_metadata(context, Base.metadata) == []

    def test_every_revision_has_description(self) -> None:
        script = ScriptDirectory.from_config(migrations._config())
        assert all((revision.doc or "").strip() for revision in script.walk_revisions())


def test_database_of_a_newer_version_is_refused_in_a_line(empty_url: str) -> None:
    migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnsuitableDatabase, match="by a newer version of docvault"):
        migrate(empty_url)
