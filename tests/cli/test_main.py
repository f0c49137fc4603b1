"""The command line, run in this process against the test's own database and store."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import httpx
import pytest
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import upload_of
from tests.factories.stored import (
    delete_stored_bytes,
    flipped,
    overwrite,
    stored_bytes,
    stored_keys,
)
from tests.fixtures.callers import with_headers
from tests.fixtures.commands import Run
from tests.fixtures.server import DOCVAULT

from docvault.domain.scopes import Scope, StaffRole
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.settings import SECRET_BYTES, Settings

ROOT = Path(__file__).parents[2]
PATH = "/v1/admin/customers/c-1/documents/contract"


class TestToken:
    """docvault token."""

    async def test_last_line_is_valid_admin_token(self, run: Run, http: httpx.AsyncClient) -> None:
        outcome = await run("token", "admin")
        headers = {"Authorization": f"Bearer {outcome.last_line}"}
        response = await http.get("/v1/admin/document-types", headers=headers)
        assert (outcome.status, response.status_code) == (0, 200)

    async def test_admin_token_can_have_subject(self, run: Run, resources: Resources) -> None:
        outcome = await run("token", "admin", "--subject", "jan")
        claims = await resources.tokens.verify(outcome.last_line)
        assert (claims.subject, claims.is_admin, claims.is_customer) == ("jan", True, False)

    async def test_last_line_is_auditor_token(self, run: Run, resources: Resources) -> None:
        outcome = await run("token", "auditor", "--subject", "kim")
        claims = await resources.tokens.verify(outcome.last_line)
        assert (claims.subject, claims.roles) == ("kim", frozenset({StaffRole.AUDITOR}))

    async def test_last_line_is_customer_token(self, run: Run, resources: Resources) -> None:
        outcome = await run("token", "customer", "c-1")
        claims = await resources.tokens.verify(outcome.last_line)
        assert (claims.customer, claims.is_admin, claims.is_customer) == ("c-1", False, True)

    @pytest.mark.parametrize("arguments", [["admin"], ["auditor"], ["customer", "c-1"]])
    async def test_token_is_not_issued_with_identity_provider(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        monkeypatch.setenv("DOCVAULT_JWT_JWKS_URL", "https://idp.example/jwks")
        monkeypatch.setenv("DOCVAULT_JWT_ISSUER", "https://idp.example")
        outcome = await run("token", *arguments)
        assert (outcome.status, outcome.output) == (1, "")
        assert "identity provider" in outcome.errors


@pytest.mark.usefixtures("on_database")
class TestApiKey:
    """docvault api-key create."""

    @pytest.mark.req("R-112", "R-113")
    async def test_last_line_is_key_with_given_scopes(
        self, run: Run, http: httpx.AsyncClient
    ) -> None:
        outcome = await run("api-key", "create", "--name", "crm", "--scope", "types:read")
        client = with_headers(http, {"X-API-Key": outcome.last_line})
        assert outcome.status == 0
        assert (await client.get("/v1/integration/document-types")).status_code == 200
        assert (await client.get("/v1/integration/customers/c-1")).status_code == 403

    async def test_several_scopes_can_be_given(self, run: Run, admin: httpx.AsyncClient) -> None:
        scopes = [Scope.GATE_READ, Scope.CONTENT_READ]
        await run("api-key", "create", "--name", "crm", *(f"--scope={scope}" for scope in scopes))
        (key,) = (await admin.get("/v1/admin/api-keys")).json()["items"]
        assert (key["name"], set(key["scopes"])) == ("crm", set(scopes))

    async def test_creation_is_audited(self, run: Run, admin: httpx.AsyncClient) -> None:
        await run("api-key", "create", "--name", "crm", "--scope", "gate:read")
        (event,) = (await admin.get("/v1/admin/audit-events")).json()["items"]
        assert (event["action"], event["actor"]["kind"]) == ("api_key.create", "system")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--name", "crm"],
            ["--scope", "gate:read"],
            ["--name", "crm", "--scope", "everything"],
        ],
    )
    async def test_invalid_usage_is_explained(self, run: Run, arguments: list[str]) -> None:
        outcome = await run("api-key", "create", *arguments)
        assert (outcome.status, outcome.output) == (2, "")
        assert "--scope" in outcome.errors or "--name" in outcome.errors

    async def test_blank_name_is_explained(self, run: Run) -> None:
        outcome = await run("api-key", "create", "--name", " ", "--scope", "gate:read")
        assert (outcome.status, outcome.output) == (1, "")
        assert "name" in outcome.errors
        assert "settings" not in outcome.errors


@pytest.mark.usefixtures("on_database", "stored")
class TestErase:
    """docvault erase."""

    @pytest.mark.req("R-100")
    async def test_documents_are_erased(
        self, run: Run, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        outcome = await run("erase", "c-1")
        assert outcome.status == 0
        await finish_erasures(resources)
        erasure = (await admin.get(f"/v1/admin/erasures/{outcome.last_line}")).json()
        assert (erasure["state"], erasure["counts"]["documents"]) == ("completed", 1)
        assert (await admin.get("/v1/admin/customers/c-1")).status_code == 404
        assert [blob async for blob in resources.store.list_blobs()] == []

    @pytest.mark.req("R-105")
    async def test_repeated_erase_returns_same_erasure(self, run: Run) -> None:
        assert (await run("erase", "c-1")).last_line == (await run("erase", "c-1")).last_line

    async def test_unknown_customer_is_explained(self, run: Run) -> None:
        outcome = await run("erase", "nobody")
        assert (outcome.status, outcome.output) == (1, "")
        assert outcome.errors == "docvault: The customer does not exist.\n"


@pytest.mark.usefixtures("on_database", "stored")
class TestErasuresReapply:
    """docvault erasures reapply."""

    @pytest.mark.req("R-101")
    async def test_erasure_undone_by_restore_is_reapplied(
        self, run: Run, resources: Resources
    ) -> None:
        await run("erase", "c-1")
        await finish_erasures(resources)
        async with resources.database.transaction() as session:
            query = text("DELETE FROM erasures RETURNING customer_id")
            customer_id = await session.scalar(query)
        outcome = await run("verify")
        assert outcome.status == 1
        assert f"to reapply: the erasure of customer {customer_id}" in outcome.output
        outcome = await run("erasures", "reapply")
        assert (outcome.status, outcome.last_line) == (0, "1")
        await finish_erasures(resources)
        assert (await run("verify")).status == 0

    async def test_nothing_to_reapply_prints_zero(self, run: Run) -> None:
        outcome = await run("erasures", "reapply")
        assert (outcome.status, outcome.last_line) == (0, "0")


@pytest.mark.req("R-009")
@pytest.mark.usefixtures("on_database", "stored")
class TestVerify:
    """docvault verify."""

    @pytest.mark.parametrize("options", [[], ["--rehash"]])
    async def test_sound_store_exits_with_0(self, run: Run, options: list[str]) -> None:
        outcome = await run("verify", *options)
        assert outcome.status == 0
        # The progress bar is shown on a terminal only.
        assert (
            outcome.output == "1 checked, 0 missing, 0 corrupt, 0 orphaned, 0 erasures to reapply\n"
        )

    async def test_missing_bytes_exit_with_1(self, run: Run, resources: Resources) -> None:
        (key,) = await stored_keys(resources)
        await delete_stored_bytes(resources)
        outcome = await run("verify")
        assert outcome.status == 1
        place = "customer c-1, document contract, version 1, file 1"
        assert f"missing: {key} ({place})" in outcome.output.splitlines()
        assert "c-1" not in outcome.errors

    async def test_corrupt_bytes_exit_with_1_when_rehashed(
        self, run: Run, resources: Resources
    ) -> None:
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, flipped(await stored_bytes(resources, key)))
        assert (await run("verify")).status == 0
        outcome = await run("verify", "--rehash")
        assert outcome.status == 1
        place = "customer c-1, document contract, version 1, file 1"
        assert f"corrupt: {key} ({place})" in outcome.output.splitlines()

    async def test_corrupt_preview_is_reported_as_preview(
        self, run: Run, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of(files.png(), "a.png"))
        files_alone = set(await stored_keys(resources))
        assert (await admin.get(f"{PATH}/preview?size=small")).status_code == 200
        (key,) = set(await stored_keys(resources)) - files_alone
        await overwrite(resources, key, b"x")
        outcome = await run("verify")
        place = "customer c-1, document contract, version 2, file 1, preview small"
        assert f"corrupt: {key} ({place})" in outcome.output.splitlines()


@pytest.mark.req("R-114")
class TestOpenapi:
    """docvault openapi."""

    async def test_committed_files_are_current(self, run: Run) -> None:
        outcome = await run("openapi", "--check", "--directory", str(ROOT / "openapi"))
        assert (outcome.status, outcome.errors) == (0, "")

    async def test_written_files_are_current(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "openapi"
        await run("openapi", "--directory", str(folder))
        assert {path.name for path in folder.iterdir()} == {
            "admin.json",
            "customer.json",
            "integration.json",
            "openapi.json",
        }
        assert (await run("openapi", "--check", "--directory", str(folder))).status == 0

    async def test_stale_file_is_named_and_exits_with_1(self, run: Run, tmp_path: Path) -> None:
        await run("openapi", "--directory", str(tmp_path))
        stale = tmp_path / "customer.json"
        stale.write_text(stale.read_text().replace('"3.1', '"3.0'))
        outcome = await run("openapi", "--check", "--directory", str(tmp_path))
        assert outcome.status == 1
        assert "customer.json" in outcome.errors
        assert "admin.json" not in outcome.errors
        assert '"3.0' in stale.read_text()

    async def test_missing_files_are_stale(self, run: Run, tmp_path: Path) -> None:
        outcome = await run("openapi", "--check", "--directory", str(tmp_path / "nothing"))
        assert outcome.status == 1
        assert not (tmp_path / "nothing").exists()


class TestSettings:
    """Invalid settings: explained in one line, without their values."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DOCVAULT_MAX_CONCURRENT_UPLOADS", "canary"),
            ("DOCVAULT_JWT_ALGORITHMS", "HS256,canary"),
            ("DOCVAULT_LOG_LEVEL", "canary"),
            ("DOCVAULT_SECRET_KEY", "canary"),
            ("DOCVAULT_SECRET_KEY", ""),
            ("DOCVAULT_DATABASE_URL", "postgresql://docvault:change-me-canary@host/docvault"),
            ("DOCVAULT_STORAGE_URL", "ftp://canary:canary@host/x"),
            ("DOCVAULT_JWT_JWKS_URL", "https://canary.example/jwks"),
        ],
    )
    @pytest.mark.usefixtures("on_database")
    async def test_invalid_setting_is_named_without_value(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        outcome = await run("verify")
        assert outcome.status == 1
        assert name in outcome.errors
        assert "canary" not in outcome.errors + outcome.output
        assert len(outcome.errors.splitlines()) == 1

    async def test_unreadable_secret_is_named(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "docvault_secret_key").write_bytes(b"canary\xff")
        monkeypatch.setitem(Settings.model_config, "secrets_dir", tmp_path)
        outcome = await run("verify")
        assert (outcome.status, outcome.output) == (1, "")
        assert outcome.errors.startswith("docvault: invalid settings: ")
        assert "secret_key" in outcome.errors
        assert "canary" not in outcome.errors

    @pytest.mark.usefixtures("on_database")
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_failed_startup_is_reported(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: str
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("DOCVAULT_STORAGE_URL", (tmp_path / "file" / "blobs").as_uri())
        done = subprocess.run(
            [DOCVAULT, "serve", "--port", "0", "--workers", workers],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "docvault: invalid settings: DOCVAULT_STORAGE_URL must be a folder in which docvault"
            " may write: Not a directory\n"
        )

    @pytest.mark.usefixtures("on_database")
    @pytest.mark.parametrize("command", ["migrate", "doctor", "verify"])
    async def test_option_that_the_database_refuses_is_explained(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        url = os.environ["DOCVAULT_DATABASE_URL"]
        separator = "&" if "?" in url else "?"
        monkeypatch.setenv("DOCVAULT_DATABASE_URL", f"{url}{separator}options=-ccanary%3D1")
        outcome = await run(command)
        assert outcome.status == 1
        assert "canary" not in outcome.errors + outcome.output
        assert "options of DOCVAULT_DATABASE_URL" in outcome.errors + outcome.output
        assert "Traceback" not in outcome.errors

    async def test_aws_profile_that_is_not_there_is_explained(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_STORAGE_URL", "s3://documents")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        outcome = await run("bucket")
        assert (outcome.status, outcome.output) == (1, "")
        assert outcome.errors.startswith("docvault: invalid settings: AWS_…: ")
        assert "nobody" in outcome.errors
        assert len(outcome.errors.splitlines()) == 1

    async def test_unreachable_database_is_explained(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCVAULT_DATABASE_URL", "postgresql://u:canary@127.0.0.1:1/d")
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", token_hex(SECRET_BYTES))
        outcome = await run("migrate")
        assert outcome.status == 1
        why = "nothing listens at its address"
        assert outcome.errors == (
            f"docvault: the database of DOCVAULT_DATABASE_URL does not respond: {why}\n"
        )

    async def test_silent_database_is_explained_soon(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://u:canary@127.0.0.1:{silent.getsockname()[1]}/d"
            monkeypatch.setenv("DOCVAULT_DATABASE_URL", url)
            monkeypatch.setenv("DOCVAULT_SECRET_KEY", token_hex(SECRET_BYTES))
            async with asyncio.timeout(30):
                outcome = await run("migrate")
        assert outcome.status == 1
        assert outcome.errors.endswith("does not respond: it did not respond in time\n")

    @pytest.mark.parametrize(
        "command", [("verify",), ("erase", "c-1"), ("erasures", "reapply")], ids=lambda c: c[0]
    )
    async def test_data_directory_without_database_is_reported_and_not_created(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        monkeypatch.delenv("DOCVAULT_DATABASE_URL", raising=False)
        monkeypatch.setenv("DOCVAULT_DATA_DIR", str(tmp_path / "empty"))
        outcome = await run(*command)
        assert (outcome.status, outcome.output) == (1, "")
        assert "there is no database" in outcome.errors
        assert not (tmp_path / "empty").exists()

    async def test_worker_without_a_database_is_explained(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DOCVAULT_DATABASE_URL", raising=False)
        outcome = await run("worker")
        assert (outcome.status, outcome.output) == (1, "")
        assert "DOCVAULT_DATABASE_URL" in outcome.errors


class TestHelp:
    """docvault --help."""

    def test_module_runs_and_lists_every_command(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "docvault", "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        for command in ("serve", "worker", "migrate", "token", "api-key", "erase", "verify"):
            assert command in done.stdout

    def test_help_and_token_import_no_server_library(self) -> None:
        program = (
            "import sys; from docvault.cli import main, tokens;"
            "sys.exit(', '.join({'fastapi', 'sqlalchemy', 'psycopg'} & sys.modules.keys()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr.strip() == ""

    async def test_unknown_command_exits_with_2(self, run: Run) -> None:
        assert (await run("nothing")).status == 2


@pytest.mark.usefixtures("on_database")
class TestMigrate:
    """docvault migrate."""

    async def test_migrate_is_silent_and_idempotent(self, run: Run) -> None:
        for _ in range(2):
            outcome = await run("migrate")
            assert (outcome.status, outcome.output, outcome.errors) == (0, "", "")
