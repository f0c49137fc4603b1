"""The time of every regular expression is proportional to the length of its text (T44)."""

import ast
import importlib
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.pumps import pumped, pumps, samples
from tests.torture.figures import Figure, Size

import docvault

SOURCE = Path(docvault.__file__).parent
# Texts of this length are compared with texts four times as long, unless below the floor.
LENGTH = 4_000
FLOOR_SECONDS = 0.005
LARGEST_RATIO = 8
SLOWEST_SECONDS = 0.1
SEED = 44
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
    """Yield each call of `re` in the source: place, node, and whether it is in a function."""
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


def patterns() -> dict[tuple[str, str], re.Pattern[Any]]:
    """Return every regular expression of the source with the method it is used with."""
    found: dict[tuple[str, str], re.Pattern[Any]] = {}
    for _, call, is_inside in calls_of_re():
        if is_inside and isinstance(call.args[0], ast.Constant):
            text = call.args[0].value
            found[repr(text), "search"] = re.compile(text)
    for name in {place.partition(".py")[0] for place, *_ in calls_of_re()}:
        used = uses(ast.parse((SOURCE / f"{name}.py").read_text()))
        module = importlib.import_module(f"docvault.{name.replace('/', '.')}")
        for variable, value in vars(module).items():
            if isinstance(value, re.Pattern):
                for method in used.get(variable, {"search"}):
                    found[repr(value.pattern), method] = value
    return found


def uses(tree: ast.Module) -> dict[str, set[str]]:
    """Return the methods used with each variable; replacing and splitting count as search."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            method = node.attr if node.attr in {"match", "fullmatch"} else "search"
            found.setdefault(node.value.id, set()).add(method)
    return found


def seconds(method: Callable[[Any], Any], text: Any) -> float:
    """Return the shortest of three measurements."""
    times = []
    for _ in range(3):
        began = time.process_time()
        method(text)
        times.append(time.process_time() - began)
        if times[-1] < FLOOR_SECONDS:
            break
    return min(times)


def is_slow(pattern: re.Pattern[Any], method: str, head: str, unit: str, length: int) -> bool:
    """Return whether a text takes too long, or too much longer than a quarter of it."""
    encode = str.encode if isinstance(pattern.pattern, bytes) else str
    use = getattr(pattern, method)
    # Short texts first, so that exponential patterns are found in reasonable time.
    for shorter in (5, 50, length):
        longer = seconds(use, encode(pumped(head, unit, 4 * shorter)))
        if longer > SLOWEST_SECONDS:
            return True
        if longer > FLOOR_SECONDS:
            short = seconds(use, encode(pumped(head, unit, shorter)))
            if longer > LARGEST_RATIO * max(short, FLOOR_SECONDS / 4):
                return True
    return False


def texts_for(pattern: re.Pattern[Any], size: Size) -> list[tuple[str, str]]:
    """Return short repeatable parts of matching texts, and a sample of all others."""
    chance = random.Random(SEED)
    found = pumps(samples(pattern, size.of(ci=60, full=200), chance))
    short = [(head, unit) for head, unit in found if not head and len(unit) < 6]
    return short + chance.sample(found, min(len(found), size.of(ci=20, full=500)))


# Built from the paths of the routes, and from escaped boundaries.
BUILT = {"api/http/error_handlers.py", "api/http/multipart.py"}


def test_regular_expressions_are_literal_except_listed() -> None:
    hidden = {
        place.partition(":")[0]
        for place, call, is_inside in calls_of_re()
        if is_inside and not isinstance(call.args[0], ast.Constant)
    }
    assert hidden == BUILT


@pytest.mark.parametrize(
    ("pattern", "method", "head", "unit"),
    [
        (rb"/S(?:[ \n]|%[^\r\n]*+)*+\(", "search", "", "/S%"),
        (rb"\[(?: {0,9}[\d]{1,24}){1,6} {0,9}\]", "match", "[", "0"),
        (r"(a+)+b", "match", "", "a"),
        (r"[ab]*[ac]*[ad]*x", "search", "", "a"),
    ],
)
def test_slow_expression_is_detected(
    pattern: str | bytes, method: str, head: str, unit: str
) -> None:
    compiled = re.compile(pattern)
    found = pumps(samples(compiled, 30, random.Random(SEED)))
    assert (head, unit) in found
    assert is_slow(compiled, method, head, unit, LENGTH)


@pytest.mark.guarantee(
    "T44",
    promise="The time of every regular expression is proportional to the length of its text.",
    tried="For each expression in the source, matching texts are generated. Each prefix and each "
    "short part of these is repeated, alone and after the text that precedes it, to 16,000 "
    "characters. A text must not take more than eight times as long as one of a quarter of its "
    "length, nor more than a tenth of a second.",
    not_shown="The expression that is built from routes, and those of the contract, which run in "
    "an engine with linear time.",
)
def test_no_expression_is_slow(size: Size, figures: dict[str, Figure]) -> None:
    found = patterns()
    texts = 0
    for (name, method), pattern in found.items():
        tried = texts_for(pattern, size)
        for head, unit in tried:
            assert not is_slow(pattern, method, head, unit, LENGTH), (name, method, head, unit)
        texts += len(tried)
    figures["pairs of expression and method"] = len(found)
    figures["texts"] = texts
