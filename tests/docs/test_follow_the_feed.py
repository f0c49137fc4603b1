"""The program in docs/how-to/follow-the-feed.md works as written."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.fixtures.pages import program_of, running_program
from tests.fixtures.server import DOCVAULT, RunningServer, running_server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "follow-the-feed.md"
SECONDS = 60


def docvault(server: RunningServer, *arguments: str) -> str:
    """Run a command of the deployment and return the last word that it prints."""
    done = subprocess.run(
        [DOCVAULT, *arguments], env=server.environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def follower(folder: Path, url: str, key: str) -> AbstractContextManager[None]:
    """Run the program; it is killed at the end."""
    command = [sys.executable, "-c", program_of(PAGE, "python follow")]
    return running_program(command, folder, {"API_URL": url, "API_KEY": key})


def request(client: httpx.Client, method: str, path: str, **arguments: Any) -> None:
    """Send a request that succeeds."""
    response = client.request(method, path, **arguments)
    assert response.is_success, response.text


def wait_for(path: Path, condition: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the state of the program meets a condition."""
    deadline = time.monotonic() + SECONDS
    state: Any = None
    while time.monotonic() < deadline:
        if path.exists() and condition(state := json.loads(path.read_text())):
            return
        time.sleep(0.1)
    pytest.fail(f"the program knows {state}")


@pytest.mark.req("B-232")
def test_follower_knows_who_is_blocked_after_it_was_killed(data_dir: Path, tmp_path: Path) -> None:
    state = tmp_path / "blocked.json"
    with running_server(data_dir) as server:
        scopes = ("events:read", "customers:read", "gate:read")
        options = [option for scope in scopes for option in ("--scope", scope)]
        key = docvault(server, "api-key", "create", "--name", "follower", *options)
        headers = {"Authorization": f"Bearer {docvault(server, 'token', 'admin')}"}
        with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers, timeout=60) as admin:
            change = partial(request, admin)
            change("POST", "/document-types", json={"name": "Passport", "upload_mode": "required"})
            change("PUT", "/customers/c-1", json={})
            settings = {"json": {"gate_enabled": True}, "headers": {"If-Match": "*"}}
            change("PATCH", "/settings/portal", **settings)
            with follower(tmp_path, server.url, key):
                change("PUT", "/customers/c-2", json={})
                wait_for(state, lambda known: sorted(known["blocked"].values()) == ["c-1", "c-2"])
            upload = {"files": [("file", ("passport.pdf", files.pdf()))]}
            change("PUT", "/customers/c-1/documents/passport", **upload)
            change("DELETE", "/customers/c-2")
            with follower(tmp_path, server.url, key):
                wait_for(state, lambda known: not known["blocked"])
