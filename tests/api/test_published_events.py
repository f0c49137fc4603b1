"""Every change has exactly one event, written with it (B-230)."""

import json

import httpx
import pytest
from tests.api.good_requests import GOOD_REQUESTS, good_path, listed_operations
from tests.api.world import ANNA, build_scenario
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients, with_headers
from tests.fixtures.database import Tables
from tests.fixtures.events import compare_gates, written_events

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

CALLERS = {"admin": "staff", "customer": "customer A", "integration": "key with every scope"}
DOCUMENT = "/v1/admin/customers/c-1/documents/contract"

# The event of each operation that changes something.
PUBLISHED = {
    "admin_create_customer": "customer.created",
    "admin_put_customer": "customer.updated",
    "admin_update_customer": "customer.updated",
    "admin_delete_customer": "customer.erased",
    "admin_upload_document": "document.uploaded",
    "admin_update_document": "document.updated",
    "admin_delete_document": "document.deleted",
    "admin_copy_document": "document.uploaded",
    "admin_add_file": "document.uploaded",
    "admin_remove_file": "document.updated",
    "admin_complete_upload": "document.uploaded",
    "admin_order_document_types": "document_type.reordered",
    "admin_create_document_type": "document_type.created",
    "admin_update_document_type": "document_type.updated",
    "admin_delete_document_type": "document_type.deleted",
    "admin_update_portal_settings": "portal_settings.updated",
    "customer_save_document_batch": "document.uploaded",
    "customer_upload_document": "document.uploaded",
    "customer_update_document": "document.updated",
    "customer_delete_document": "document.deleted",
    "customer_complete_upload": "document.uploaded",
    "customer_add_file": "document.uploaded",
    "customer_remove_file": "document.updated",
    "integration_put_customer_batch": "customer.updated",
    "integration_put_customer": "customer.updated",
    "integration_update_customer": "customer.updated",
    "integration_delete_customer": "customer.erased",
    "integration_upload_document": "document.uploaded",
    "integration_update_document": "document.updated",
    "integration_complete_upload": "document.uploaded",
    "integration_add_file": "document.uploaded",
    "integration_remove_file": "document.updated",
}
# Operations that change something and have no event, with the reason.
UNPUBLISHED = {
    "admin_create_api_key": "credentials are no facts about customers or documents",
    "admin_update_api_key": "as above",
    "admin_revoke_api_key": "as above",
    "admin_create_webhook": "as above",
    "admin_update_webhook": "as above",
    "admin_delete_webhook": "as above",
    "admin_rotate_webhook_secret": "as above",
    "admin_replay_events": "events are sent again; nothing else changes",
    "admin_retry_delivery": "as above",
    "admin_list_events": "events get their positions; nothing else changes",
    "admin_read_event": "as above",
    "integration_list_events": "as above",
    "admin_read_preview": "a rendering changes no document",
    "customer_read_preview": "as above",
    "admin_create_upload": "a session changes no document until it is completed",
    "admin_delete_upload": "as above",
    "customer_create_upload": "as above",
    "customer_delete_upload": "as above",
    "integration_create_upload": "as above",
    "integration_delete_upload": "as above",
}


def test_every_changing_operation_is_listed() -> None:
    changing = {name for name, good in GOOD_REQUESTS.items() if good.changes}
    assert PUBLISHED.keys() | UNPUBLISHED.keys() == changing
    assert not PUBLISHED.keys() & UNPUBLISHED.keys()


@pytest.mark.req("B-230")
async def test_every_change_has_exactly_one_event(
    http: httpx.AsyncClient, issuer: LocalIssuer, resources: Resources, database_url: str
) -> None:
    scenario = await build_scenario(http, issuer, resources)
    tables = Tables(database_url)
    start = tables.rows()
    found = {}
    for name, good in GOOD_REQUESTS.items():
        listed = listed_operations()[name]
        caller = with_headers(http, dict(scenario.callers[CALLERS[listed.audience]]))
        before = len(await written_events(resources))
        path = good_path(name, scenario)
        response = await caller.request(listed.method, path, **good.arguments(ANNA))
        assert response.status_code == good.status, (name, response.text)
        events = (await written_events(resources))[before:]
        assert all(event.is_audited for event in events)
        found[name] = [event.type for event in events]
        if good.changes:
            tables.restore(start)
    assert found == {name: [PUBLISHED[name]] if name in PUBLISHED else [] for name in GOOD_REQUESTS}


@pytest.fixture
async def contract(admin: httpx.AsyncClient) -> None:
    """A customer who has to upload a contract, with a switched-on gate."""
    await patch_portal(admin, gate_enabled=True)
    await make_type(
        admin,
        "Contract",
        upload_mode="required",
        collects_fields=True,
        fields=[{"label": "Signed by", "required": True}],
    )
    await make_customer(admin, "c-1", name="Anna")


