"""One docvault at a time on a data directory."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from docvault.embedded.lock import DataDirInUse, DataDirLock

HOLDER = """
import sys
from pathlib import Path
from docvault.embedded.lock import DataDirLock
with DataDirLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(data_dir: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


class TestDataDirLock:
    """DataDirLock."""

    def test_directory_is_created(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").is_dir()

    def test_lock_file_is_private(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "data"):
            assert stat.S_IMODE((tmp_path / "data" / "lock").stat().st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o066 == 0

    def test_second_lock_is_rejected_with_holder(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path), pytest.raises(DataDirInUse) as caught:
            DataDirLock(tmp_path)
        assert caught.value.pid == str(os.getpid())
        assert str(os.getpid()) in str(caught.value)
        assert str(tmp_path) in str(caught.value)

    def test_lock_is_released_on_exit(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path):
            pass
        with DataDirLock(tmp_path):
            pass

    def test_lock_is_released_after_exception(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), DataDirLock(tmp_path):
            raise RuntimeError
        with DataDirLock(tmp_path):
            pass

    def test_lock_of_other_process_is_rejected(self, tmp_path: Path) -> None:
        with holder(tmp_path) as process:
            with pytest.raises(DataDirInUse) as caught:
                DataDirLock(tmp_path)
            assert caught.value.pid == str(process.pid)
            process.kill()

    def test_killed_process_releases_lock(self, tmp_path: Path) -> None:
        with holder(tmp_path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with DataDirLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    def test_stale_or_corrupt_lock_file_is_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_bytes(b"\xff 99999999999999999999999999")
        with DataDirLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    def test_lock_is_not_inherited_by_subprocesses(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path):
            child = subprocess.Popen(
                [sys.executable, "-c", "print(flush=True); input()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                close_fds=False,
            )
            assert child.stdout is not None
            child.stdout.readline()
        with child:
            with DataDirLock(tmp_path):
                pass
            child.kill()

    def test_directories_are_locked_independently(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "a"), DataDirLock(tmp_path / "b"):
            pass
