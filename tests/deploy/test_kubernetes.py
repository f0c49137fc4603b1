"""The manifests for Kubernetes: valid, hardened, and with settings that docvault accepts."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from docvault.services.machine_checks import MEBIBYTE, memory_needed
from docvault.settings import Settings
from docvault.storage.s3 import S3BlobStore

pytestmark = pytest.mark.req("B-228")

ROOT = Path(__file__).parents[2]
DOCUMENTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "docvault.yaml").read_text())
)
PODS: dict[str, dict[str, Any]] = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in DOCUMENTS
    if one["kind"] == "Deployment"
}
CONTAINERS: dict[str, dict[str, Any]] = {
    container["name"]: container
    for pod in PODS.values()
    for container in [*pod.get("initContainers", []), *pod["containers"]]
}
# What a Secret of the guide holds.
SECRETS = {
    "DOCVAULT_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "DOCVAULT_DATABASE_URL": "postgresql://docvault@db.example.org/docvault",
}


def mebibytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one["kind"])
def test_manifest_is_valid(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_pod_runs_without_privileges(name: str) -> None:
    pod = PODS[name]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert [security["runAsUser"], security["runAsGroup"]] == list(map(int, user.groups()))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_confined(name: str) -> None:
    assert CONTAINERS[name]["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    # What is written are the folders that the image names.
    assert {one["mountPath"] for one in CONTAINERS[name]["volumeMounts"]} == {"/data", "/tmp"}
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", CONTAINERS[name]["image"])


def test_settings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    (data,) = [one["data"] for one in DOCUMENTS if one["kind"] == "ConfigMap"]
    for name, value in (data | SECRETS).items():
        monkeypatch.setenv(name, value)
    assert Settings().has_embedded_worker is False


def test_probes_ask_for_health() -> None:
    probes = {
        name: probe["httpGet"]["path"]
        for name, probe in CONTAINERS["api"].items()
        if name.endswith("Probe")
    }
    assert probes == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }


@pytest.mark.parametrize(("name", "is_worker"), [("api", False), ("worker", True)])
def test_memory_limit_suffices(name: str, is_worker: bool) -> None:
    limit = mebibytes(CONTAINERS[name]["resources"]["limits"]["memory"])
    needed = memory_needed(1, S3BlobStore.write_memory_bytes, is_worker=is_worker)
    assert needed <= limit * MEBIBYTE


def test_same_image_runs_everywhere() -> None:
    assert len({container["image"] for container in CONTAINERS.values()}) == 1


def test_health_and_metrics_are_not_public() -> None:
    (ingress,) = [one for one in DOCUMENTS if one["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    paths = [one["path"] for one in rule["http"]["paths"]]
    assert paths == ["/v1", "/uploads", "/content", "/docs", "/openapi.json"]
