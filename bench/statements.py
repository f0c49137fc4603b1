"""The statements that PostgreSQL executes, from its log, and their plans."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_ENTRY = re.compile(
    r"LOG:  duration: \S+ ms  (?:execute [^:]*|statement): (?P<text>.*?)"
    r"(?:\n[^\n\t]*?DETAIL:  [Pp]arameters: (?P<parameters>.*?))?(?=\n[^\t]|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(r"\$\d+ = (NULL|'(?:[^']|'')*')")
_BUFFERS = re.compile(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?")
# The maximum time until the server applies a changed setting.
_SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its parameters as literals."""

    text: str
    parameters: tuple[str, ...]


class StatementLog:
    """The statements a server executes between two reads of its log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size

    def new(self) -> list[Statement]:
        """Return the statements executed since the last call.

        A statement is logged before its result is sent, so there is nothing to wait for.
        """
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        return [_statement(match) for match in _ENTRY.finditer(data.decode(errors="replace"))]


@contextmanager
def logged(connection: psycopg.Connection) -> Iterator[StatementLog]:
    """Let a server log every statement until the block ends; the connection is in autocommit."""
    connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
    connection.execute("SELECT pg_reload_conf()")
    time.sleep(_SETTLE_SECONDS)
    folder = connection.execute("SHOW data_directory").fetchone()
    assert folder is not None
    try:
        # The location in the embedded server.
        yield StatementLog(Path(folder[0]).with_name("log"))
    finally:
        connection.execute("ALTER SYSTEM RESET log_min_duration_statement")
        connection.execute("SELECT pg_reload_conf()")


def explain(connection: psycopg.Connection, statement: Statement) -> str:
    """Execute a logged statement; return the plan with times and buffers."""
    connection.execute("PREPARE bench AS " + statement.text)
    arguments = f"({', '.join(statement.parameters)})" if statement.parameters else ""
    try:
        rows = connection.execute("EXPLAIN (ANALYZE, BUFFERS) EXECUTE bench" + arguments).fetchall()
    finally:
        connection.execute("DEALLOCATE bench")
    return "\n".join(row[0] for row in rows)


def buffers(plan: str) -> int:
    """Return the number of buffers that the whole plan read."""
    found = _BUFFERS.search(plan)
    return sum(int(number or 0) for number in found.groups()) if found else 0


def _statement(match: re.Match[str]) -> Statement:
    text = match["text"].replace("\n\t", "\n")
    return Statement(text, tuple(_PARAMETER.findall(match["parameters"] or "")))
