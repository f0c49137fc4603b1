"""The receiver in docs/how-to/receive-a-webhook.md works as written."""

import sqlite3
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.docs.test_follow_the_feed import docvault
from tests.fixtures.pages import program_of, running_program
from tests.fixtures.server import running_server
from tests.fixtures.sockets import free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "receive-a-webhook.md"
SECONDS = 60


def receiver(folder: Path, port: int, secret: str) -> AbstractContextManager[None]:
    """Run the program; it is killed at the end."""
    command = [sys.executable, "-c", program_of(PAGE, "python receive")]
    return running_program(command, folder, {"PORT": str(port), "WEBHOOK_SECRET": secret})


def post(admin: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """Send a request that succeeds."""
    response = admin.post(path, json=body) if body else admin.post(path)
    assert response.is_success, response.text
    found: dict[str, Any] = response.json()
    return found


def wait_for(path: Path, customers: list[str]) -> None:
    """Wait until the program has stored the creation of exactly these customers."""
    query = "SELECT data ->> '$.customer.id' FROM events WHERE type = 'customer.created'"
    deadline = time.monotonic() + SECONDS
    stored: list[str] = []
    while time.monotonic() < deadline:
        if path.exists():
            with sqlite3.connect(path, timeout=10) as database:
                stored = sorted(row[0] for row in database.execute(query))
        if stored == customers:
            return
        time.sleep(0.1)
    pytest.fail(f"the program knows {stored}")


def wait_until_it_responds(admin: httpx.Client, path: str) -> None:
    """Wait until the program accepts a test message."""
    deadline = time.monotonic() + SECONDS
    while not post(admin, path)["delivered"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.req("B-240", "B-243", "B-272")
def test_receiver_has_every_event_once_after_it_was_killed(data_dir: Path, tmp_path: Path) -> None:
    port, events = free_port(), tmp_path / "events.db"
    with running_server(data_dir, DOCVAULT_WEBHOOK_ALLOWED_HOSTS=f"localhost:{port}") as server:
        headers = {"Authorization": f"Bearer {docvault(server, 'token', 'admin')}"}
        with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers, timeout=60) as admin:
            created = post(
                admin, "/webhooks", name="CRM", url=f"http://localhost:{port}/", types=["*"]
            )
            with receiver(tmp_path, port, created["secret"]):
                wait_until_it_responds(admin, f"/webhooks/{created['id']}/test")
                post(admin, "/customers", id="c-1")
                wait_for(events, ["c-1"])
            post(admin, "/customers", id="c-2")
            with receiver(tmp_path, port, created["secret"]):
                # The first attempt may have failed; the second follows after five seconds.
                wait_for(events, ["c-1", "c-2"])
            with receiver(tmp_path, port, "whsec_" + "0" * 43 + "="):
                outcome = post(admin, f"/webhooks/{created['id']}/test")
                assert not outcome["delivered"]
