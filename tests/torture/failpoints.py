"""Kills a docvault process at a named point.

docvault contains no code for this: before its command runs, functions are wrapped, including
those of the driver and the operating system that perform every durable write. Points are counted
once the file `armed` exists.
"""

import inspect
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psycopg
from aiobotocore.client import AioBaseClient
from procrastinate.manager import JobManager
from procrastinate.periodic import PeriodicRegistry
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from docvault.previews.renderer import PreviewRenderer
from docvault.services import webhook_sending
from docvault.storage.spool import SpoolFile
from docvault.webhooks.sender import WebhookSender

# Durable is what the database was asked to commit and what the store has received.
COMMIT = "commit"
AUTOCOMMITTED = "autocommitted statement"
STATEMENT = "statement in a transaction"
# The steps of a delivery: it was claimed, its message is sent, and the result recorded.
DELIVERY = "delivery"
MESSAGE = "message to a webhook"
SUCCESS = "record of a success"
FAILURE = "record of a failure"

Named = Callable[..., str | None]


@dataclass(slots=True)
class Watch:
    """Counts points, records them or kills the process at one of them."""

    armed: Path
    trace: Path | None = None
    name: str | None = None
    call: int = 0
    before: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def enter(self, name: str) -> int:
        """Pass the start of a point; return how often it was passed, 0 while not armed."""
        if not self.armed.exists():
            return 0
        self.counts[name] += 1
        if self.trace is not None:
            with self.trace.open("a") as file:
                file.write(f"{name}\n")
        call = self.counts[name]
        if self.before and (name, call) == (self.name, self.call):
            die()
        return call

    def leave(self, name: str, call: int) -> None:
        """Pass the end of a point."""
        if not self.before and (name, call) == (self.name, self.call):
            die()


def die() -> NoReturn:
    """Kill this process immediately, with all its threads."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def install(failpoint: Mapping[str, Any] | None) -> None:
    """Wrap every point; without a failpoint change nothing."""
    if failpoint is None:
        return
    paths = {name: Path(failpoint[name]) for name in ("armed", "trace") if failpoint.get(name)}
    watch = Watch(**{**failpoint, **paths})
    for owner, attribute, named in _points():
        setattr(owner, attribute, _wrapped(getattr(owner, attribute), named, watch))
    # The reaper runs every minute and would interfere at random points; it is tested as an
    # operation of its own.
    PeriodicRegistry.register_task = lambda *_, **__: None  # type: ignore[method-assign, assignment]


def _points() -> list[tuple[Any, str, Named]]:
    return [
        (psycopg.AsyncConnection, "commit", _commit),
        (psycopg.AsyncCursor, "execute", _statement),
        (psycopg.AsyncCursor, "executemany", _statement),
        (SpoolFile, "__init__", _always("spool file")),
        (SpoolFile, "_append", _always("spool write")),
        (os, "fsync", _always("flush")),
        (os, "link", _always("link")),
        (os, "unlink", _always("unlink")),
        (os, "mkdir", _always("new folder")),
        (os, "rmdir", _always("folder removal")),
        (AioBaseClient, "_make_api_call", _request),
        (PreviewRenderer, "render", _always("preview")),
        (JobManager, "finish_job_by_id_async", _always("end of job")),
        (RequestResponseCycle, "send", _response),
        (webhook_sending, "_deliver", _always(DELIVERY)),
        (WebhookSender, "post", _always(MESSAGE)),
        (webhook_sending, "_complete", _always(SUCCESS)),
        (webhook_sending, "_fail", _always(FAILURE)),
    ]


def _always(name: str) -> Named:
    return lambda *_: name


def _commit(connection: psycopg.AsyncConnection[Any]) -> str | None:
    return COMMIT if _is_docvaults(connection) else None


def _statement(cursor: psycopg.AsyncCursor[Any], *_: object) -> str | None:
    if not _is_docvaults(cursor.connection):
        return None
    return AUTOCOMMITTED if cursor.connection.autocommit else STATEMENT


def _is_docvaults(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether this is not a connection of the job queue, which uses a psycopg pool."""
    return getattr(connection, "_pool", None) is None


def _request(_: object, operation: str, *__: object) -> str:
    return f"S3 {operation}"


def _response(_: object, message: Mapping[str, Any]) -> str | None:
    if message["type"] == "http.response.start":
        return "start of response"
    return None if message.get("more_body") else "end of response"


def _wrapped(function: Callable[..., Any], named: Named, watch: Watch) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            name = named(*args)
            call = watch.enter(name) if name else 0
            try:
                return await function(*args, **kwargs)
            finally:
                if name and call:
                    watch.leave(name, call)

        return wrapper

    def plain_wrapper(*args: Any, **kwargs: Any) -> Any:
        name = named(*args)
        call = watch.enter(name) if name else 0
        # Also after a call that fails: unlinking a file that the store has moved raises.
        try:
            return function(*args, **kwargs)
        finally:
            if name and call:
                watch.leave(name, call)

    return plain_wrapper
