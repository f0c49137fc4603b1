"""The TypeScript receiver in docs/how-to/receive-a-webhook.md compiles strictly and works."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.docs.test_follow_the_feed import docvault
from tests.docs.test_receive_a_webhook import (
    PAGE,
    SECONDS,
    post,
    wait_for,
    wait_until_it_responds,
)
from tests.fixtures.pages import program_of, running_program
from tests.fixtures.server import running_server
from tests.fixtures.sockets import free_port
from tests.fixtures.workshop import Workshop

pytestmark = [pytest.mark.system, pytest.mark.req("B-272")]

TSCONFIG = """{
  "compilerOptions": {
    "target": "es2022",
    "module": "preserve",
    "types": ["node"],
    "noEmit": true,
    "strict": true,
    "noUncheckedIndexedAccess": true,
    "exactOptionalPropertyTypes": true,
    "noPropertyAccessFromIndexSignature": true
  }
}"""


@dataclass(frozen=True, slots=True)
class Program:
    """The compiled program, and the Node.js that runs it."""

    node: Path
    bundle: Path

    def running(self, folder: Path, port: int, secret: str) -> AbstractContextManager[None]:
        """Run it; it is killed at the end."""
        variables = {"PORT": str(port), "WEBHOOK_SECRET": secret}
        return running_program([self.node, self.bundle], folder, variables)


@pytest.fixture(scope="module")
def program(workshop: Workshop, typescript_package: Path) -> Program:
    """The program of the page, which compiles without an error."""
    assert (typescript_package / "dist" / "index.js").exists()
    folder = workshop.folder / "receiver"
    folder.mkdir()
    (folder / "tsconfig.json").write_text(TSCONFIG)
    source, bundle = folder / "receive.ts", folder / "receive.mjs"
    source.write_text(program_of(PAGE, "ts receive"))
    workshop.node("node_modules/typescript/bin/tsc", "--pretty", "false", "-p", folder)
    options = ("--bundle", "--format=esm", "--platform=node", "--log-level=warning")
    esbuild = workshop.modules / "esbuild" / "bin" / "esbuild"
    workshop.node(esbuild, source, *options, f"--outfile={bundle}")
    (node,) = workshop.modules.glob("node-linux-*/bin/node")
    return Program(node, bundle)


@pytest.mark.parametrize("signing", ["hmac", "ed25519"])
def test_typescript_receiver_has_every_event_once_after_it_was_killed(
    program: Program, tmp_path: Path, signing: str
) -> None:
    port, events = free_port(), tmp_path / "events.db"
    allowed = {"DOCVAULT_WEBHOOK_ALLOWED_HOSTS": f"localhost:{port}"}
    with running_server(tmp_path / "data", **allowed) as server:
        headers = {"Authorization": f"Bearer {docvault(server, 'token', 'admin')}"}
        with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers, timeout=60) as admin:
            url = f"http://localhost:{port}/"
            created = post(admin, "/webhooks", name="CRM", url=url, types=["*"], signing=signing)
            path = f"/webhooks/{created['id']}"
            with program.running(tmp_path, port, created["secret"]):
                wait_until_it_responds(admin, f"{path}/test")
                post(admin, "/customers", id="c-1")
                wait_for(events, ["c-1"])
            post(admin, "/customers", id="c-2")
            with program.running(tmp_path, port, created["secret"]):
                wait_for(events, ["c-1", "c-2"])
                send_again(admin, path)
                wait_for(events, ["c-1", "c-2"])
            with program.running(tmp_path, port, other_secret(admin, url, signing)):
                assert not post(admin, f"{path}/test")["delivered"]


def send_again(admin: httpx.Client, path: str) -> None:
    """Send the latest event once more, and wait until it was received again."""
    latest = admin.get(f"{path}/deliveries").json()["items"][0]
    delivery = f"{path}/deliveries/{latest['id']}"
    before = received(admin, delivery)
    post(admin, f"{delivery}/retry")
    deadline = time.monotonic() + SECONDS
    while received(admin, delivery) == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def received(admin: httpx.Client, delivery: str) -> int:
    """Return how often a delivery was received."""
    found: dict[str, Any] = admin.get(delivery).json()
    return sum(attempt["status"] == 204 for attempt in found["attempts"])


def other_secret(admin: httpx.Client, url: str, signing: str) -> str:
    """Return a secret that signs the messages of another webhook."""
    other = post(admin, "/webhooks", name="other", url=url, types=["*"], signing=signing)
    return str(other["secret"])
