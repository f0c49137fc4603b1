"""The service below a path, `DOCVAULT_PUBLIC_URL=https://…/vault`, with proxies of both kinds."""

from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from tests.factories import files
from tests.factories.setups import upload_of

from docvault.api.app import create_app
from docvault.settings import Settings

PREFIX = "/vault"
# What the service receives from a proxy that keeps the prefix, and from one that strips it.
each_proxy = pytest.mark.parametrize("received", [PREFIX, ""], ids=["kept", "stripped"])


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(prefix=PREFIX)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", public_url=f"https://docs.example.org{PREFIX}/")


def test_prefix_is_path_of_public_url(settings: Settings) -> None:
    assert settings.public_path == PREFIX
    assert Settings(public_url="https://docs.example.org/").public_path == ""
    assert Settings().public_path == ""


@pytest.mark.req("B-206")
@each_proxy
async def test_locations_have_prefix(admin: httpx.AsyncClient, received: str) -> None:
    """Of creations, of an erasure, and of a stored response."""
    body = {"name": "Contract"}
    once = {"Idempotency-Key": '"once"'}
    responses = [
        await admin.post(f"{received}/v1/admin/document-types", json=body, headers=once),
        await admin.post(f"{received}/v1/admin/document-types", json=body, headers=once),
        await admin.post(f"{received}/v1/admin/customers", json={"id": "c-1"}),
        await admin.post(
            f"{received}/v1/admin/api-keys", json={"name": "k", "scopes": ["documents:read"]}
        ),
        await admin.delete(f"{received}/v1/admin/customers/c-1"),
    ]
    places = [one.headers["location"] for one in responses]
    for place in places:
        assert place.startswith(f"{PREFIX}/v1/admin/")
    assert (await admin.get(places[-1])).status_code == 200
    assert (await admin.get(places[0].removeprefix(PREFIX))).status_code == 200


@pytest.mark.req("B-206")
@pytest.mark.own_store("upload URLs lead to docvault only with the filesystem store")
@each_proxy
async def test_upload_url_has_prefix(admin: httpx.AsyncClient, received: str) -> None:
    await admin.post("/v1/admin/document-types", json={"name": "Contract"})
    await admin.put("/v1/admin/customers/c-1", json={})
    body = files.pdf()
    document = f"{received}/v1/admin/customers/c-1/documents/contract"
    opened = await admin.post(
        f"{document}/uploads",
        json={
            "filename": "scan.pdf",
            "size_bytes": len(body),
            "sha256": sha256(body).hexdigest(),
        },
    )
    url = urlsplit(opened.json()["url"])
    assert (url.netloc, url.path.startswith(f"{PREFIX}/uploads/")) == ("docs.example.org", True)
    sent = await admin.put(received + url.path.removeprefix(PREFIX), content=body)
    assert sent.status_code == 204
    assert opened.headers["location"].startswith(f"{PREFIX}/v1/admin/customers/c-1/")


@each_proxy
async def test_content_and_errors_are_found(admin: httpx.AsyncClient, received: str) -> None:
    await admin.post("/v1/admin/document-types", json={"name": "Contract"})
    await admin.put("/v1/admin/customers/c-1", json={})
    document = f"{received}/v1/admin/customers/c-1/documents/contract"
    assert (await admin.put(document, **upload_of())).status_code == 201
    assert (await admin.get(f"{document}/content")).content == files.pdf()
    missing = await admin.get(f"{received}/v1/admin/customers/c-2")
    assert (missing.status_code, missing.json()["code"]) == (404, "customer-not-found")
    assert (await admin.get(f"{received}/none")).status_code == 404


@pytest.mark.parametrize("path", [f"{PREFIX}{PREFIX}/livez", f"{PREFIX}x/livez", PREFIX])
async def test_other_paths_are_not_found(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.req("B-206")
@each_proxy
async def test_contract_names_prefix_as_server(http: httpx.AsyncClient, received: str) -> None:
    for path in ("/openapi.json", "/v1/customer/openapi.json"):
        (server,) = (await http.get(received + path)).json()["servers"]
        assert server["url"] == PREFIX
