"""Starts docvault processes by forking one that has already imported everything.

Importing takes seconds, and these tests start docvault thousands of times. Commands arrive as lines
of JSON on standard input, and responses are written as JSON lines to standard output. On exit it
kills every process it started. Run by `processes.py`.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from fastapi import FastAPI
from tests.torture import failpoints

from docvault.api.app import OpenResources, create_app
from docvault.cli import main as cli
from docvault.server import serve

WAIT_SECONDS = 60
POLL_SECONDS = 0.005


class Prebuilt:
    """The application, built once: building it dominates the start-up time."""

    def __init__(self) -> None:
        # The resources are not known yet.
        self._app = create_app(lambda: self._open_resources())  # noqa: PLW0108

    def __call__(self, open_resources: OpenResources, **_: object) -> FastAPI:
        """Return the prebuilt application with its resources; replaces `create_app`."""
        self._open_resources = open_resources
        return self._app


def main() -> None:
    """Execute commands until standard input ends."""
    setattr(serve, "create_app", Prebuilt())  # noqa: B010 - a type checker would refuse it
    # A thread would not survive the fork, and a lock it holds would stay locked.
    assert threading.active_count() == 1
    children: set[int] = set()
    response({"ready": os.getpid()})
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if "wait" in order:
                status = wait(order["wait"])
                if status is not None:
                    children.discard(order["wait"])
                response({"status": status})
            else:
                pid = start(order)
                children.add(pid)
                response({"pid": pid})
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def response(message: dict[str, Any]) -> None:
    """Write one JSON line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def start(order: dict[str, Any]) -> int:
    """Fork a process that runs a docvault command; return its id."""
    pid = os.fork()
    if pid == 0:
        become(order)
    return pid


def become(order: dict[str, Any]) -> NoReturn:
    """Run a docvault command; never returns."""
    status = 1
    try:
        redirect(order["log"])
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        failpoints.install(order.get("failpoint"))
        sys.argv = ["docvault", *order["arguments"]]
        cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def redirect(log: str) -> None:
    """Redirect both outputs to a file and standard input to nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, number in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(file)


def wait(pid: int) -> int | None:
    """Return the exit status, negative for a signal; None if it does not exit in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    return None


if __name__ == "__main__":
    main()
