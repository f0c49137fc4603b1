"""No regular expression of ours is slow, whatever it is given (SECURITY T44)."""

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.torture.figures import Figure, Size

import docvault

SOURCE = Path(docvault.__file__).parent
LENGTH = 100_000
SLOWEST_SECONDS = 0.05
# Letters that our expressions speak of, with some that none does.
ALPHABET = "aZ0_-. /\\<>()[]{}%#\"'*,;:=+@|~!\t\n\r\0é\u200b"
COMPILING = {
    "compile",
    "match",
    "fullmatch",
    "search",
    "sub",
    "subn",
    "split",
    "findall",
    "finditer",
}


def calls_of_re() -> Iterator[tuple[str, ast.Call, bool]]:
    """Yield each call of the module `re` in the source: where, what, and whether in a function."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        inside = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            module = node.func.value
            if isinstance(module, ast.Name) and module.id == "re" and node.func.attr in COMPILING:
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node, id(node) in inside


def patterns() -> dict[tuple[str, str], Callable[[Any], Any]]:
    """Return every expression that the source compiles or writes down, as it is used there."""
    found: dict[tuple[str, str], Callable[[Any], Any]] = {}
    for _, call, is_inside in calls_of_re():
        if is_inside and isinstance(call.args[0], ast.Constant):
            text = call.args[0].value
            found[repr(text), "search"] = re.compile(text).search
    for name in {place.partition(".py")[0] for place, *_ in calls_of_re()}:
        used = uses(ast.parse((SOURCE / f"{name}.py").read_text()))
        module = importlib.import_module(f"docvault.{name.replace('/', '.')}")
        for variable, value in vars(module).items():
            if isinstance(value, re.Pattern):
                for method in used.get(variable, {"search"}):
                    found[repr(value.pattern), method] = getattr(value, method)
    return found


def uses(tree: ast.Module) -> dict[str, set[str]]:
    """Return by variable how it looks for something; to replace and to split is to search."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            method = node.attr if node.attr in {"match", "fullmatch"} else "search"
            found.setdefault(node.value.id, set()).add(method)
    return found


def attacks(length: int) -> Iterator[str]:
    """Yield texts that make expressions try again and again, none of which ends well."""
    for letter in ALPHABET:
        yield letter * length + "\x01"
        yield f"a{letter}" * (length // 2) + "\x01"
        yield f'"{letter}",' * (length // 4) + "\x01"
    for start in ("bytes=", 'W/"', "dv_live_", "/First ", "/OpenAction <<", "/FontMatrix [", "<"):
        yield start * (length // len(start)) + "\x01"
        for letter in "a0 \n":
            yield start + letter * length + "\x01"


def seconds(method: Callable[[Any], Any], text: Any) -> float:
    """Return how long it takes at best."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        method(text)
        taken.append(time.process_time() - began)
        if taken[-1] < SLOWEST_SECONDS / 2:
            break
    return min(taken)


# Made of the paths of our routes, and of a number.
PUT_TOGETHER = {"api/error_handlers.py", "rules/pdf_objects.py"}


def test_expressions_are_written_where_they_can_be_found() -> None:
    hidden = {
        place.partition(":")[0]
        for place, call, is_inside in calls_of_re()
        if is_inside and not isinstance(call.args[0], ast.Constant)
    }
    assert hidden == PUT_TOGETHER


@pytest.mark.guarantee(
    "T44",
    promise="No regular expression takes long, whatever it is given.",
    tried="Each expression that the source compiles meets texts of 100,000 characters, made of "
    "every letter that some expression speaks of, and of their beginnings, repeated. The same for "
    "1,000 and 10,000, so that a bad one is found early.",
    not_shown="Two that are put together of routes and of a number, and those of "
    "the contract, which run in an engine whose time is linear.",
)
def test_no_expression_is_slow(size: Size, figures: dict[str, Figure]) -> None:
    found = patterns()
    slowest = 0.0
    for (pattern, used), method in found.items():
        for length in (1_000, 10_000, size.of(ci=10_000, full=LENGTH)):
            for text in attacks(length):
                taken = seconds(method, text.encode() if pattern[0] == "b" else text)
                slowest = max(slowest, taken)
                assert taken < SLOWEST_SECONDS, (pattern, used, text[:20], length)
    figures["expressions, as they are used"] = len(found)
    figures["texts for each"] = 3 * sum(1 for _ in attacks(10))
    figures["slowest, ms"] = round(slowest * 1000, 1)
