"""Lists every requirement with the tests that show it; run by `make requirements`.

The document says what was promised, the markers say who shows it. Comparing the two finds what
was promised and is not tested, and what a test claims to show although nobody asked for it.
"""

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "requirements.md"

# The first two cells of a row: the id, and what is required or, of a decision, its question.
_ROW = re.compile(r"^\|[ \t]*([RAB]-\d+)[ \t]*\|([^|\n]*)\|", re.MULTILINE)

Shown = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A requirement or a decision."""

    id: str
    text: str

    @property
    def needs_test(self) -> bool:
        """Whether a test has to show it: a decision may be one to leave something out."""
        return not self.id.startswith("A-")


class Collector:
    """A pytest plugin that notes which tests carry which ids."""

    def __init__(self) -> None:
        # A dictionary for its order: a parametrized test comes once for each set of parameters.
        self._shown: dict[str, dict[str, None]] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Take the markers of the function, its class and its module."""
        name = item.nodeid.partition("[")[0]
        for marker in item.iter_markers("req"):
            for id_ in marker.args:
                self._shown.setdefault(str(id_), {})[name] = None

    @property
    def shown(self) -> Shown:
        """The tests by id, in the order of collection."""
        return {id_: list(names) for id_, names in self._shown.items()}


def parse(document: str) -> list[Entry]:
    """Return the rows that have an id, in the order of the document."""
    return [Entry(id_, text.strip()) for id_, text in _ROW.findall(document)]


def untested(entries: Iterable[Entry], shown: Shown) -> list[str]:
    """Return the ids that have to be shown and are not."""
    return [entry.id for entry in entries if entry.needs_test and not shown.get(entry.id)]


def unknown(entries: Iterable[Entry], shown: Shown) -> list[str]:
    """Return the ids of markers that the document does not have, such as mistyped ones."""
    return sorted(shown.keys() - {entry.id for entry in entries})


def report(entries: Sequence[Entry], shown: Shown) -> str:
    """Return what to print: every entry with its tests, the count, what is wrong."""
    lines: list[str] = []
    for entry in entries:
        tests = shown.get(entry.id, ())
        if tests or entry.needs_test:
            lines += [f"{entry.id} {entry.text}", *_indented(tests or ["no test"]), ""]
    missing = untested(entries, shown)
    required = sum(entry.needs_test for entry in entries)
    lines.append(f"{required - len(missing)} of {required} requirements are shown by a test.")
    if missing:
        lines.append(f"Without a test: {', '.join(missing)}")
    for id_ in unknown(entries, shown):
        lines += [f"No such id: {id_}, named by", *_indented(shown[id_])]
    return "\n".join(lines) + "\n"


def _indented(names: Iterable[str]) -> list[str]:
    return [f"    {name}" for name in names]


def collect() -> Shown:
    """Return the tests by id; exits with pytest's words when it cannot collect them all.

    Half a suite would show requirements as untested that are not.
    """
    collector, output = Collector(), io.StringIO()
    # No cache: the list of failed tests is for whoever works on them.
    arguments = ["--collect-only", "-qq", "-p", "no:cacheprovider", str(ROOT / "tests")]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main(arguments, plugins=[collector])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        sys.exit(output.getvalue())
    return collector.shown


def main() -> int:
    """Print the list; return 1 when a requirement has no test or a marker has no requirement."""
    entries = parse(DOCUMENT.read_text(encoding="utf-8"))
    shown = collect()
    sys.stdout.write(report(entries, shown))
    return 1 if untested(entries, shown) or unknown(entries, shown) else 0


if __name__ == "__main__":
    sys.exit(main())
