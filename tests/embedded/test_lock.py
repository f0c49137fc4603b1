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

    def test_the_directory_is_made(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").is_dir()

    def test_its_own_file_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "data"):
            assert stat.S_IMODE((tmp_path / "data" / "lock").stat().st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o066 == 0

    def test_a_second_one_is_refused_and_told_who_holds_it(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path), pytest.raises(DataDirInUse) as caught:
            DataDirLock(tmp_path)
        assert caught.value.pid == str(os.getpid())
        assert str(os.getpid()) in str(caught.value)
        assert str(tmp_path) in str(caught.value)

    def test_it_is_free_again_afterwards(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path):
            pass
        with DataDirLock(tmp_path):
            pass

    def test_it_is_free_again_after_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), DataDirLock(tmp_path):
            raise RuntimeError
        with DataDirLock(tmp_path):
            pass

    def test_another_process_is_refused(self, tmp_path: Path) -> None:
        with holder(tmp_path) as process:
            with pytest.raises(DataDirInUse) as caught:
                DataDirLock(tmp_path)
            assert caught.value.pid == str(process.pid)
            process.kill()

    def test_a_killed_process_locks_nobody_out(self, tmp_path: Path) -> None:
        with holder(tmp_path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with DataDirLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    def test_a_left_behind_or_broken_lock_file_locks_nobody_out(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_bytes(b"\xff 99999999999999999999999999")
        with DataDirLock(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    def test_the_lock_is_not_inherited_by_programs_it_starts(self, tmp_path: Path) -> None:
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

    def test_two_directories_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        with DataDirLock(tmp_path / "a"), DataDirLock(tmp_path / "b"):
            pass
