"""`docvault demo` fills a running service."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fixtures.server import RunningServer, running_server

from docvault.auth.local_tokens import LocalIssuer
from docvault.cli.demo.content import CUSTOMERS
from docvault.cli.demo.fill import FilledCustomer, fill_service
from docvault.cli.failures import CommandFailed
from docvault.settings import Settings

OPEN = {"demo-complete", "demo-replaced", "demo-approved"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service of its own: the demo changes document types and portal settings."""
    with running_server(tmp_path_factory.mktemp("demo") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def issuer(server: RunningServer) -> LocalIssuer:
    return LocalIssuer(Settings(data_dir=Path(server.environment["DOCVAULT_DATA_DIR"])))


@pytest.fixture(scope="module")
def filled(server: RunningServer, issuer: LocalIssuer) -> list[FilledCustomer]:
    return fill_service(server.url, issuer)


@pytest.fixture
def admin(server: RunningServer, issuer: LocalIssuer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {issuer.admin_token('admin')}"}
    with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers) as client:
        yield client


def test_customers_are_in_every_state(filled: list[FilledCustomer]) -> None:
    assert [customer.id for customer in filled] == [customer.id for customer in CUSTOMERS]
    assert {customer.id for customer in filled if customer.gate == "open"} == OPEN
    assert {customer.gate for customer in filled} == {"open", "blocked"}


def test_uploaded_files_have_previews(filled: list[FilledCustomer], admin: httpx.Client) -> None:
    documents = admin.get(f"/customers/{filled[-1].id}/documents").json()["items"]
    files = [file for document in documents for file in document["files"]]
    assert len(files) == 5
    assert all(file["has_preview"] for file in files)
    preview = admin.get(f"/customers/{filled[-1].id}/documents/lease-contract/preview")
    assert preview.status_code == 200


def test_replaced_document_has_two_versions(
    filled: list[FilledCustomer], admin: httpx.Client
) -> None:
    assert "demo-replaced" in {customer.id for customer in filled}
    versions = admin.get("/customers/demo-replaced/documents/lease-contract/versions").json()
    assert len(versions["items"]) == 2


def test_second_run_changes_nothing(
    filled: list[FilledCustomer], server: RunningServer, issuer: LocalIssuer, admin: httpx.Client
) -> None:
    before = admin.get("/customers").json()
    assert fill_service(server.url, issuer) == filled
    assert admin.get("/customers").json() == before


def test_unreachable_service_is_explained(issuer: LocalIssuer) -> None:
    with pytest.raises(CommandFailed, match="start one with `make run`"):
        fill_service("http://127.0.0.1:1", issuer)