@pytest.mark.req("B-230")
@pytest.mark.usefixtures("contract")
async def test_refusals_replays_and_requests_that_change_nothing_have_no_event(
    admin: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await admin.put(DOCUMENT, **upload_of(), headers=key)
    assert first.status_code == 201
    before = await written_events(resources)
    assert (await admin.put(DOCUMENT, **upload_of(), headers=key)).status_code == 201
    assert (await admin.put(DOCUMENT, **upload_of(b""))).status_code == 422
    stale = {"If-Match": '"0"'}
    assert (await admin.put(DOCUMENT, **upload_of(), headers=stale)).status_code == 412
    assert (await admin.delete(DOCUMENT, headers=stale)).status_code == 412
    assert (await customer_of("c-1").delete("/v1/customer/documents/contract")).status_code == 403
    assert (await admin.put("/v1/admin/customers/c-1", json={"name": "Anna"})).status_code == 200
    assert (await admin.patch(DOCUMENT, json={"field_values": {}})).status_code == 200
    await patch_type(admin, "contract", name="Contract")
    await patch_portal(admin, gate_enabled=True)
    assert await written_events(resources) == before


@pytest.mark.req("B-231")
@pytest.mark.usefixtures("contract")
async def test_gate_event_follows_what_changed_the_gate(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await admin.put(DOCUMENT, **upload_of())
    values = {"field_values": {"signed-by": "Anna"}}
    await admin.patch(DOCUMENT, json=values)
    await admin.delete(DOCUMENT)
    events = await written_events(resources)
    assert [event.type for event in events] == [
        "portal_settings.updated",
        "requirements.changed",
        "document_type.created",
        "requirements.changed",
        "customer.created",
        "gate.changed",
        "document.uploaded",
        "document.updated",
        "gate.changed",
        "document.deleted",
        "gate.changed",
    ]
    gates = [event.data for event in events if event.type == "gate.changed"]
    common = {"gate": "default"}
    blocked = common | {"decision": "blocked", "due": ["contract"]}
    assert gates == [
        blocked | {"was": None, "cause": "customer"},
        common | {"decision": "open", "due": [], "was": "blocked", "cause": "documents"},
        blocked | {"was": "open", "cause": "documents"},
    ]
    uploaded = events[6].data
    assert uploaded == {
        "document_type": "contract",
        "version": 1,
        "upload_state": "uploaded",
        "status": "incomplete",
    }


@pytest.mark.req("B-231")
@pytest.mark.usefixtures("contract")
async def test_change_of_requirements_reaches_every_customer_whose_gate_it_changes(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    for number in range(2, 9):
        await make_customer(admin, f"c-{number}")
    await admin.put(DOCUMENT, **upload_of(field_values=json.dumps({"signed-by": "Anna"})))
    await compare_gates(resources)
    before = len(await written_events(resources))
    await patch_type(admin, "contract", upload_mode="optional")
    await compare_gates(resources)
    events = (await written_events(resources))[before:]
    assert [event.type for event in events[:2]] == ["document_type.updated", "requirements.changed"]
    assert events[1].data == {"enforced": True, "required": []}
    assert sorted(str(event.customer) for event in events[2:]) == [f"c-{n}" for n in range(2, 9)]
    assert {(event.type, json.dumps(event.data)) for event in events[2:]} == {
        (
            "gate.changed",
            json.dumps(
                {
                    "due": [],
                    "was": "blocked",
                    "gate": "default",
                    "cause": "requirements",
                    "decision": "open",
                }
            ),
        )
    }


@pytest.mark.req("B-231")
async def test_change_that_gates_do_not_depend_on_is_no_change_of_requirements(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_type(admin, "Contract", upload_mode="required")
    await make_type(admin, "Diploma", position=0)
    await patch_type(admin, "contract", name="Agreement", max_files=2)
    await patch_portal(admin, customer_may_delete=True)
    assert len(await written_events(resources, "requirements.changed")) == 1


@pytest.mark.req("B-237")
@pytest.mark.usefixtures("contract")
async def test_erasure_leaves_only_pseudonyms_and_adds_one_event(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await admin.put(DOCUMENT, **upload_of())
    await make_customer(admin, "c-2")
    pseudonym = (await admin.get("/v1/admin/customers/c-1")).json()["pseudonym"]
    await admin.delete("/v1/admin/customers/c-1")
    await finish_erasures(resources)
    events = await written_events(resources)
    about = [event for event in events if event.pseudonym == pseudonym]
    assert [event.type for event in about] == [
        "customer.created",
        "gate.changed",
        "document.uploaded",
        "customer.erased",
    ]
    assert [event.data for event in about[:-1]] == [None, None, None]
    assert about[-1].data is not None
    assert about[-1].data.keys() == {"erasure"}
    assert not [event for event in events if event.customer == "c-1"]
    assert [event.customer for event in events if event.customer] == ["c-2", "c-2"]
