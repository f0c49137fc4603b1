"""The Compose commands of the documentation are those that `make engine` runs."""

import re

import pytest
from tests.system.engine.commands import COMMANDS, OTHERS
from tests.system.engine.deployment import ROOT

# Also in the items of a list.
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s#.*$", re.MULTILINE)
_SPAN = re.compile(r"`(docker compose [^`]+)`")


def documented() -> set[str]:
    """Return every Compose command in code blocks and in the text of a page."""
    found = set()
    for page in (ROOT / "README.md", *(ROOT / "docs" / "how-to").glob("*.md")):
        text = page.read_text()
        code = "\n".join(_FENCE.findall(text)).replace("\\\n", " ")
        lines = [line.strip() for line in _COMMENT.sub("", code).splitlines()]
        for line in [*lines, *_SPAN.findall(_FENCE.sub("", text))]:
            parts = (" ".join(part.split()) for part in line.split(" && "))
            found |= {part for part in parts if part.startswith("docker compose ")}
    return found


@pytest.mark.req("B-263")
def test_engine_runs_every_documented_command() -> None:
    commands = documented()
    assert len(commands) > 10
    assert commands - set(COMMANDS) - OTHERS == set()
    assert set(COMMANDS) - commands == set()
