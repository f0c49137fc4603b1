"""Directories that belong to one process: what is removed, and what remains."""

import os
from pathlib import Path

import pytest

from docvault.process_directory import ProcessDirectory


def test_folder_of_dead_process_is_removed(tmp_path: Path) -> None:
    left_behind = tmp_path / "of-the-dead"
    left_behind.mkdir()
    (left_behind / "bytes").write_bytes(b"x")
    folder = ProcessDirectory(tmp_path)
    assert folder.remove_leftovers() == 1
    assert not left_behind.exists()
    folder.close()


def test_folder_in_use_is_kept(tmp_path: Path) -> None:
    one, other = ProcessDirectory(tmp_path), ProcessDirectory(tmp_path)
    assert one.remove_leftovers() == 0
    assert other.path.is_dir()
    one.close()
    other.close()


def test_folder_of_other_account_is_kept_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ProcessDirectory(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    account = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: account + 1)
    assert folder.remove_leftovers() == 0
    assert list(foreign.iterdir()) == []
    folder.close()


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere, parent = tmp_path / "elsewhere", tmp_path / "parent"
    elsewhere.mkdir()
    folder = ProcessDirectory(parent)
    (parent / "link").symlink_to(elsewhere)
    assert folder.remove_leftovers() == 0
    assert list(elsewhere.iterdir()) == []
    folder.close()
