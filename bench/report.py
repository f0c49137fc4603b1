"""Writes docs/benchmarks.md and its charts from the results of the scenarios."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import pictures
from bench.scenarios import scenarios

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
# The maximum number of rows shown of a table with one row per query.
ROWS_SHOWN = 10

_HEAD = """\
# Benchmarks

The performance of docvault compared with others on the same machine. Written by `make bench`, which
measures everything again; `make bench ONLY=p7` updates one row only.

Client, servers and database share one machine, so absolute figures mean little: they change with
the machine, and on a virtual one from hour to hour. **Only figures of the same run are
comparable.** Contestants take turns; a figure is the median over the rounds, a ratio the median of
the ratios within a round. docvault runs as two API processes with everything enabled
(authentication, checks, fsync, audit, limits) except a virus scanner. Preview jobs run in a
separate worker; where it is involved, its CPU time is listed next to the figure.

| contestant | what it is, and what it omits |
|---|---|
| directus | Directus on PostgreSQL: authentication, a row, a file; no fsync; one process |
| pocketbase | PocketBase on SQLite: users, rules, a record, a file; no fsync of files, no \
versions, audit, quotas or inspection; one process |
| tus-server | @tus/server: writes files; no users, no database, no fsync; one process |
| nginx, nginx WebDAV | files only; no fsync; two processes, body buffer of 16 KiB |
| plain FastAPI | `UploadFile` and `FileResponse` only; two uvicorn processes |
| bare psycopg | one statement on docvault's own rows, without authentication |
| boto3 | `upload_file` of the AWS library, directly into docvault's store |
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario and its result, if it was run."""

    name: str
    id: str
    title: str
    target: str
    # What takes the time, for rows that miss a target.
    limited_by: str
    found: Mapping[str, Any] | None

    @property
    def missed(self) -> list[Mapping[str, Any]]:
        """The checks that were measured and not met."""
        return [check for check in (self.found or {}).get("checks", ()) if check["met"] is False]


def write(results: Path, document: Path = DOCUMENT) -> None:
    """Write the report and its charts from all available results."""
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
    """Return a row for every scenario, in order."""
    rows = []
    for name, module in scenarios().items():
        path = results / f"{name}.json"
        found = json.loads(path.read_text()) if path.exists() else None
        number = name.upper() if name[1:].isdecimal() else name
        limited_by = getattr(module, "LIMITED_BY", "")
        rows.append(Row(name, number, module.TITLE, module.TARGET, limited_by, found))
    return rows


def render(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    parts = ["\n".join([_HEAD, *_summary(rows)]), *map(_section, rows), *_machines(rows)]
    return "\n".join(parts)


def _summary(rows: Sequence[Row]) -> list[str]:
    lines = [*_missed(rows), *_table("row", "what", "figure", "target", "stretch", "met")]
    for row in rows:
        if row.found is None:
            lines.append(_line(row.id, row.title, "", row.target, "", "not measured"))
            continue
        for check in row.found["checks"]:
            sign = "≥" if check["better"] == "higher" else "≤"
            stretch = None if check["stretch"] is None else _with_unit(check, "stretch")
            lines.append(
                _line(
                    row.id,
                    check["what"],
                    "" if check["figure"] is None else _with_unit(check, "figure"),
                    f"{sign} {_with_unit(check, 'target')}",
                    "" if stretch is None else f"{sign} {stretch}",
                    {True: "yes", False: "**no**", None: "peer missing"}[check["met"]],
                )
            )
    return ["## Targets", "", *lines, ""]


def _missed(rows: Sequence[Row]) -> Iterator[str]:
    """Yield which targets are missed, and why."""
    missed = [row for row in rows if row.missed]
    yield "Missed:" if missed else "No measured target is missed."
    yield ""
    for row in missed:
        figures = "; ".join(
            f"{one['what']} {_with_unit(one, 'figure')} instead of {_with_unit(one, 'target')}"
            for one in row.missed
        )
        yield f"- **{row.id}**: {figures}. {row.limited_by}".rstrip()
    if missed:
        yield ""


def _with_unit(check: Mapping[str, Any], name: str) -> str:
    return _number(check[name]) + ("" if check["unit"] == "x" else check["unit"])


def _section(row: Row) -> str:
    lines = [f"## {row.id}: {row.title}", "", f"Target: {row.target}.", ""]
    if row.found is None:
        return "\n".join([*lines, "Not measured.", ""])
    machine, found = row.found["machine"], row.found
    measured = f"Measured {machine['date'][:10]} at commit {machine['revision']}"
    took = f"in {found['took_seconds']:.0f} s; load of the machine before: {machine['load_before']}"
    lines.append(f"{measured} {took}.")
    if found["quick"]:
        lines += [
            "",
            "**A quick run: it only shows that the bench works; the figures are meaningless.**",
        ]
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
    """Return the charts of a row by file name."""
    found = row.found
    if found is None:
        return
    if found["shown"] and found["medians"]:
        figures = {name: one[found["shown"]] for name, one in found["medians"].items()}
        yield f"{row.name}.svg", pictures.bars(found["shown"].replace("_", " "), figures)
    for number, plot in enumerate(found["plots"], 1):
        yield f"{row.name}-{number}.svg", pictures.lines(plot)


def _machines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the description of every machine and set of versions used."""
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
    """Return three significant digits without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"
