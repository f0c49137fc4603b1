"""Which versions of a document are removed, and the freshness of its type."""

from typing import Any, cast

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.settings import Settings

STAFF = "/v1/admin/customers/c-1/documents/contract"
CUSTOMER = "/v1/customer/documents/contract"
KEY = "/v1/integration/customers/c-1/documents/contract"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"keep_versions": 2})


async def versions(admin: httpx.AsyncClient) -> list[tuple[int, str]]:
    """Return number and kind of uploader of each stored version, oldest first."""
    items = (await admin.get(f"{STAFF}/versions")).json()["items"]
    return [(item["version"], item["uploaded_by"]["kind"]) for item in reversed(items)]


@pytest.mark.req("B-037")
async def test_customer_versions_do_not_displace_versions_of_others(
    admin: httpx.AsyncClient, integration: httpx.AsyncClient, customer_of: CustomerClients
) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    customer = customer_of("c-1")
    assert (await admin.put(STAFF, **upload_of())).status_code == 201
    assert (await integration.put(KEY, **upload_of())).status_code == 200
    for _ in range(4):
        assert (await customer.put(CUSTOMER, **upload_of())).status_code == 200
    assert await versions(admin) == [
        (1, "admin"),
        (2, "integration"),
        (5, "customer"),
        (6, "customer"),
    ]


async def test_versions_of_each_kind_are_pruned_to_setting(
    admin: httpx.AsyncClient,
) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    for _ in range(4):
        assert (await admin.put(STAFF, **upload_of())).is_success
    assert await versions(admin) == [(3, "admin"), (4, "admin")]


@pytest.mark.req("B-075")
async def test_changed_type_shows_at_once(
    admin: httpx.AsyncClient, customer_of: CustomerClients
) -> None:
    """Types are cached by all their columns, so that none can be out of date."""
    await make_type(admin, "Contract", collects_fields=True, fields=[{"label": "Number"}])
    await make_customer(admin, "c-1")

    async def shown_type() -> dict[str, Any]:
        item = (await customer_of("c-1").get("/v1/customer/documents")).json()["items"][0]
        return cast("dict[str, Any]", item["type"])

    before = await shown_type()
    path = "/v1/admin/document-types/contract"
    for change in (
        {"name": "Agreement"},
        {"instructions": "Signed."},
        {"accepted_media_types": ["image/png"]},
        {"max_size_bytes": 5},
        {"fields": [{"key": "number", "label": "No."}, {"label": "Date", "required": True}]},
    ):
        etag = (await admin.get(path)).headers["ETag"]
        response = await admin.patch(path, json=change, headers={"If-Match": etag})
        assert response.status_code == 200, response.text
        after = await shown_type()
        assert after != before
        before = after
