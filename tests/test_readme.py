"""The commands in README and tutorial work."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.fixtures.server import DOCVAULT, running_server

ROOT = Path(__file__).parents[1]


def tour(page: str, url: str) -> str:
    """Return the commands of the tour on a page, for a server at another address."""
    blocks = re.findall(
        r"^```sh tour\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    commands = "\n".join(blocks)
    assert "http://127.0.0.1:8000" in commands
    return commands.replace("http://127.0.0.1:8000", url).replace(".venv/bin/docvault", DOCVAULT)


@pytest.mark.req("R-003", "R-005", "R-009", "R-110", "R-117")
@pytest.mark.parametrize(
    ("page", "pictures"), [("README.md", []), ("docs/tutorial.md", ["preview.jpg"])]
)
def test_tour_runs_as_written(
    page: str, pictures: list[str], data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    with running_server(data_dir) as server:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", tour(page, server.url)],
            cwd=tmp_path,
            env=server.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    for name in pictures:
        assert (tmp_path / name).read_bytes().startswith(b"\xff\xd8\xff")
