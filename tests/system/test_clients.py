"""Clients that people generate from the contracts compile strictly, and work with the service.

The programs are in the directory `clients`, one for each generator and API. Those of openapi-fetch
and openapi-python-client use the packages that docvault offers, as built by these generators.
"""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.factories import files
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.fixtures.workshop import AUDIENCES, OPENAPI, Workshop, run

PROGRAMS = Path(__file__).with_name("clients")
TYPESCRIPT = ("openapi-fetch", "hey-api", "orval")
SCOPES = ["customers:write", "documents:read", "documents:write", "content:read"]
DOCUMENT_TYPES = (
    {
        "name": "Card",
        "key": "card",
        "accepted_media_types": ["image/jpeg"],
        "collects_fields": True,
        "fields": [{"label": "Date of issue"}],
    },
    {"name": "Letter", "key": "letter", "accepted_media_types": ["text/plain"]},
)

pytestmark = [pytest.mark.system, pytest.mark.req("B-141")]

each_audience = pytest.mark.parametrize("audience", AUDIENCES)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service with two document types."""

    server: RunningServer
    admin: httpx.Client

    def environment(self, audience: str, tool: str) -> dict[str, str]:
        """Return what a program is given; each has a customer of its own."""
        customer = f"c-{audience}-{tool}"
        return {
            "DOCVAULT_URL": self.server.url,
            "DOCVAULT_CREDENTIAL": self._credential(audience, customer),
            "CUSTOMER_ID": customer,
            "PHOTO": base64.b64encode(files.jpeg()).decode(),
        }

    def _credential(self, audience: str, customer: str) -> str:
        if audience == "integration":
            key = {"name": customer, "scopes": SCOPES}
            return str(self.admin.post("/v1/admin/api-keys", json=key).json()["key"])
        if audience == "customer":
            registered = self.admin.put(f"/v1/admin/customers/{customer}", json={})
            assert registered.status_code == 201, registered.text
            return printed(self.server, "token", "customer", customer)
        return printed(self.server, "token", "admin")


def printed(server: RunningServer, *arguments: str) -> str:
    """Return the last line that a command prints."""
    command = [DOCVAULT, *arguments]
    return subprocess.check_output(command, env=server.environment, text=True).splitlines()[-1]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_server(folder / "data") as server:
        headers = {"Authorization": f"Bearer {printed(server, 'token', 'admin')}"}
        with httpx.Client(base_url=server.url, headers=headers) as admin:
            for document_type in DOCUMENT_TYPES:
                created = admin.post("/v1/admin/document-types", json=document_type)
                assert created.status_code == 201, created.text
            yield Service(server, admin)


@pytest.fixture(scope="module")
def programs(workshop: Workshop, typescript_package: Path) -> Path:
    """Return the programs, with what hey-api and orval generate."""
    assert (typescript_package / "dist" / "index.js").exists()
    folder = workshop.folder / "clients"
    shutil.copytree(PROGRAMS, folder)
    modules = workshop.modules
    contracts = {"DOCVAULT_CONTRACTS": str(OPENAPI)}
    hey_api = modules / "@hey-api" / "openapi-ts" / "bin" / "run.js"
    workshop.node(hey_api, "-f", "clients/hey-api/openapi-ts.config.mjs", variables=contracts)
    orval = modules / "orval" / "dist" / "bin" / "orval.mjs"
    workshop.node(orval, "--config", "clients/orval/orval.config.mjs", variables=contracts)
    return folder


def test_typescript_programs_compile(workshop: Workshop, programs: Path) -> None:
    workshop.node("node_modules/typescript/bin/tsc", "--pretty", "false", "-p", programs)


@each_audience
@pytest.mark.parametrize("tool", TYPESCRIPT)
def test_typescript_program_runs(
    workshop: Workshop, programs: Path, service: Service, tool: str, audience: str
) -> None:
    bundle = programs / tool / f"{audience}.mjs"
    esbuild = workshop.modules / "esbuild" / "bin" / "esbuild"
    source = programs / tool / f"{audience}.ts"
    options = ("--bundle", "--format=esm", "--platform=node", "--log-level=warning")
    workshop.node(esbuild, source, *options, f"--outfile={bundle}")
    workshop.node(bundle, variables=service.environment(audience, tool))


def test_python_programs_and_package_have_strict_types(
    client_python: Path, checkout: Path, tmp_path: Path
) -> None:
    package = checkout / "clients" / "python" / "src"
    run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}",
        f"--python-executable={client_python}", package / "docvault_client",
        *sorted((PROGRAMS / "python").glob("*.py")),
        cwd=tmp_path, variables={"MYPYPATH": f"{package}:{PROGRAMS / 'python'}"},
    )  # fmt: skip


@each_audience
def test_python_program_runs(
    client_python: Path, service: Service, audience: str, tmp_path: Path
) -> None:
    program = PROGRAMS / "python" / f"{audience}.py"
    run(client_python, program, cwd=tmp_path, variables=service.environment(audience, "python"))
