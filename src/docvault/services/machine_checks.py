"""Whether the machine has room for what requests need: the spool, and memory."""

import shutil
from pathlib import Path

from docvault.domain.findings import Finding, Severity, passed
from docvault.inspection.pool import INSPECTORS
from docvault.previews.limits import LARGEST_CHILD_BYTES
from docvault.services.resources import Resources
from docvault.storage.mounts import is_in_memory

MEBIBYTE = 1024 * 1024
# Measured under load (`docs/how-to/size-and-scale.md`).
PROCESS_BYTES = 128 * MEBIBYTE
INSPECTOR_BYTES = 64 * MEBIBYTE
# Below this a burst of uploads fills the disk.
SPOOL_UPLOADS = 2

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


async def check_spool(resources: Resources) -> list[Finding]:
    """Write a file, and check the free space; raises `StorageUnavailable`."""
    spooled = resources.spool.create()
    try:
        await spooled.write(b"docvault")
        await spooled.finish()
    finally:
        spooled.discard()
    folder = resources.spool.folder
    findings = []
    needed = SPOOL_UPLOADS * resources.settings.max_upload_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        problem = f"only {free // MEBIBYTE} of {needed // MEBIBYTE} MiB are free"
        advice = "free some space, or choose another folder (DOCVAULT_SPOOL_DIR)"
        findings.append(Finding("spool", problem, advice))
    if is_in_memory(folder):
        problem = "it is in memory, and counts towards the limit of this process"
        advice = "choose a folder on a disk (DOCVAULT_SPOOL_DIR)"
        findings.append(Finding("spool", problem, advice, Severity.HINT))
    return findings or [passed("spool")]


def check_memory(
    processes: int, write_memory_bytes: int, *, is_worker: bool, limit: int | None
) -> Finding:
    """Compare the limit with what the processes need when they are busy."""
    needed = memory_needed(processes, write_memory_bytes, is_worker=is_worker)
    if limit is None or limit >= needed:
        return passed("memory")
    return Finding(
        "memory",
        f"the limit is {limit // MEBIBYTE} MiB, and busy processes need {needed // MEBIBYTE}",
        "raise it, or processes and previews are killed",
    )


def memory_needed(processes: int, write_memory_bytes: int, *, is_worker: bool) -> int:
    """Return what the processes take with their inspectors, and either all uploads or a preview.

    A worker inspects and uploads nothing.
    """
    if is_worker:
        return PROCESS_BYTES + LARGEST_CHILD_BYTES
    idle = processes * (PROCESS_BYTES + INSPECTORS * INSPECTOR_BYTES)
    return idle + max(processes * write_memory_bytes, LARGEST_CHILD_BYTES)


def read_memory_limit(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int | None:
    """Return the lowest limit of the control groups (version 2) of this process, in bytes."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    folders = [cgroups / line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    groups = [group for folder in folders for group in (folder, *folder.parents)]
    limits = [_read_limit(group / "memory.max") for group in groups]
    return min((limit for limit in limits if limit is not None), default=None)


def _read_limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return None if text == "max" else int(text)
