"""The checks of the machine: spool and memory."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from docvault.domain.findings import Severity
from docvault.services import machine_checks
from docvault.services.machine_checks import (
    MEBIBYTE,
    check_memory,
    check_spool,
    memory_needed,
    read_memory_limit,
)
from docvault.services.resources import Resources
from docvault.storage.s3 import S3BlobStore

S3_BYTES = S3BlobStore.write_memory_bytes


async def test_spool_without_room_is_reported(resources: Resources) -> None:
    free = shutil.disk_usage(resources.spool.folder).free
    settings = resources.settings.model_copy(update={"max_upload_bytes": free})
    (finding,) = [
        one
        for one in await check_spool(dataclasses.replace(resources, settings=settings))
        if one.severity is Severity.PROBLEM
    ]
    assert finding.problem.startswith("only ")
    assert list(resources.spool.folder.glob("[!.]*")) == []


async def test_spool_in_memory_is_a_hint(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "is_in_memory", lambda _: True)
    (finding,) = [one for one in await check_spool(resources) if "memory" in one.problem]
    assert finding.severity is Severity.HINT


@pytest.mark.parametrize(("processes", "is_worker", "limit"), [(2, False, 1536), (1, True, 1024)])
def test_limits_of_compose_file_suffice(processes: int, is_worker: bool, limit: int) -> None:
    assert memory_needed(processes, S3_BYTES, is_worker=is_worker) <= limit * MEBIBYTE


@pytest.mark.parametrize(("missing", "severity"), [(0, Severity.OK), (1, Severity.PROBLEM)])
def test_limit_is_compared_with_need(missing: int, severity: Severity) -> None:
    needed = memory_needed(2, S3_BYTES, is_worker=False)
    finding = check_memory(2, S3_BYTES, is_worker=False, limit=needed - missing)
    assert finding.severity is severity


def test_no_limit_is_sufficient() -> None:
    assert check_memory(9, S3_BYTES, is_worker=False, limit=None).severity is Severity.OK


def test_uploads_of_many_processes_are_counted() -> None:
    few, many = (memory_needed(n, S3_BYTES, is_worker=False) for n in (8, 9))
    assert many - few > S3_BYTES


class TestReadMemoryLimit:
    """read_memory_limit()."""

    @pytest.mark.parametrize(
        ("outer", "inner", "expected"),
        [
            ("max", "max", None),
            ("max", "1000", 1000),
            ("1000", "max", 1000),
            ("1000", "2000", 1000),
            (None, "2000", 2000),
            (None, None, None),
        ],
    )
    def test_lowest_limit_of_own_groups_counts(
        self, tmp_path: Path, outer: str | None, inner: str | None, expected: int | None
    ) -> None:
        own, cgroups = tmp_path / "own", tmp_path / "cgroup"
        own.write_text("9:name=systemd:/\n0::/system.slice/docvault.service\n")
        group = cgroups / "system.slice" / "docvault.service"
        group.mkdir(parents=True)
        for folder, text in ((group.parent, outer), (group, inner)):
            if text is not None:
                (folder / "memory.max").write_text(f"{text}\n")
        assert read_memory_limit(cgroups, own) == expected

    def test_system_without_groups_has_no_limit(self, tmp_path: Path) -> None:
        assert read_memory_limit(tmp_path, tmp_path / "own") is None
