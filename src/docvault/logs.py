"""Structured logs: one JSON object a line, only fields that are known to be harmless (D27)."""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import psycopg

from docvault.database import failure_cause

# What may stand in a line besides time, level, logger and message. No body, query string,
# header, file name, field value or customer is among them.
ALLOWED_FIELDS = (
    "request_id",
    "method",
    "route",
    "operation",
    "status",
    "duration_ms",
    "caller",
    "problem",
    "bytes_in",
    "bytes_out",
    "blob_key",
    # The name clamd has for it; no part of a file or of its name.
    "malware",
    "job",
    "attempts",
)

# Where an argument goes in a message, as in "%s" and "%(name)-10s".
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")

# What comes before the package in the path of a source file.
_LIBRARY_PATH = re.compile(r"^.*/(?:site-packages|src)/")


class JsonFormatter(logging.Formatter):
    """Formats our own records fully and those of libraries without their arguments."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        ours = record.name.split(".")[0] == "docvault"
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if ours else _without_arguments(record),
        }
        line |= {name: getattr(record, name) for name in ALLOWED_FIELDS if hasattr(record, name)}
        if not ours and (cause := _database_cause(record)):
            line["cause"] = cause
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["frames"] = _frames(record.exc_info[2])
        return json.dumps(line, default=str)


def _without_arguments(record: logging.LogRecord) -> str:
    """Return what happened, with dots where something of ours could stand.

    Only the first line: asyncio adds more, which quote the exception and its task.
    """
    message = str(record.msg).partition("\n")[0]
    return _PLACEHOLDER.sub("…", message).replace("%%", "%") if record.args else message


def _database_cause(record: logging.LogRecord) -> str | None:
    """Return why a connection failed, when that is what a library says."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    failures = (one for one in arguments if isinstance(one, psycopg.OperationalError))
    return next(map(failure_cause, failures), None)


def _frames(trace: TracebackType | None) -> list[str]:
    """Return where it happened; the message of an exception may quote what was sent."""
    return [
        f"{_LIBRARY_PATH.sub('', frame.filename)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]


def configure_logging(level: str) -> None:
    """Send every log line of the process to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.getLogger("docvault").setLevel(level.upper())
