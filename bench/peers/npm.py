"""Peers from the npm registry, installed next to their `package.json` on demand."""

import os
import shutil
import subprocess
from pathlib import Path

from bench.setup import Missing

INSTALL_SECONDS = 1800
_QUIET = ("--no-audit", "--no-fund")


def installed(folder: Path) -> Path:
    """Return the `node_modules` of a folder; raise `Missing`."""
    modules = folder / "node_modules"
    mark, wanted = modules / ".installed", (folder / "package.json").read_text()
    if mark.exists() and mark.read_text() == wanted:
        return modules
    if shutil.which("npm") is None:
        raise Missing("npm is not installed (Debian: apt-get install npm)")
    print(f"installing {folder.name} from npm, which can take minutes", flush=True)
    # Native modules must match the Node that runs them, which may be a package of the peer: first
    # download everything, then build with that Node and its headers.
    _npm(folder, "install", "--ignore-scripts", *_QUIET)
    _npm(folder, "rebuild", *_QUIET, environment=_own_node(modules))
    mark.write_text(wanted)
    return modules


def _own_node(modules: Path) -> dict[str, str]:
    """Return the environment that makes npm use the Node bundled with a peer, if any."""
    node = modules / ".bin" / "node"
    if not node.exists():
        return {}
    package = node.resolve().parents[1]
    path = f"{package / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "npm_config_nodedir": str(package)}


def _npm(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(
            ["npm", *arguments],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"npm {arguments[0]} did not finish within {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("npm error")]
        raise Missing(f"npm {arguments[0]} failed: {' '.join(lines[:6])}") from None
