"""Folders of the settings that cannot be written: one line, before anything starts."""

import tempfile
from pathlib import Path

import pytest

from docvault.cli.folders import require_folders
from docvault.settings import Settings, SettingsError, variable_of


@pytest.mark.req("B-209")
@pytest.mark.parametrize("name", ["data_dir", "spool_dir", "storage_url"])
def test_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.touch()
    value = (file / "below").as_uri() if name == "storage_url" else file
    settings = Settings.model_validate({"data_dir": tmp_path / "data", name: value})
    with pytest.raises(SettingsError) as caught:
        require_folders(settings)
    assert str(caught.value).startswith(f"invalid settings: {variable_of(name)} must be a folder")
    assert "\n" not in str(caught.value)


def test_folders_are_created_and_left_empty(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "a" / "data", spool_dir=tmp_path / "spool")
    require_folders(settings)
    assert list((tmp_path / "a" / "data").iterdir()) == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_folder_that_is_not_needed_is_not_touched(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path / "data",
            "spool_dir": tmp_path / "spool",
            "storage_url": "s3://bucket",
            "database_url": "postgresql://db/d",
            "secret_key": "0123456789abcdefghijklmnopqrstuvwxyz",
            "jwt_issuer": "https://id.example.org",
            "jwt_jwks_url": "https://id.example.org/jwks",
        }
    )
    require_folders(settings)
    assert not (tmp_path / "data").exists()


@pytest.mark.req("B-209")
def test_spool_on_another_file_system_than_file_store_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as spool:
        assert Path(spool).stat().st_dev != tmp_path.stat().st_dev
        settings = Settings(data_dir=tmp_path / "data", spool_dir=Path(spool))
        with pytest.raises(SettingsError, match="DOCVAULT_SPOOL_DIR must be on the file system"):
            require_folders(settings)
