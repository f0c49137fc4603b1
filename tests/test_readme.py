"""The README says what is so."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.fixtures.server import DOCVAULT, running_server

from docvault.auth.scopes import Scope
from docvault.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def tour(url: str) -> str:
    """Return the commands of the tour, for a server at another address."""
    match = re.search(r"```sh tour\n(.*?)```", README, re.DOTALL)
    assert match is not None
    commands = match.group(1)
    assert "http://127.0.0.1:8000" in commands
    return commands.replace("http://127.0.0.1:8000", url).replace(".venv/bin/docvault", DOCVAULT)


@pytest.mark.req("R-003", "R-005", "R-009", "R-110", "R-117")
def test_the_tour_runs_as_written(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    with running_server(data_dir) as server:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", tour(server.url)],
            cwd=tmp_path,
            env=server.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert (tmp_path / "preview.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_every_setting_is_in_the_configuration_table_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(DOCVAULT_\w+)` \|", README, re.MULTILINE))
    assert documented == {f"DOCVAULT_{name.upper()}" for name in Settings.model_fields}


def test_the_scopes_of_keys_are_all_there() -> None:
    paragraph = README.partition("A key's scopes:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+:\w+)`", paragraph)) == {scope.value for scope in Scope}


def test_every_relative_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_test_file_named_as_evidence_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
