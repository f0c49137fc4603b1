"""deploy/pin-images.sh, with a `docker` that knows a digest for every tag."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.fixtures.compose import ROOT

FILES = ("Dockerfile", *(path.name for path in ROOT.glob("docker-compose*.yml")))
# No registry can be asked here. Its arguments: buildx imagetools inspect --format TEMPLATE IMAGE.
DOCKER = """#!/bin/sh
printf sha256:; printf %s "$6" | sha256sum | cut -d " " -f 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "pin-images.sh", tmp_path / "deploy")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return tmp_path


def pin(checkout: Path) -> dict[str, str]:
    """Run the script; return the files afterwards."""
    path = f"{checkout}/bin:{os.environ['PATH']}"
    script = checkout / "deploy" / "pin-images.sh"
    subprocess.run([script], env={"PATH": path}, check=True, capture_output=True)
    assert list(checkout.glob("*.old")) == []
    return {name: (checkout / name).read_text() for name in FILES}


def test_every_image_of_others_gets_its_digest_and_nothing_else_changes(checkout: Path) -> None:
    pinned = pin(checkout)
    for name, text in pinned.items():
        images = re.findall(r"^(?: *image:|FROM) (\S*:\S+)", text, re.MULTILINE)
        others = [image for image in images if "DOCVAULT_IMAGE" not in image]
        assert others
        assert all(re.search(r":[^@]+@sha256:[0-9a-f]{64}$", image) for image in others), others
        assert re.sub(r"@sha256:[0-9a-f]{64}", "", text) == re.sub(
            r"@sha256:[0-9a-f]{64}", "", (ROOT / name).read_text()
        )


def test_pinned_images_stay_as_they_are(checkout: Path) -> None:
    assert pin(checkout) == pin(checkout)
