"""Every event of the feed, and every message, is as the contract describes it."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.webhooks import deliver, make_webhook
from tests.fixtures.clamd import FakeClamd
from tests.fixtures.events import compare_gates
from tests.fixtures.webhook_receiver import Message, Receiver, running_receiver

from docvault.api.app import create_app
from docvault.api.openapi.spec import build_openapi
from docvault.domain.events import EventType
from docvault.presenters import webhooks as presenters
from docvault.presenters.webhooks import TEST_TYPE
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.services.scans import rescan
from docvault.settings import Settings

CONTRACT = build_openapi(create_app())
DOCUMENT = "customers/c-1/documents/contract"
INFECTED = files.EICAR + b"\n"

pytestmark = pytest.mark.req("B-271")


@pytest.fixture
def settings(tmp_path: Path, clamd: FakeClamd) -> Settings:
    """Settings with a scanner, which allow receivers on this machine."""
    return Settings(
        data_dir=tmp_path / "data",
        clamd_url=clamd.address,
        webhook_allowed_networks=("127.0.0.0/8",),
    )


def errors(schema: dict[str, Any], value: object) -> list[str]:
    """Return what the contract says of a value and is not so; no other member may be there."""
    whole = {**_closed(schema), "components": _closed(CONTRACT["components"])}
    validator = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no members but the described ones."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(item) for name, item in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema else closed


def violations(message: Message) -> list[str]:
    """Return what is wrong with a message: its body, and the headers that are described."""
    operation = CONTRACT["webhooks"][message.content["type"]]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    headers = [
        error
        for parameter in operation["parameters"]
        for error in errors(parameter["schema"], message.headers.get(parameter["name"]))
    ]
    return errors(body, message.content) + headers


async def feed(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return all events after validating the page."""
    response = await admin.get("/v1/admin/events", params={"limit": 500})
    responses = CONTRACT["paths"]["/v1/admin/events"]["get"]["responses"]
    page: dict[str, Any] = response.json()
    assert errors(responses["200"]["content"]["application/json"]["schema"], page) == []
    items: list[dict[str, Any]] = page["items"]
    return items


async def change(
    admin: httpx.AsyncClient, method: str, path: str, **arguments: Any
) -> httpx.Response:
    """Send a request that succeeds."""
    response = await admin.request(method, f"/v1/admin/{path}", **arguments)
    assert response.is_success, response.text
    return response


async def cause_events(admin: httpx.AsyncClient, resources: Resources, clamd: FakeClamd) -> None:
    """Cause an event of each type, except those of erasures and webhooks."""
    await patch_portal(admin, gate_enabled=True)
    members = {"collects_fields": True, "fields": [{"label": "Signed by"}]}
    await make_type(admin, "Contract", upload_mode="required", **members)
    await make_customer(admin, "c-1", name="Anna")
    await change(admin, "PUT", "customers/c-1", json={"name": "Bea"})
    clamd.pattern = None
    await change(admin, "PUT", DOCUMENT, **upload_of(INFECTED, "letter.txt"))
    for number, pattern in enumerate((files.EICAR, None), start=2):
        clamd.pattern = pattern
        clamd.version = f"ClamAV 1.4.3/{number}/Tue Nov 24 08:00:00 2026"
        await rescan(resources)
    await change(admin, "PATCH", DOCUMENT, json={"field_values": {"signed-by": "Bea"}})
    await change(admin, "DELETE", DOCUMENT)
    await make_type(admin, "Spare")
    await change(admin, "PUT", "document-type-order", json={"keys": ["spare", "contract"]})
    await patch_type(admin, "spare", name="Other")
    await patch_type(admin, "spare", archived=True)
    await change(admin, "DELETE", "document-types/spare", headers={"If-Match": "*"})
    await compare_gates(resources)


async def test_every_event_and_message_is_valid(
    admin: httpx.AsyncClient, resources: Resources, receiver: Receiver, clamd: FakeClamd
) -> None:
    webhook = await make_webhook(admin, url=receiver.url)
    await cause_events(admin, resources, clamd)
    # An erasure removes the data.
    await deliver(resources)
    before = await feed(admin)
    async with running_receiver() as leaving:
        leaving.set(410)
        await make_webhook(admin, url=leaving.url, types=["customer.erased"])
        await change(admin, "DELETE", "customers/c-1")
        await finish_erasures(resources)
        await deliver(resources)
    # The event that the second webhook was disabled.
    await deliver(resources)
    await change(admin, "POST", f"webhooks/{webhook['id']}/test")
    events = [*before, *await feed(admin)]
    messages = [(message.content["type"], message) for message in receiver.messages]
    assert {event["type"] for event in events} == set(EventType)
    assert {type_ for type_, _ in messages} == {*EventType, TEST_TYPE}
    assert [(type_, wrong) for type_, message in messages if (wrong := violations(message))] == []


async def test_message_that_leaves_a_list_to_the_feed_is_valid(
    admin: httpx.AsyncClient,
    resources: Resources,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presenters, "MAX_MESSAGE_BYTES", 100)
    await make_webhook(admin, url=receiver.url)
    await make_type(admin, "Contract", upload_mode="required")
    await patch_portal(admin, gate_enabled=True)
    await make_customer(admin, "c-1")
    await change(admin, "PUT", "customers/c-1", json={"name": "Bea"})
    await deliver(resources)
    shortened = {"gate.changed": "due", "requirements.changed": "required"}
    found = {message.content["type"]: message for message in receiver.messages}
    for type_, member in shortened.items():
        assert found[type_].content["data"][member] is None
        assert violations(found[type_]) == []


def test_undescribed_and_missing_members_are_errors() -> None:
    event = {"$ref": "#/components/schemas/EventCustomer"}
    assert errors(event, {"id": None, "pseudonym": "anon-1"}) == []
    assert errors(event, {"id": None}) != []
    assert errors(event, {"id": None, "pseudonym": "anon-1", "name": "Anna"}) != []
