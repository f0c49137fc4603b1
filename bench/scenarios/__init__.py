"""One module per row of the report: what is measured, the contestants and the target."""

import importlib
import pkgutil
from types import ModuleType


def scenarios() -> dict[str, ModuleType]:
    """Return the modules by short name, such as `p1`: rows with a target first."""
    names = sorted((module.name for module in pkgutil.iter_modules(__path__)), key=_place)
    return {_short_name(name): importlib.import_module(f"{__name__}.{name}") for name in names}


def _place(module: str) -> tuple[bool, str]:
    return not _number(module), module


def _short_name(module: str) -> str:
    number = _number(module)
    return f"p{int(number)}" if number else module


def _number(module: str) -> str:
    """Return `01` for `p01_upload`, and an empty string for other names."""
    number = module.partition("_")[0].removeprefix("p")
    return number if number.isdecimal() else ""
