"""The metrics directory shared by the processes of a supervisor."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from docvault.observability.multiprocess_metrics import SharedProcesses, metrics_directory

# Creates a directory, prints its path, and waits to be killed.
HOLDS_A_FOLDER = """
import sys
from docvault.observability.multiprocess_metrics import metrics_directory
with metrics_directory() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another supervisor and its directory."""
    command = [sys.executable, "-c", HOLDS_A_FOLDER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


class TestMetricsDirectory:
    """metrics_directory()."""

    def test_folder_is_deleted_with_supervisor(self) -> None:
        with metrics_directory() as folder:
            assert folder.is_dir()
        assert not folder.exists()

    def test_folder_of_killed_supervisor_is_deleted_at_next_start(
        self, other: tuple[subprocess.Popen[str], Path]
    ) -> None:
        process, left = other
        (left / "counter_1.db").write_bytes(b"x")
        process.kill()
        process.wait()
        with metrics_directory() as folder:
            assert list(folder.parent.iterdir()) == [folder]

    def test_folder_of_live_supervisor_is_kept(
        self, other: tuple[subprocess.Popen[str], Path]
    ) -> None:
        _, theirs = other
        with metrics_directory():
            assert theirs.is_dir()

    def test_similar_folders_are_kept(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.mkdir()
        (tmp_path / "docvault-metrics-planted").symlink_to(victim)
        (tmp_path / "docvault-metrics-file").write_text("")
        (tmp_path / "elsewhere").mkdir()
        with metrics_directory():
            assert victim.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {
            "docvault-metrics-planted",
            "docvault-metrics-file",
            "elsewhere",
            "victim",
        }
        assert list(victim.iterdir()) == []


class TestProcesses:
    """SharedProcesses."""

    def test_live_processes_are_summed(
        self, tmp_path: Path, other: tuple[subprocess.Popen[str], Path]
    ) -> None:
        process, _ = other
        exited = subprocess.Popen(["true"])
        exited.wait()
        for pid in (os.getpid(), process.pid, exited.pid):
            (tmp_path / f"counter_{pid}.db").touch()
            (tmp_path / f"gauge_livesum_{pid}.db").touch()
        found = {m.name: m.samples[0].value for m in SharedProcesses(tmp_path).collect()}
        both = [psutil.Process(), psutil.Process(process.pid)]
        # Approximately: the two are read at slightly different times.
        memory = sum(one.memory_info().rss for one in both)
        assert found["process_resident_memory_bytes"] == pytest.approx(memory, rel=0.2)
        assert found["process_open_fds"] == pytest.approx(sum(o.num_fds() for o in both), abs=3)
        assert found["process_cpu_seconds"] >= both[0].cpu_times().user / 2
        assert "process_start_time_seconds" not in found
