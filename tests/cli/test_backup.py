"""`docvault backup` and `docvault restore`: keys, and what stops them."""

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from secrets import token_hex

import pytest
from tests.factories.stored import delete_stored_bytes
from tests.fixtures.commands import Run

from docvault.embedded.postgres import EmbeddedPostgres
from docvault.services.resources import Resources
from docvault.settings import SECRET_BYTES, Settings

pytestmark = [
    pytest.mark.req("B-219"),
    pytest.mark.own_store("restores into a second store"),
    pytest.mark.usefixtures("kept_umask", "on_database"),
]

_NUMBERS = count()


@pytest.fixture
def kept_umask() -> Iterator[None]:
    """The command sets that of its process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres: EmbeddedPostgres
) -> "Elsewhere":
    return Elsewhere(monkeypatch, tmp_path / "elsewhere", postgres)


class Elsewhere:
    """A second deployment, without a document."""

    def __init__(
        self, patch: pytest.MonkeyPatch, data_dir: Path, postgres: EmbeddedPostgres
    ) -> None:
        self._patch = patch
        self._postgres = postgres
        self.data_dir = data_dir

    def use(self) -> None:
        """Make the next commands use it."""
        url = self._postgres.create_database(f"restored_{next(_NUMBERS)}")
        self._patch.setenv("DOCVAULT_DATABASE_URL", url)
        self._patch.setenv("DOCVAULT_DATA_DIR", str(self.data_dir))


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.stat().st_mode & 0o077]


def change_revision(folder: Path, revision: str) -> None:
    file = folder / "backup.json"
    manifest = json.loads(file.read_text())
    manifest["database"]["revision"] = revision
    file.write_text(json.dumps(manifest))


@pytest.mark.usefixtures("stored")
class TestBackup:
    async def test_second_backup_copies_only_what_is_new(self, run: Run, folder: Path) -> None:
        first, second = await run("backup", str(folder)), await run("backup", str(folder))
        assert (first.status, first.last_line) == (
            0,
            "1 files copied, 0 kept, 0 removed, 0 records of erasures",
        )
        assert second.last_line == "0 files copied, 1 kept, 0 removed, 0 records of erasures"

    async def test_backup_is_readable_by_owner_only(self, run: Run, folder: Path) -> None:
        await run("backup", str(folder))
        assert open_to_others(folder) == []

    async def test_backup_has_keys(self, run: Run, folder: Path, settings: Settings) -> None:
        await run("backup", str(folder))
        secrets = settings.data_dir / "secrets"
        for name in ("secret-key", "jwt-signing-key.json"):
            assert (folder / "keys" / name).read_text() == (secrets / name).read_text()

    async def test_missing_bytes_stop_it(
        self, run: Run, folder: Path, resources: Resources
    ) -> None:
        await delete_stored_bytes(resources)
        outcome = await run("backup", str(folder))
        assert (outcome.status, outcome.output) == (1, "")
        assert outcome.errors == "docvault: files are missing in the store: run docvault verify\n"

    async def test_folder_that_cannot_be_made_is_explained(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        outcome = await run("backup", str(tmp_path / "file" / "backup"))
        assert (outcome.status, outcome.output) == (1, "")
        assert "Not a directory" in outcome.errors
        assert len(outcome.errors.splitlines()) == 1

    async def test_data_directory_without_database_is_explained(
        self, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("DOCVAULT_DATABASE_URL")
        monkeypatch.setenv("DOCVAULT_DATA_DIR", str(tmp_path / "empty"))
        outcome = await run("backup", str(folder))
        assert outcome.status == 1
        assert "there is no database" in outcome.errors


@pytest.mark.usefixtures("stored")
class TestRestore:
    async def test_restored_deployment_is_sound(
        self, run: Run, folder: Path, elsewhere: Elsewhere
    ) -> None:
        await run("backup", str(folder))
        elsewhere.use()
        restored = await run("restore", str(folder))
        assert (restored.status, restored.last_line) == (
            0,
            "1 files restored, 0 erasures applied again",
        )
        verified = await run("verify", "--rehash")
        assert verified.output.startswith("1 checked, 0 missing, 0 corrupt, 0 orphaned")

    async def test_keys_that_no_setting_has_are_restored(
        self,
        run: Run,
        folder: Path,
        elsewhere: Elsewhere,
        settings: Settings,
    ) -> None:
        await run("backup", str(folder))
        elsewhere.use()
        assert (await run("restore", str(folder))).status == 0
        signing_key = elsewhere.data_dir / "secrets" / "jwt-signing-key.json"
        before = settings.data_dir / "secrets" / "jwt-signing-key.json"
        assert signing_key.read_text() == before.read_text()
        assert signing_key.stat().st_mode & 0o077 == 0

    async def test_other_secret_key_is_refused_before_anything_is_restored(
        self, run: Run, folder: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await run("backup", str(folder))
        elsewhere.use()
        kept = (folder / "keys" / "secret-key").read_text()
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", token_hex(SECRET_BYTES))
        outcome = await run("restore", str(folder))
        assert (outcome.status, outcome.output) == (1, "")
        assert "DOCVAULT_SECRET_KEY must be that of the backup" in outcome.errors
        assert kept not in outcome.errors
        monkeypatch.setenv("DOCVAULT_SECRET_KEY", kept)
        assert (await run("restore", str(folder))).status == 0

    async def test_used_database_is_refused(self, run: Run, folder: Path) -> None:
        await run("backup", str(folder))
        outcome = await run("restore", str(folder))
        assert (outcome.status, outcome.errors) == (
            1,
            "docvault: the database is in use; restore into an empty one\n",
        )

    async def test_folder_without_backup_is_explained(self, run: Run, folder: Path) -> None:
        outcome = await run("restore", str(folder))
        assert outcome.status == 1
        assert outcome.errors == (
            f"docvault: there is no backup in {folder}: No such file or directory\n"
        )

    async def test_backup_of_newer_version_is_refused(
        self, run: Run, folder: Path, elsewhere: Elsewhere
    ) -> None:
        await run("backup", str(folder))
        change_revision(folder, "9999")
        elsewhere.use()
        outcome = await run("restore", str(folder))
        assert (outcome.status, outcome.errors) == (
            1,
            "docvault: the backup was made by a newer version of docvault\n",
        )
