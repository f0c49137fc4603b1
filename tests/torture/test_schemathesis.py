"""Requests generated from the contract, sent to a server by each audience (T40)."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.torture.figures import Figure, Size

from docvault.auth.scopes import Scope

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
CUSTOMER = "c-1"  # known to the configuration of schemathesis, as is the document type

pytestmark = pytest.mark.torture


@pytest.fixture(scope="session")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the program, in an environment of its own."""
    folder = tmp_path_factory.mktemp("schemathesis") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = ["install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"]
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", *install]
    subprocess.run([*pip, "-r", str(FOLDER / "requirements.lock")], check=True)
    return str(folder / "bin" / "schemathesis")


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir, **UNLIMITED) as running:
        yield running


def credentials(server: RunningServer) -> dict[str, str]:
    """Make what the requests are about; return the header of each audience."""

    def token(*words: str) -> str:
        command = [DOCVAULT, "token", *words]
        output = subprocess.check_output(command, env=server.environment, text=True)
        return f"Authorization: Bearer {output.splitlines()[-1]}"

    staff = token("admin")
    headers = dict([staff.split(": ")])
    with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers) as client:
        asked = {"name": "Contract", "collects_fields": True, "field_labels": "Signed by"}
        made = [
            client.post("/document-types", json=asked),
            client.put(f"/customers/{CUSTOMER}", json={"name": "Anna"}),
            client.post("/api-keys", json={"name": "CRM", "scopes": [*Scope]}),
        ]
    assert [answer.status_code for answer in made] == [201, 201, 201]
    return {
        "customer": token("customer", CUSTOMER),
        "integration": f"X-API-Key: {made[-1].json()['key']}",
        # Last, for staff can change what the others find.
        "admin": staff,
    }


@pytest.mark.guarantee(
    "T40",
    promise="Whatever an audience sends, the answer is one that its contract announces.",
    tried="schemathesis generates requests from each audience's document, as it allows and as it "
    "forbids, and sends them to a running server: examples, every boundary, at random, and in "
    "sequences that follow what was created. All its checks are on but one: a revoked key stays "
    "in its list. What is refused although the schema allows it must name a reason that a schema "
    "cannot express.",
    not_shown="Contents of files: generated ones are noise, which T20 makes up for.",
)
def test_every_answer_is_announced(
    schemathesis: str, server: RunningServer, size: Size, figures: dict[str, Figure]
) -> None:
    for audience, header in credentials(server).items():
        for seed in range(1, size.of(ci=1, full=3) + 1):
            sent = run(schemathesis, audience, server.url, header, seed, size)
            figures[f"requests as {audience}"] = figures.get(f"requests as {audience}", 0) + sent
    figures["answers that were not announced"] = 0


def configured(folder: Path) -> Path:
    """Return a copy of the configuration, beside which schemathesis keeps what it found."""
    return shutil.copytree(FOLDER, folder / "run", dirs_exist_ok=True)


def phases(audience: str, size: Size) -> str:
    """Return which kinds of requests are sent: in CI no random ones, and few as staff."""
    if size.is_full:
        return "examples,coverage,fuzzing,stateful"
    return "examples" if audience == "admin" else "examples,coverage"


def run(schemathesis: str, audience: str, url: str, header: str, seed: int, size: Size) -> int:
    """Return how many requests were sent, all answered as they should be."""
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
