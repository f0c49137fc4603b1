"""The program in docs/how-to/integration-in-40-lines.md works as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.fixtures.pages import program_of
from tests.fixtures.server import DOCVAULT, running_server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "integration-in-40-lines.md"
SCOPES = re.findall(r"--scope (\S+)", PAGE.read_text())


def program() -> str:
    """Return the program of the page."""
    return program_of(PAGE, "python integration")


def test_program_has_at_most_40_lines() -> None:
    assert len(program().splitlines()) <= 40


@pytest.mark.req("B-260")
def test_program_registers_and_sends_once(data_dir: Path) -> None:
    with running_server(data_dir) as server:

        def docvault(*arguments: str) -> str:
            command = [DOCVAULT, *arguments]
            output = subprocess.check_output(command, env=server.environment, text=True)
            return output.split()[-1]

        headers = {"Authorization": f"Bearer {docvault('token', 'admin')}"}
        scopes = [option for scope in SCOPES for option in ("--scope", scope)]
        key = docvault("api-key", "create", "--name", "crm", *scopes)
        with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers, timeout=60) as admin:
            contract = {"name": "Contract", "accepted_media_types": ["text/plain"]}
            assert admin.post("/document-types", json=contract).status_code == 201
            for _ in range(2):
                printed = subprocess.check_output(
                    [sys.executable, "-c", program()],
                    env={**os.environ, "API_URL": server.url, "API_KEY": key},
                    text=True,
                )
                assert printed.splitlines() == ["c-1 open", "c-2 open"]
            documents = [
                admin.get(f"/customers/{customer}/documents/contract").json()
                for customer in ("c-1", "c-2")
            ]
        assert [document["version"] for document in documents] == [1, 1]
