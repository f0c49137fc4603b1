"""Structured logs with fields from an allow-list (D27): JSON, or readable lines at a terminal."""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import psycopg

from docvault.db.failures import failure_cause
from docvault.errors import ServiceUnavailable

# Its records are requests.
ACCESS_LOGGER = "docvault.access"

# The fields besides time, level, logger and message. No body, query string, header, file name,
# field value or customer is among them.
ALLOWED_FIELDS = (
    "request_id",
    "method",
    "route",
    "operation",
    "status",
    "duration_ms",
    "caller",
    "problem",
    # Why a dependency failed; never a message, which could name something.
    "cause",
    "bytes_in",
    "bytes_out",
    "blob_key",
    # clamd's name of the malware; contains nothing of a file or of its name.
    "malware",
    "job",
    "attempts",
)

# Placeholders in a message, such as "%s" and "%(name)-10s".
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*+[\d*]*+(?:\.[\d*]+)?[a-zA-Z]")

# The part of a source file's path before the package.
_LIBRARY_PATH = re.compile(r"^.*/(?:site-packages|src)/")


class JsonFormatter(logging.Formatter):
    """Formats records as one line of JSON each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(_describe(record), default=str)


class TerminalFormatter(logging.Formatter):
    """Formats records as one line each, for people; a failure also lists where it was raised."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the same as JSON would have, in the order in which people read it."""
        fields = _describe(record)
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        del fields["time"]
        level, logger, message = (fields.pop(name) for name in ("level", "logger", "message"))
        frames = fields.pop("frames", [])
        if logger == ACCESS_LOGGER:
            method, route = fields.pop("method"), fields.pop("route")
            message = f"{method} {route or '(no route)'} {fields.pop('status')}"
        else:
            message = f"{logger}: {message}"
        rest = [f"{name}={value}" for name, value in fields.items() if value is not None]
        lines = [" ".join([time, f"{level:<8}", message, *rest]), *(f"    {one}" for one in frames)]
        return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """Escape what a terminal could interpret."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    """Return docvault's own records in full, and those of libraries without their arguments."""
    ours = record.name.split(".")[0] == "docvault"
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage() if ours else _mask_arguments(record),
    }
    fields |= {name: getattr(record, name) for name in ALLOWED_FIELDS if hasattr(record, name)}
    if not ours and (cause := _find_database_cause(record)):
        fields["cause"] = cause
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = record.exc_info[0].__name__
        if isinstance(record.exc_info[1], ServiceUnavailable) and record.exc_info[1].cause:
            fields["cause"] = record.exc_info[1].cause
        fields["frames"] = _list_frames(record.exc_info[2])
    return fields


def _mask_arguments(record: logging.LogRecord) -> str:
    """Return the message with dots instead of arguments, which could contain anything.

    Only its first line: asyncio adds lines that quote the exception and its task.
    """
    message = str(record.msg).partition("\n")[0]
    return _PLACEHOLDER.sub("…", message).replace("%%", "%") if record.args else message


def _find_database_cause(record: logging.LogRecord) -> str | None:
    """Return why a connection failed, if a library logs that."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    failures = (one for one in arguments if isinstance(one, psycopg.OperationalError))
    return next(map(failure_cause, failures), None)


def _list_frames(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised; its message could quote a request."""
    return [
        f"{_LIBRARY_PATH.sub('', frame.filename)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]


def configure_logging(level: str) -> None:
    """Log to standard error, as JSON except at a terminal.

    The level applies to docvault's own loggers.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerminalFormatter() if sys.stderr.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.getLogger("docvault").setLevel(level.upper())
