"""Peers that come from the npm registry, installed beside their `package.json` when needed."""

import shutil
import subprocess
from pathlib import Path

from bench.setup import Missing

INSTALL_SECONDS = 900


def installed(folder: Path) -> Path:
    """Return the `node_modules` of a folder; raises `Missing`."""
    modules, mark = folder / "node_modules", folder / "node_modules" / ".package-lock.json"
    wanted = folder / "package.json"
    if mark.exists() and mark.stat().st_mtime > wanted.stat().st_mtime:
        return modules
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not installed (Debian: apt-get install npm)")
    print(f"installing {folder.name} from npm, which can take minutes", flush=True)
    try:
        subprocess.run(
            [npm, "install", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"npm did not finish in {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("npm error")]
        raise Missing("npm cannot install it: " + " ".join(lines[:3])) from None
    mark.touch()
    return modules
