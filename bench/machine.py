"""What a run ran on: absolute figures mean nothing without it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "sqlalchemy", "psycopg")


def describe_machine(scratch: Path, store: Path) -> dict[str, Any]:
    """Return date, machine and versions; the two folders only by the kind of their filesystem."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "databases_on": _filesystem(scratch),
        "files_on": _filesystem(store),
        # Of other programs, at the start: above 0.5 the figures are not to be trusted.
        "load_before": round(os.getloadavg()[0], 2),
    }


def _revision() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    around = [mount for mount in mounts if folder.resolve().is_relative_to(mount[0])]
    return max(around, key=lambda mount: len(mount[0].parts))[1] if around else "unknown"
