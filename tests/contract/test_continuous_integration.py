"""The workflow runs what `.ci/run` runs, with the same packages; commits have short subjects."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / ".ci" / "run").read_text()
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def commands(job: str) -> str:
    """Return the commands of a job's steps."""
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_workflow_runs_script_targets() -> None:
    targets = {"test", *JOBS["suite"]["strategy"]["matrix"]["target"]}
    assert targets == set(re.findall(r"^run make (\S+)$", SCRIPT, re.MULTILINE))
    assert "make test" in commands("test")
    assert "make ${{ matrix.target }}" in commands("suite")


def test_workflow_installs_script_packages() -> None:
    packages = re.search(r"--no-install-recommends \\\n(.*)$", commands("suite"), re.MULTILINE)
    assert packages is not None
    assert set(packages[1].split()) == set(re.findall(r"missing\+=\((\S+)\)", SCRIPT))


def test_workflow_tests_all_supported_python_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = JOBS["test"]["strategy"]["matrix"]["python"]
    minors = [int(version.removeprefix("3.")) for version in versions]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert project["requires-python"] == f">={versions[0]}"


def test_jobs_are_read_only_without_credentials() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for job in JOBS.values():
        checkout = next(step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"]["persist-credentials"] is False
        assert "permissions" not in job


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("s" * 60, 0),
        ("s" * 61, 1),
        ("Short\n\n" + "b" * 72, 0),
        ("Merge branch " + "b" * 60, 0),
    ],
)
def test_long_commit_subject_is_rejected(message: str, status: int, tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_text(f"{message}\n")
    done = subprocess.run([ROOT / ".ci" / "check-commit-subject", path], check=False)
    assert done.returncode == status


class TestPublishing:
    """The image of a release."""

    PUBLISH = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    ENGINE = yaml.safe_load((ROOT / ".github" / "workflows" / "engine.yml").read_text())["jobs"]
    RECIPE = re.search(r"^publish:\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def test_image_is_published_after_the_deployment_has_run(self) -> None:
        assert self.PUBLISH["engine"] == {"uses": "./.github/workflows/engine.yml"}
        assert self.PUBLISH["image"]["needs"] == "engine"
        assert self.PUBLISH["image"]["permissions"] == {"contents": "read", "packages": "write"}
        assert any(step.get("run") == "make engine" for step in self.ENGINE["engine"]["steps"])

    @pytest.mark.req("B-266")
    def test_image_has_labels_contents_and_two_platforms(self) -> None:
        steps = [step.get("run", "") for step in self.PUBLISH["image"]["steps"]]
        assert steps[-1].startswith("make publish IMAGE=")
        assert self.RECIPE is not None
        recipe = self.RECIPE[1]
        for part in (
            "--platform linux/amd64,linux/arm64",
            "--sbom=true",
            "--provenance=mode=max",
            "org.opencontainers.image.revision=",
            "org.opencontainers.image.source=",
            "--tag $(IMAGE):$(VERSION)",
        ):
            assert part in recipe
