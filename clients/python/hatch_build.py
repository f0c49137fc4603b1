"""Generates the package of each API from its contract when the wheel is built."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

AUDIENCES = ("admin", "customer", "integration")
ROOT = Path(__file__).parent
PACKAGE = ROOT / "src" / "docvault_client"


class GeneratingHook(BuildHookInterface[Any]):
    """Runs before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the packages."""
        del version, build_data
        for audience in AUDIENCES:
            generate(ROOT.parents[1] / "openapi" / f"{audience}.json", PACKAGE / audience)


def generate(contract: Path, package: Path) -> None:
    """Generate one package, with each operation as a module `package.verb_noun`."""
    shutil.rmtree(package, ignore_errors=True)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", contract]
    options = ["--output-path", package, "--meta", "none", "--config", ROOT / "generator.yaml"]
    subprocess.run([*command, *options, "--fail-on-warning"], check=True, stdout=subprocess.DEVNULL)
    operations = {
        name.removeprefix(f"{package.name}_"): module
        for path in json.loads(contract.read_text())["paths"].values()
        for name in (operation["operationId"] for operation in path.values())
        for module in (package / "api").rglob(f"{name}.py")
    }
    imports = (
        f"from .{'.'.join(module.parent.relative_to(package).parts)} import {module.stem} as {name}"
        for name, module in sorted(operations.items())
    )
    names = ["AuthenticatedClient", "models", "types", *sorted(operations)]
    lines = [
        f'"""The {package.name} API: one module for each operation."""',
        "from . import models, types",
        "from .client import AuthenticatedClient",
        *imports,
        f"__all__ = {names!r}",
    ]
    (package / "__init__.py").write_text("\n".join(lines) + "\n")
