"""Writes docs/benchmarks.md and its pictures from what the scenarios found."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import pictures
from bench.scenarios import scenarios

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
# Of a table with a row for every query only this many are shown.
ROWS_SHOWN = 10

_HEAD = """\
# Benchmarks

What docvault does in a second, beside others on the same machine. Written by `make bench`, which
measures everything anew; `make bench ONLY=p7` renews one row and leaves the others as they are.

Client, servers and database share one machine, so absolute figures say little: they change with the
machine, and on a virtual one from hour to hour. **Only what was measured in the same run can be
compared.** Contestants take turns; a figure is the median over the rounds, a ratio the median of
the ratios inside a round. docvault runs as two API processes with everything on (authentication,
checks, fsync, audit, limits) but a virus scanner. Preview jobs run in a separate worker; where it
takes part, its CPU time stands beside the figure.

| who | what it is, and what it leaves out |
|---|---|
| directus | Directus on PostgreSQL: authentication, a row, a file; no fsync; one process |
| tus-server | @tus/server: writes files; no users, no database, no fsync; one process |
| nginx, nginx WebDAV | files and nothing else; no fsync; two processes, body buffer of 16 KiB |
| plain FastAPI | `UploadFile` and `FileResponse`, nothing else; two processes of uvicorn |
| bare psycopg | one statement on docvault's own rows, answered without asking who asks |
| boto3 | `upload_file` of the AWS library, straight into the store that docvault writes to |
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario and, if it was run, what it found."""

    name: str
    id: str
    title: str
    target: str
    found: Mapping[str, Any] | None


def write(results: Path, document: Path = DOCUMENT) -> None:
    """Write the report and its pictures, from all results there are."""
    rows = read(results)
    folder = document.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for row in rows:
        for name, picture in _pictures(row):
            (folder / name).write_bytes(picture)
    document.write_text(render(rows))


def read(results: Path) -> list[Row]:
    """Return a row for every scenario, in their order."""
    rows = []
    for name, module in scenarios().items():
        path = results / f"{name}.json"
        found = json.loads(path.read_text()) if path.exists() else None
        number = name.upper() if name[1:].isdecimal() else name
        rows.append(Row(name, number, module.TITLE, module.TARGET, found))
    return rows


def render(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    parts = ["\n".join([_HEAD, *_summary(rows)]), *map(_section, rows), *_machines(rows)]
    return "\n".join(parts)


def _summary(rows: Sequence[Row]) -> list[str]:
    lines = _table("row", "what", "figure", "target", "stretch", "met")
    for row in rows:
        if row.found is None:
            lines.append(_line(row.id, row.title, "", row.target, "", "not measured"))
            continue
        for check in row.found["checks"]:
            sign = "≥" if check["better"] == "higher" else "≤"
            unit = "" if check["unit"] == "x" else check["unit"]
            stretch = check["stretch"]
            lines.append(
                _line(
                    row.id,
                    check["what"],
                    "" if check["figure"] is None else _number(check["figure"]) + unit,
                    f"{sign} {_number(check['target'])}{unit}",
                    "" if stretch is None else f"{sign} {_number(stretch)}{unit}",
                    {True: "yes", False: "**no**", None: "peer missing"}[check["met"]],
                )
            )
    return ["## Targets", "", *lines, ""]


def _section(row: Row) -> str:
    lines = [f"## {row.id}: {row.title}", "", f"Target: {row.target}.", ""]
    if row.found is None:
        return "\n".join([*lines, "Not measured.", ""])
    machine, found = row.found["machine"], row.found
    measured = f"Measured {machine['date'][:10]} at commit {machine['revision']}"
    took = f"in {found['took_seconds']:.0f} s; load of the machine before: {machine['load_before']}"
    lines.append(f"{measured} {took}.")
    if found["quick"]:
        lines += ["", "**A quick run: it shows that the bench works, and measures nothing.**"]
    if found["medians"]:
        figures = list(dict.fromkeys(name for one in found["medians"].values() for name in one))
        lines += ["", *_table("", *(name.replace("_", " ") for name in figures))]
        for name, medians in found["medians"].items():
            shown = (_number(medians[f]) if f in medians else "" for f in figures)
            lines.append(_line(name, *shown))
    for picture, _ in _pictures(row):
        lines += ["", f"![{row.title}](benchmarks/{picture})"]
    for title, table in found["tables"].items():
        lines += ["", *_first_rows(title, table)]
    for note in found["notes"]:
        lines += ["", note]
    for peer, reason in found["missing"].items():
        lines += ["", f"Without {peer}: {' '.join(reason.split())[:300]}"]
    return "\n".join([*lines, ""])


def _first_rows(title: str, table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    shown = table[:ROWS_SHOWN]
    if not shown:
        yield f"{title}: nothing."
        return
    yield f"{title} ({len(shown)} of {len(table)}):"
    yield ""
    yield from _table(*(name.replace("_", " ") for name in shown[0]))
    for row in shown:
        cells = (_number(v) if isinstance(v, float) else v for v in row.values())
        yield _line(*(str(cell) for cell in cells))


def _pictures(row: Row) -> Iterator[tuple[str, bytes]]:
    """Give the pictures of a row by their file names."""
    found = row.found
    if found is None:
        return
    if found["shown"] and found["medians"]:
        figures = {name: one[found["shown"]] for name, one in found["medians"].items()}
        yield f"{row.name}.svg", pictures.bars(found["shown"].replace("_", " "), figures)
    for number, plot in enumerate(found["plots"], 1):
        yield f"{row.name}-{number}.svg", pictures.lines(plot)


def _machines(rows: Sequence[Row]) -> Iterator[str]:
    """Give the description of every machine and set of versions that was measured on."""
    measured: dict[str, list[str]] = {}
    for row in rows:
        if row.found is not None:
            machine = {
                name: value
                for name, value in row.found["machine"].items()
                if name not in {"date", "revision", "load_before"}
            }
            measured.setdefault(json.dumps(machine), []).append(row.id)
    for text, ids in measured.items():
        yield f"## Machine of {', '.join(ids)}\n"
        for name, value in json.loads(text).items():
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{part} {version}" for part, version in value.items())
            yield f"- {name.replace('_', ' ')}: {shown}"
        yield ""


def _table(*heads: str) -> list[str]:
    return [_line(*heads), _line(*("---" for _ in heads))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _number(value: float) -> str:
    """Return three digits, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"
