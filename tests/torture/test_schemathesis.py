"""Requests generated from the contract of each API, sent to a server (T40)."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.torture.figures import Figure, Size

from docvault.domain.scopes import Scope

FOLDER = Path(__file__).with_name("schemathesis")
OPENAPI = Path(__file__).parents[2] / "openapi"
UNLIMITED = {
    f"DOCVAULT_{what}_PER_MINUTE": "0"
    for what in (
        "CUSTOMER_UPLOADS",
        "CUSTOMER_REQUESTS",
        "API_KEY_REQUESTS",
        "FAILED_CREDENTIALS",
    )
}
CUSTOMER = "c-1"  # used in the configuration of schemathesis, as is the document type

pytestmark = pytest.mark.torture


@pytest.fixture(scope="session")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the executable, in an environment of its own."""
    folder = tmp_path_factory.mktemp("schemathesis") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
    subprocess.run([*pip, *install, "-r", str(FOLDER / "requirements.lock")], check=True)
    return str(folder / "bin" / "schemathesis")


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir, **UNLIMITED) as running:
        yield running


def credentials(server: RunningServer) -> dict[str, str]:
    """Create the resources that requests refer to; return the header for each API."""

    def token(*words: str) -> str:
        command = [DOCVAULT, "token", *words]
        output = subprocess.check_output(command, env=server.environment, text=True)
        return f"Authorization: Bearer {output.splitlines()[-1]}"

    staff = token("admin")
    headers = dict([staff.split(": ")])
    with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers) as client:
        document_type = {"name": "Contract", "collects_fields": True, "field_labels": "Signed by"}
        made = [
            client.post("/document-types", json=document_type),
            client.put(f"/customers/{CUSTOMER}", json={"name": "Anna"}),
            client.post("/api-keys", json={"name": "CRM", "scopes": [*Scope]}),
        ]
    assert [response.status_code for response in made] == [201, 201, 201]
    return {
        "customer": token("customer", CUSTOMER),
        "integration": f"X-API-Key: {made[-1].json()['key']}",
        # Last, because staff can change what the other APIs return.
        "admin": staff,
    }


@pytest.mark.guarantee(
    "T40",
    promise="Whatever a client of any API sends, the response is one that the contract documents.",
    tried="schemathesis generates requests from the OpenAPI document of each API, both valid and "
    "invalid ones, and sends them to a running server: examples, all boundary values, random "
    "values, and sequences that follow created resources. All its checks are enabled but one: a "
    "revoked key remains listed. A request that is rejected although the schema allows it must "
    "get an error for a rule that a schema cannot express.",
    not_shown="File contents: generated ones are noise; T20 covers files.",
)
def test_every_response_is_documented(
    schemathesis: str, server: RunningServer, size: Size, figures: dict[str, Figure]
) -> None:
    sent_before: Counter[str] = Counter()
    for audience, header in credentials(server).items():
        for seed in range(1, size.of(ci=1, full=3) + 1):
            sent = run(schemathesis, audience, server.url, header, seed, size)
            sent_before[audience] += sent
            figures[f"requests as {audience}"] = sent_before[audience]
    figures["undocumented responses"] = 0


def configured(folder: Path) -> Path:
    """Return a copy of the configuration, next to which schemathesis stores its findings."""
    return shutil.copytree(FOLDER, folder / "run", dirs_exist_ok=True)


def phases(audience: str, size: Size) -> str:
    """Return the kinds of requests to send: in CI no random ones, and few as staff."""
    if size.is_full:
        return "examples,coverage,fuzzing,stateful"
    return "examples" if audience == "admin" else "examples,coverage"


def run(schemathesis: str, audience: str, url: str, header: str, seed: int, size: Size) -> int:
    """Return the number of requests sent; fail on any unexpected response."""
    document = str(OPENAPI / f"{audience}.json")
    options = {
        "--url": url,
        "--header": header,
        "--seed": str(seed),
        "--max-examples": str(size.of(ci=1, full=200)),
        "--phases": phases(audience, size),
    }
    done = subprocess.run(
        [schemathesis, "--config-file", "schemathesis.toml", "run", document]
        + [word for option in options.items() for word in option],
        cwd=configured(Path(schemathesis).parents[2]),
        capture_output=True,
        text=True,
        check=False,
    )
    sent = re.search(r"(\d+) generated", done.stdout)
    assert sent is not None, done.stderr[-2000:]
    assert done.returncode == 0, done.stdout[-6000:]
    return int(sent.group(1))
