"""Documents of a customer, as third parties use them."""

from typing import Any

import httpx
import pytest
from tests.api.stored_state import NOTHING_STORED, audited, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.domain.scopes import Scope
from docvault.services.resources import Resources

DOCUMENTS = "/v1/integration/customers/c-1/documents"
CARD = f"{DOCUMENTS}/identity-card"
CONTRACT = f"{DOCUMENTS}/contract"


@pytest.fixture
async def host(admin: httpx.AsyncClient, integration: httpx.AsyncClient) -> httpx.AsyncClient:
    """A key with every scope, and a customer c-1 with a required and an admin-only type."""
    await make_type(
        admin, "Identity card", upload_mode="required", collects_fields=True, field_labels="Number"
    )
    await make_type(admin, "Contract", upload_mode="admin_only")
    await make_customer(admin, "c-1")
    return integration


async def upload(client: httpx.AsyncClient, path: str, **sent: Any) -> dict[str, Any]:
    """Upload a valid file."""
    response = await client.put(path, **upload_of(**sent))
    assert response.status_code in {200, 201}, response.text
    document: dict[str, Any] = response.json()
    return document


class TestList:
    """GET /v1/integration/customers/{id}/documents."""

    @pytest.mark.req("R-111")
    async def test_state_and_details_are_listed(self, host: httpx.AsyncClient) -> None:
        uploaded = await upload(host, CARD, field_values='{"number": "1"}')
        items = (await host.get(DOCUMENTS)).json()["items"]
        assert items[0].pop("etag")
        assert items[0] == uploaded
        assert (items[1]["type"]["key"], items[1]["upload_state"]) == ("contract", "missing")

    @pytest.mark.req("R-116")
    async def test_unknown_customer_differs_from_customer_without_documents(
        self, host: httpx.AsyncClient
    ) -> None:
        known = await host.get(DOCUMENTS)
        unknown = await host.get("/v1/integration/customers/c-9/documents")
        states = [item["upload_state"] for item in known.json()["items"]]
        assert (known.status_code, states) == (200, ["missing", "missing"])
        assert refusal(unknown) == (404, "customer-not-found", None)

    async def test_archived_types_are_not_listed_even_with_file(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        await upload(host, CARD)
        await patch_type(admin, "identity-card", archived=True)
        items = (await host.get(DOCUMENTS)).json()["items"]
        assert [item["type"]["key"] for item in items] == ["contract"]
        assert refusal(await host.get(CARD))[:2] == (404, "document-type-not-found")

    async def test_can_upload_follows_scopes(
        self, host: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        async def can(client: httpx.AsyncClient) -> list[bool]:
            return [i["can_upload"] for i in (await client.get(DOCUMENTS)).json()["items"]]

        reader = await key_client(Scope.DOCUMENTS_READ)
        writer = await key_client(Scope.DOCUMENTS_READ, Scope.DOCUMENTS_WRITE)
        assert [await can(host), await can(writer), await can(reader)] == [
            [True, True],
            [True, False],
            [False, False],
        ]


class TestUpload:
    """PUT /v1/integration/customers/{id}/documents/{key}."""

    @pytest.mark.req("R-110", "R-035", "R-115")
    @pytest.mark.parametrize("path", [CARD, CONTRACT])
    async def test_key_with_scopes_creates_and_replaces(
        self, host: httpx.AsyncClient, path: str
    ) -> None:
        first = await host.put(path, **upload_of())
        second = await host.put(path, **upload_of(files.png(), "a.png"))
        assert (first.status_code, second.status_code) == (201, 200)
        assert (await host.get(f"{path}/content")).content == files.png()

    @pytest.mark.req("R-110")
    async def test_values_are_sent_with_file(self, host: httpx.AsyncClient) -> None:
        document = await upload(host, CARD, field_values='{"number": "1"}')
        assert document["field_values"] == {"number": "1"}

    async def test_uploader_is_unnamed_integration(self, host: httpx.AsyncClient) -> None:
        assert (await upload(host, CARD))["uploaded_by"] == {"kind": "integration"}

    @pytest.mark.req("R-113", "R-115")
    async def test_admin_only_type_needs_separate_scope(
        self,
        admin: httpx.AsyncClient,
        host: httpx.AsyncClient,
        key_client: KeyClients,
        resources: Resources,
    ) -> None:
        del host
        writer = await key_client(Scope.DOCUMENTS_READ, Scope.DOCUMENTS_WRITE)
        response = await writer.put(CONTRACT, **upload_of())
        assert refusal(response) == (403, "insufficient-scope", None)
        assert response.headers["content-type"] == "application/problem+json"
        assert await stored_state(resources) == NOTHING_STORED
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["actor"]["kind"], event["customer"]) == (
            "denied",
            "integration",
            "c-1",
        )

    @pytest.mark.req("R-113")
    async def test_read_only_key_changes_nothing(
        self, host: httpx.AsyncClient, key_client: KeyClients, resources: Resources
    ) -> None:
        reader = await key_client(Scope.DOCUMENTS_READ, Scope.DOCUMENTS_WRITE_ADMIN_ONLY)
        before = (await host.get(CARD)).json()
        responses = [
            await reader.put(CARD, **upload_of()),
            await reader.put(CONTRACT, **upload_of()),
            await reader.patch(CARD, json={"field_values": {"number": "1"}}),
        ]
        assert [refusal(r)[:2] for r in responses] == [(403, "insufficient-scope")] * 3
        assert (await host.get(CARD)).json() == before
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("R-070", "A-07")
    async def test_disabled_portal_does_not_restrict_integrations(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, section_enabled=False)
        assert (await host.put(CARD, **upload_of())).status_code == 201

    @pytest.mark.req("R-117")
    async def test_retry_after_lost_response_adds_no_version(
        self, host: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "order-17"}
        first = await host.put(CARD, **upload_of(), headers=headers)
        again = await host.put(CARD, **upload_of(), headers=headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert (await stored_state(resources)).versions == 1

    async def test_create_only_does_not_replace_document(self, host: httpx.AsyncClient) -> None:
        await upload(host, CARD)
        response = await host.put(CARD, **upload_of(), headers={"If-None-Match": "*"})
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert (await host.get(CARD)).json()["version"] == 1


class TestUpdate:
    """PATCH /v1/integration/customers/{id}/documents/{key}."""

    async def test_values_are_merged(self, host: httpx.AsyncClient) -> None:
        before = await upload(host, CARD)
        response = await host.patch(CARD, json={"field_values": {"number": "1"}})
        assert response.json() == before | {"field_values": {"number": "1"}}
        cleared = await host.patch(CARD, json={"field_values": {"number": None}})
        assert cleared.json() == before

    async def test_admin_only_type_needs_separate_scope(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        await patch_type(admin, "contract", collects_fields=True, field_labels="Number")
        writer = await key_client(Scope.DOCUMENTS_WRITE)
        values = {"field_values": {"number": "1"}}
        assert refusal(await writer.patch(CONTRACT, json=values))[:2] == (403, "insufficient-scope")
        assert (await host.patch(CONTRACT, json=values)).status_code == 200


@pytest.mark.req("R-113")
async def test_integration_cannot_delete_document(host: httpx.AsyncClient) -> None:
    await upload(host, CARD)
    assert refusal(await host.delete(CARD))[:2] == (405, "method-not-allowed")
    assert (await host.get(CARD)).json()["version"] == 1


class TestContent:
    """GET /v1/integration/customers/{id}/documents/{key}/content."""

    @pytest.mark.req("R-113")
    async def test_metadata_and_content_have_separate_scopes(
        self, host: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        await upload(host, CARD)
        facts = await key_client(Scope.DOCUMENTS_READ)
        content = await key_client(Scope.CONTENT_READ)
        assert refusal(await facts.get(f"{CARD}/content"))[:2] == (403, "insufficient-scope")
        assert (await content.get(f"{CARD}/content")).content == files.pdf()
        assert refusal(await content.get(CARD))[:2] == (403, "insufficient-scope")

    async def test_download_is_audited_with_key(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        await upload(host, CARD)
        await host.get(f"{CARD}/content")
        (event,) = await audited(admin, "document.download")
        (key,) = (await admin.get("/v1/admin/api-keys")).json()["items"]
        assert event["actor"] == {"kind": "integration", "id": key["id"]}

    @pytest.mark.parametrize("suffix", ["/preview", "/versions", "/copy"])
    async def test_staff_only_endpoints_are_not_found(
        self, host: httpx.AsyncClient, suffix: str
    ) -> None:
        await upload(host, CARD)
        assert refusal(await host.get(CARD + suffix))[:2] == (404, "not-found")

    async def test_older_version_is_only_for_staff(self, host: httpx.AsyncClient) -> None:
        await upload(host, CARD)
        response = await host.get(f"{CARD}/content", params={"version": 1})
        assert refusal(response) == (422, "validation-error", "version")

    async def test_customer_can_read_file_added_by_integration(
        self, host: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await upload(host, CONTRACT)
        content = await customer_of("c-1").get("/v1/customer/documents/contract/content")
        assert content.content == files.pdf()
