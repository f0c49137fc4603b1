"""Document types, customers and uploads, made over HTTP as staff would."""

from typing import Any

import httpx
from tests.factories import files


async def make_type(admin: httpx.AsyncClient, name: str, **members: Any) -> dict[str, Any]:
    """Create a document type and return it."""
    answer = await admin.post("/v1/admin/document-types", json={"name": name, **members})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def patch_type(admin: httpx.AsyncClient, key: str, **members: Any) -> dict[str, Any]:
    """Change a document type and return it."""
    path = f"/v1/admin/document-types/{key}"
    etag = (await admin.get(path)).headers["etag"]
    answer = await admin.patch(path, json=members, headers={"If-Match": etag})
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def patch_portal(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Change the portal settings and return them."""
    path = "/v1/admin/settings/portal"
    etag = (await admin.get(path)).headers["etag"]
    answer = await admin.patch(path, json=members, headers={"If-Match": etag})
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def make_customer(admin: httpx.AsyncClient, customer_id: str, **members: Any) -> None:
    """Make a customer known."""
    answer = await admin.put(f"/v1/admin/customers/{customer_id}", json=members)
    assert answer.status_code == 201, answer.text


def upload_of(
    body: bytes | None = None, filename: str = "scan.pdf", **fields: str
) -> dict[str, Any]:
    """Return the arguments of an upload request: one file, and other parts as text."""
    body = files.pdf() if body is None else body
    return {"files": [("file", (filename, body))], "data": fields}
