"""Document types, customers and uploads, created over HTTP as staff."""

from typing import Any

import httpx
from tests.factories import files


async def make_type(admin: httpx.AsyncClient, name: str, **members: Any) -> dict[str, Any]:
    """Create a document type and return it."""
    response = await admin.post("/v1/admin/document-types", json={"name": name, **members})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def patch_type(admin: httpx.AsyncClient, key: str, **members: Any) -> dict[str, Any]:
    """Change a document type and return it."""
    path = f"/v1/admin/document-types/{key}"
    etag = (await admin.get(path)).headers["etag"]
    response = await admin.patch(path, json=members, headers={"If-Match": etag})
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


async def patch_portal(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Change the portal settings and return them."""
    path = "/v1/admin/settings/portal"
    etag = (await admin.get(path)).headers["etag"]
    response = await admin.patch(path, json=members, headers={"If-Match": etag})
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


async def make_customer(admin: httpx.AsyncClient, customer_id: str, **members: Any) -> None:
    """Create a customer."""
    response = await admin.put(f"/v1/admin/customers/{customer_id}", json=members)
    assert response.status_code == 201, response.text


def upload_of(
    body: bytes | None = None, filename: str = "scan.pdf", **fields: str
) -> dict[str, Any]:
    """Return the arguments of an upload request: one file, and other parts as text."""
    body = files.pdf() if body is None else body
    return {"files": [("file", (filename, body))], "data": fields}
