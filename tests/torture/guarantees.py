"""Renders docs/guarantees.md from the figures saved by `make torture`."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "guarantees"
DOCUMENT = ROOT / "docs" / "guarantees.md"

_HEAD = """\
# Guarantees

What docvault guarantees under failure, how each guarantee was tested, and the results. Written by
`make torture` from the figures of its tests, which CI runs at smaller sizes, and by `make engine`
from runs of the compose deployment. A run without a failure does not prove their absence: after N
attempts without one, the probability of a failure per attempt is below 3/N (at 95 % confidence).

Of the services of the compose files, `make engine` runs `proxy`, `api`, `worker`, `migrate`,
`bucket`, `backup`, `database`, `store`, `scanner`, `signatures` and `prometheus`; each section says
which images were stand-ins. It does not run `tls`, `keycloak` and `grafana`: tests read their
configuration.
"""


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one test; `case` identifies the case of a parametrized test."""

    id: str
    promise: str
    tried: str
    not_shown: str
    case: str
    figures: dict[str, Any]
    share: float
    seconds: int
    date: str


def read(folder: Path) -> list[Record]:
    """Return all records in the order of the document."""
    records = [Record(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return sorted(records, key=lambda record: (record.id, record.promise, record.case))


def render(records: Iterable[Record]) -> str:
    """Return the whole document."""
    sections = [_section(list(group)) for _, group in groupby(records, lambda r: (r.id, r.promise))]
    return "\n".join([_HEAD, *sections])


def _section(records: Sequence[Record]) -> str:
    first = records[0]
    lines = [f"## {first.id}: {first.promise}", "", f"**Test.** {first.tried}", ""]
    lines += _table(records)
    if first.not_shown:
        lines += ["", f"**Not covered.** {first.not_shown}"]
    return "\n".join([*lines, ""])


def _table(records: Sequence[Record]) -> list[str]:
    """Return a table with one column per case and one row per figure."""
    names = list(dict.fromkeys(name for record in records for name in record.figures))
    rows = [[name, *(_shown(record.figures.get(name, "")) for record in records)] for name in names]
    rows.append(["duration", *(f"{record.seconds:,} s" for record in records)])
    if any(record.share != 1 for record in records):
        rows.append(["share of the full size", *(f"{record.share:.0%}" for record in records)])
    rows.append(["date", *(record.date for record in records)])
    head = ["", *(record.case or "figure" for record in records)]
    return [_row(head), _row(["---", *("---:" for _ in records)]), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(figure: Any) -> str:
    return figure if isinstance(figure, str) else f"{figure:,}"


def main() -> int:
    """Write the document."""
    DOCUMENT.write_text(render(read(RESULTS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
