"""The audit trail: every change, download and denied request."""

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.domain.scopes import Scope
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

EVENTS = "/v1/admin/audit-events"
CUSTOMER = "/v1/admin/customers/c-1"
DOCUMENT = f"{CUSTOMER}/documents/t"


async def events_of(admin: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    """Return the listed events, oldest first."""
    response = await admin.get(EVENTS, params={"limit": 100, **params})
    assert response.status_code == 200, response.text
    return list(reversed(response.json()["items"]))


async def last_event(admin: httpx.AsyncClient) -> dict[str, Any]:
    """Return the newest event."""
    return (await events_of(admin))[-1]


async def actions_of(admin: httpx.AsyncClient, **params: Any) -> list[str]:
    """Return the actions of the listed events, oldest first."""
    return [event["action"] for event in await events_of(admin, **params)]


def facts_of(body: bytes, filename: str, media_type: str) -> dict[str, Any]:
    """Return how an event describes a document's first file."""
    return {
        "number": 1,
        "filename": filename,
        "media_type": media_type,
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


@pytest.fixture
async def document(admin: httpx.AsyncClient) -> str:
    """A type T with a field F, and a customer c-1."""
    await make_type(admin, "T", collects_fields=True, field_labels="F")
    await make_customer(admin, "c-1")
    return DOCUMENT


class TestRecordedEvents:
    """Events of changes and downloads."""

    async def test_type_and_settings_changes(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await patch_type(admin, "t", name="U")
        await admin.put("/v1/admin/document-type-order", json={"keys": ["t"]})
        await admin.delete("/v1/admin/document-types/t")
        await patch_portal(admin, gate_enabled=True)
        events = await events_of(admin)
        assert [(e["action"], e["document_type"]) for e in events] == [
            ("document_type.create", "t"),
            ("document_type.update", "t"),
            ("document_type.reorder", None),
            ("document_type.delete", "t"),
            ("portal_settings.update", None),
        ]
        assert events[1]["changes"]["name"] == {"old": "T", "new": "U"}
        assert events[4]["changes"] == {"gate_enabled": {"old": False, "new": True}}

    async def test_customer_changes(self, admin: httpx.AsyncClient) -> None:
        await admin.post("/v1/admin/customers", json={"id": "c-1", "name": "A"})
        await admin.put(CUSTOMER, json={"name": "B"})
        await admin.patch(CUSTOMER, json={"name": None})
        events = await events_of(admin)
        assert [e["action"] for e in events] == ["customer.create", *["customer.update"] * 2]
        assert {e["customer"] for e in events} == {"c-1"}
        assert events[2]["changes"] == {"name": {"old": "B", "new": None}}

    @pytest.mark.req("R-062", "R-044")
    async def test_document_changes(self, admin: httpx.AsyncClient, document: str) -> None:
        await admin.put(document, **upload_of(field_values='{"f": "1"}'))
        await admin.patch(document, json={"field_values": {"f": "2"}})
        await admin.put(document, **upload_of(files.png(), "a.png"))
        await admin.delete(document)
        events = (await events_of(admin))[2:]
        assert [(e["action"], e["version"]) for e in events] == [
            ("document.upload", 1),
            ("document.update", 1),
            ("document.replace", 2),
            ("document.delete", 2),
        ]
        assert {(e["customer"], e["document_type"], e["result"]) for e in events} == {
            ("c-1", "t", "ok")
        }
        assert events[1]["changes"] == {"field_values": {"old": {"f": "1"}, "new": {"f": "2"}}}

    @pytest.mark.req("B-030")
    async def test_only_changed_values(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_type(admin, "T", collects_fields=True, field_labels="F,G")
        await make_customer(admin, "c-1")
        customer, path = customer_of("c-1"), "/v1/customer/documents/t"
        large = "x" * 2000
        await customer.put(path, **upload_of(field_values=f'{{"f": "{large}", "g": "1"}}'))
        await customer.patch(path, json={"field_values": {"g": "2"}})
        await customer.put(path, **upload_of(field_values='{"g": "3"}'))
        await customer.put(path, **upload_of())
        items = [{"key": "t", "files": [], "field_values": {"g": "4"}}]
        await customer.post(
            "/v1/customer/document-batches", files=[("batch", (None, json.dumps({"items": items})))]
        )
        changes = [event["changes"] for event in (await events_of(admin))[3:]]
        assert changes == [
            {"field_values": {"old": {"g": "1"}, "new": {"g": "2"}}},
            {"field_values": {"old": {"g": "2"}, "new": {"g": "3"}}},
            None,
            {"field_values": {"old": {"g": "3"}, "new": {"g": "4"}}},
        ]

    @pytest.mark.req("B-030")
    async def test_only_changed_list_members(self, admin: httpx.AsyncClient) -> None:
        fields = [{"label": label} for label in ("A", "B", "C")]
        await make_type(admin, "T", collects_fields=True, fields=fields)
        fields[1]["label"] = "X"
        await patch_type(admin, "t", fields=[{**fields[0]}, {**fields[1], "key": "b"}, fields[2]])
        await admin.put(CUSTOMER, json={"tags": ["a", "b"]})
        await admin.patch(CUSTOMER, json={"tags": ["b", "c"]})
        changed_type, _, changed_customer = (await events_of(admin))[1:]
        b = {"key": "b", "required": False}
        assert changed_type["changes"] == {
            "fields": {"old": [{**b, "label": "B"}], "new": [{**b, "label": "X"}]}
        }
        assert changed_customer["changes"] == {"tags": {"old": ["a"], "new": ["c"]}}

    @pytest.mark.req("B-030")
    async def test_unchanged_types_settings_and_keys_are_not_recorded(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "T")
        body = {"name": "CRM", "scopes": ["types:read"]}
        key = (await admin.post("/v1/admin/api-keys", json=body)).json()
        before = await actions_of(admin)
        await patch_type(admin, "t", name="T")
        await patch_portal(admin, section_enabled=True)
        assert (await admin.patch(f"/v1/admin/api-keys/{key['id']}", json=body)).is_success
        assert await actions_of(admin) == before

    @pytest.mark.req("B-036")
    async def test_stored_read_and_deleted_files(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        await make_type(admin, "U")
        pdf, png = files.pdf("1"), files.png()
        await admin.put(document, **upload_of(pdf, "first.pdf"))
        await admin.put(document, **upload_of(png, "second.png"))
        await admin.post(f"{CUSTOMER}/documents/u/copy", json={"from": {"key": "t"}})
        await admin.get(f"{document}/content")
        await admin.get(f"{document}/content", params={"version": 1})
        await admin.get(f"{document}/preview")
        await admin.delete(document)
        await make_customer(admin, "c-2")
        *events, unrelated = (await events_of(admin))[3:]
        first = facts_of(pdf, "first.pdf", "application/pdf")
        second = facts_of(png, "second.png", "image/png")
        assert [(event["action"], event["files"]) for event in events] == [
            ("document.upload", [first]),
            ("document.replace", [second]),
            ("document.copy", [second]),
            ("document.download", [second]),
            ("document.download", [first]),
            ("document.preview", [second]),
            ("document.delete", [second]),
        ]
        assert unrelated["files"] is None

    async def test_document_copy(self, admin: httpx.AsyncClient, document: str) -> None:
        await make_type(admin, "U")
        await admin.put(document, **upload_of())
        copied = await admin.post(f"{CUSTOMER}/documents/u/copy", json={"from": {"key": "t"}})
        assert copied.status_code in {200, 201}, copied.text
        event = await last_event(admin)
        assert (event["action"], event["document_type"]) == ("document.copy", "u")

    async def test_api_key_lifecycle(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "CRM", "scopes": ["types:read"]}
        key = (await admin.post("/v1/admin/api-keys", json=body)).json()
        path = f"/v1/admin/api-keys/{key['id']}"
        await admin.patch(path, json={"name": "ERP"})
        for _ in range(2):
            await admin.delete(path)
        assert await actions_of(admin) == ["api_key.create", "api_key.update", "api_key.revoke"]
        assert key["key"] not in (await admin.get(EVENTS)).text

    async def test_every_content_read(
        self, admin: httpx.AsyncClient, document: str, customer_of: CustomerClients
    ) -> None:
        await admin.put(document, **upload_of(files.png(), "a.png"))
        await admin.get(f"{document}/content")
        await admin.get(f"{document}/preview")
        await customer_of("c-1").get("/v1/customer/documents/t/content")
        events = (await events_of(admin))[3:]
        assert [(e["action"], e["actor"]["kind"], e["version"]) for e in events] == [
            ("document.download", "admin", 1),
            ("document.preview", "admin", 1),
            ("document.download", "customer", 1),
        ]

    async def test_metadata_read_is_not_recorded(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        before = await actions_of(admin)
        for path in (CUSTOMER, document, f"{document}/versions", f"{CUSTOMER}/gate", EVENTS):
            assert (await admin.get(path)).status_code == 200
        assert await actions_of(admin) == before

    async def test_rejected_change_is_not_recorded_as_success(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        before = await actions_of(admin)
        await admin.post("/v1/admin/document-types", json={"name": "T"})
        await admin.patch(document, json={"field_values": {"nope": "x"}})
        await admin.put(document, **upload_of(b"", "a.pdf"))
        assert await actions_of(admin) == before

    async def test_unchanged_document_is_not_recorded(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        await admin.patch(document, json={"field_values": {"f": "1"}})
        before = await actions_of(admin)
        await admin.patch(document, json={"field_values": {"f": "1"}})
        assert await actions_of(admin) == before

    async def test_event_has_request_id_and_time(self, admin: httpx.AsyncClient) -> None:
        before = datetime.now(UTC)
        response = await admin.post("/v1/admin/customers", json={"id": "c-1"})
        event = await last_event(admin)
        assert event["request_id"] == response.headers["x-request-id"]
        assert before <= datetime.fromisoformat(event["at"]) <= datetime.now(UTC)
        assert uuid.UUID(event["id"]).version == 7


class TestActors:
    """The actor of an event."""

    async def test_every_caller_kind(
        self,
        admin: httpx.AsyncClient,
        document: str,
        customer_of: CustomerClients,
        key_client: KeyClients,
    ) -> None:
        await admin.put(document, **upload_of())
        await customer_of("c-1").put("/v1/customer/documents/t", **upload_of())
        integration = await key_client()
        await integration.put("/v1/integration/customers/c-1/documents/t", **upload_of())
        actors = [e["actor"] for e in await events_of(admin) if "document." in e["action"]]
        key = (await admin.get("/v1/admin/api-keys")).json()["items"][0]["id"]
        assert actors == [
            {"kind": "admin", "id": "staff-1"},
            {"kind": "customer", "id": "c-1"},
            {"kind": "integration", "id": key},
        ]


class TestDenials:
    """Denied requests of authenticated callers."""

    @pytest.mark.req("R-034", "R-065")
    async def test_denial_is_recorded_with_its_action(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients, key_client: KeyClients
    ) -> None:
        await make_type(admin, "T", upload_mode="admin_only")
        await make_customer(admin, "c-1")
        customer, key = customer_of("c-1"), await key_client(Scope.DOCUMENTS_WRITE)
        responses = [
            await customer.put("/v1/customer/documents/t", **upload_of()),
            await customer.delete("/v1/customer/documents/t"),
            await customer.get("/v1/admin/customers"),
            await admin.get("/v1/customer/documents"),
            await key.get("/v1/integration/document-types"),
            await key.put("/v1/integration/customers/c-1/documents/t", **upload_of()),
        ]
        assert [response.status_code for response in responses] == [403] * 6
        denied = [e for e in await events_of(admin) if e["result"] == "denied"]
        assert [(e["action"], e["actor"]["kind"]) for e in denied] == [
            ("document.upload", "customer"),
            ("document.delete", "customer"),
            ("customer.list", "customer"),
            ("document.list", "admin"),
            ("document_type.list", "integration"),
            ("document.upload", "integration"),
        ]
        assert [e["request_id"] for e in denied] == [r.headers["x-request-id"] for r in responses]

    @pytest.mark.parametrize("who", ["customer", "key"])
    async def test_customer_in_path_is_named(
        self,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        key_client: KeyClients,
        document: str,
        who: str,
    ) -> None:
        del document
        if who == "customer":
            await customer_of("c-1").get(DOCUMENT)
        else:
            key = await key_client(Scope.GATE_READ)
            await key.get("/v1/integration/customers/c-1/documents/t")
        event = await last_event(admin)
        assert (event["result"], event["customer"]) == ("denied", "c-1")
        assert [e["id"] for e in await events_of(admin, customer="c-1")][-1] == event["id"]

    @pytest.mark.parametrize("customer_id", ["unknown", "x" * 129, "a%20b"])
    async def test_unknown_customer_in_path_is_not_named(
        self, admin: httpx.AsyncClient, key_client: KeyClients, customer_id: str
    ) -> None:
        await (await key_client(Scope.GATE_READ)).get(f"/v1/integration/customers/{customer_id}")
        event = await last_event(admin)
        assert (event["result"], event["customer"]) == ("denied", None)

    @pytest.mark.req("R-102")
    async def test_customer_being_erased_is_pseudonymised(
        self, admin: httpx.AsyncClient, key_client: KeyClients, document: str
    ) -> None:
        del document
        await admin.delete(CUSTOMER)
        key = await key_client(Scope.GATE_READ)
        await key.get("/v1/integration/customers/c-1")
        event = await last_event(admin)
        assert event["result"] == "denied"
        assert event["customer"].startswith("anon-")

    async def test_customer_with_disabled_portal(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        await patch_portal(admin, section_enabled=False)
        await customer_of("c-1").get("/v1/customer/documents")
        event = await last_event(admin)
        assert (event["action"], event["result"]) == ("document.list", "denied")
        assert (event["actor"], event["customer"]) == ({"kind": "customer", "id": "c-1"}, "c-1")

    async def test_unknown_customer_is_pseudonymised(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await customer_of("unregistered").get("/v1/customer/gate")
        event = await last_event(admin)
        assert event["result"] == "denied"
        assert event["actor"]["id"].startswith("anon-")
        assert "unregistered" not in str(event)

    async def test_unauthenticated_callers_are_not_recorded(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        await http.get("/v1/admin/customers")
        await http.get("/v1/admin/customers", headers={"Authorization": "Bearer x.y.z"})
        await http.get("/v1/integration/document-types", headers={"X-API-Key": "dv_live_x"})
        assert await events_of(admin) == []


class TestFilters:
    """GET /v1/admin/audit-events."""

    @pytest.fixture(autouse=True)
    async def trail(self, admin: httpx.AsyncClient, customer_of: CustomerClients) -> None:
        """A type and two customers, one of whom uploads a file."""
        await make_type(admin, "T")
        for id_ in ("c-1", "c-2"):
            await make_customer(admin, id_)
        await customer_of("c-2").put("/v1/customer/documents/t", **upload_of())

    async def test_by_customer(self, admin: httpx.AsyncClient) -> None:
        assert await actions_of(admin, customer="c-1") == ["customer.create"]
        assert await actions_of(admin, customer="c-2") == ["customer.create", "document.upload"]
        assert await actions_of(admin, customer="c") == []

    async def test_by_actor(self, admin: httpx.AsyncClient) -> None:
        assert await actions_of(admin, actor="c-2") == ["document.upload"]
        assert len(await actions_of(admin, actor="staff-1")) == 3
        assert await actions_of(admin, actor="staff") == []

    async def test_by_action(self, admin: httpx.AsyncClient) -> None:
        assert await actions_of(admin, action="customer.create") == ["customer.create"] * 2
        response = await admin.get(EVENTS, params={"action": "customer.fly"})
        assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "action")

    async def test_by_time(self, admin: httpx.AsyncClient) -> None:
        events = await events_of(admin)
        middle = events[2]["at"]
        assert await events_of(admin, since=middle) == events[2:]
        assert await events_of(admin, until=middle) == events[:2]
        assert await events_of(admin, since=middle, until=middle) == []

    async def test_invalid_utc_timestamp_is_rejected(self, admin: httpx.AsyncClient) -> None:
        values = ["2024-01-01T00:00:00", "yesterday", "", "0.5", "1700000000"]
        values += ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+14:00"]
        for parameter in ("since", "until"):
            for value in values:
                response = await admin.get(EVENTS, params={parameter: value})
                assert response.status_code == 422, value
                assert response.json()["errors"][0]["parameter"] == parameter

    async def test_all_filters_combined(self, admin: httpx.AsyncClient) -> None:
        now = datetime.now(UTC)
        params = {
            "customer": "c-2",
            "actor": "c-2",
            "action": "document.upload",
            "since": (now - timedelta(hours=1)).isoformat(),
            "until": (now + timedelta(hours=1)).isoformat(),
        }
        assert await actions_of(admin, **params) == ["document.upload"]
        assert await actions_of(admin, **{**params, "actor": "staff-1"}) == []

    async def test_newest_event_comes_first(self, admin: httpx.AsyncClient) -> None:
        items = (await admin.get(EVENTS)).json()["items"]
        moments = [item["at"] for item in items]
        assert moments == sorted(moments, reverse=True)


class TestErasure:
    """The trail of an erased customer."""

    @pytest.mark.req("A-28", "R-102")
    async def test_events_are_pseudonymised_and_lose_details(
        self,
        admin: httpx.AsyncClient,
        document: str,
        customer_of: CustomerClients,
        resources: Resources,
    ) -> None:
        await admin.patch(document, json={"field_values": {"f": "secret"}})
        await customer_of("c-1").put("/v1/customer/documents/t", **upload_of())
        before = await events_of(admin, customer="c-1")
        await admin.delete(CUSTOMER)
        await finish_erasures(resources)
        after = await events_of(admin, customer="c-1")
        assert [e["id"] for e in after[: len(before)]] == [e["id"] for e in before]
        assert after[-1]["action"] == "customer.erase"
        assert {e["customer"] for e in after if e["customer"]} == {after[0]["customer"]}
        assert after[0]["customer"].startswith("anon-")
        assert before[-1]["files"] is not None
        assert [(e["changes"], e["files"]) for e in after] == [(None, None)] * len(after)
        assert "secret" not in str(after)
        assert "'c-1'" not in str(after)

    @pytest.mark.req("A-28")
    async def test_pseudonym_filter_finds_events(
        self, admin: httpx.AsyncClient, document: str, resources: Resources
    ) -> None:
        del document
        await admin.delete(CUSTOMER)
        await finish_erasures(resources)
        events = await events_of(admin, customer="c-1")
        assert await events_of(admin, customer=events[0]["customer"]) == events

    @pytest.mark.req("R-107")
    async def test_events_of_other_customers_are_kept(
        self, admin: httpx.AsyncClient, document: str, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        await admin.patch(
            "/v1/admin/customers/c-2/documents/t", json={"field_values": {"f": "kept"}}
        )
        before = await events_of(admin, customer="c-2")
        await admin.patch(document, json={"field_values": {"f": "gone"}})
        await admin.delete(CUSTOMER)
        await finish_erasures(resources)
        assert await events_of(admin, customer="c-2") == before
        assert before[-1]["changes"]["field_values"]["new"] == {"f": "kept"}

    async def test_requester_is_recorded(self, admin: httpx.AsyncClient, document: str) -> None:
        del document
        response = await admin.delete(CUSTOMER)
        (event,) = await events_of(admin, action="customer.erase")
        assert event["actor"] == {"kind": "admin", "id": "staff-1"}
        assert event["request_id"] == response.headers["x-request-id"]
