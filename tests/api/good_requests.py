"""A successful request for each operation of the contract.

Written by hand: an operation that is added to the contract has to be added here, or the tests
that iterate over all operations fail.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.api.world import ANNA, LEAVING, LOG, Scenario, upload_bytes, upload_request
from tests.factories.setups import upload_of

FOLDER = Path(__file__).parents[2] / "openapi"
# Keyword arguments for httpx, given the customer of the request.
Arguments = Callable[[str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Listed:
    """An operation as the committed contract lists it."""

    audience: str
    method: str
    path: str
    contract: Mapping[str, Any]

    @property
    def takes_json(self) -> bool:
        """Whether its body is JSON."""
        return "application/json" in self.contract.get("requestBody", {}).get("content", {})


@dataclass(frozen=True, slots=True)
class Good:
    """A valid request and the status of its response.

    `scope` is what an API key needs; `changes` says whether the request changes any data.
    """

    status: int = 200
    arguments: Arguments = lambda _: {}
    scope: str | None = None
    changes: bool = False


@cache
def listed_operations() -> dict[str, Listed]:
    """Return every operation of `openapi/*.json` by its id."""
    return {
        operation["operationId"]: Listed(audience, method.upper(), path, operation)
        for audience in ("admin", "customer", "integration")
        for path, item in json.loads((FOLDER / f"{audience}.json").read_text())["paths"].items()
        for method, operation in item.items()
    }


def json_body(**members: Any) -> Arguments:
    """Return a JSON body that is the same for every customer."""
    return lambda _: {"json": members}


def unconditional(**members: Any) -> Arguments:
    """Return a JSON body for an operation that requires If-Match."""
    return lambda _: {"json": members, "headers": {"If-Match": "*"}}


def _upload(customer: str) -> dict[str, Any]:
    return upload_of(upload_bytes(customer), f"{customer}.pdf")


def _upload_request(customer: str) -> dict[str, Any]:
    return {"json": upload_request(customer)}


def _batch(customer: str) -> dict[str, Any]:
    items = [{"key": "contract", "files": [0], "field_values": {"signed-by": customer}}]
    parts = [
        ("batch", (None, json.dumps({"items": items}))),
        ("files", (f"{customer}.pdf", upload_bytes(customer))),
    ]
    return {"files": parts}


READ = Good()
CHANGED_VALUES = json_body(field_values={"signed-by": "someone"})

GOOD_REQUESTS: dict[str, Good] = {
    "admin_list_api_keys": READ,
    "admin_create_api_key": Good(201, json_body(name="CRM", scopes=["types:read"]), changes=True),
    "admin_read_api_key": READ,
    "admin_update_api_key": Good(200, json_body(name="Renamed"), changes=True),
    "admin_revoke_api_key": Good(204, changes=True),
    "admin_list_audit_events": READ,
    "admin_list_customers": READ,
    "admin_create_customer": Good(201, json_body(id="customer-new"), changes=True),
    "admin_read_customer": READ,
    "admin_put_customer": Good(200, json_body(name="Renamed"), changes=True),
    "admin_update_customer": Good(200, json_body(name="Renamed"), changes=True),
    "admin_delete_customer": Good(202, changes=True),
    "admin_list_all_documents": READ,
    "admin_list_documents": READ,
    "admin_read_document": READ,
    "admin_upload_document": Good(200, _upload, changes=True),
    "admin_update_document": Good(200, CHANGED_VALUES, changes=True),
    "admin_delete_document": Good(204, changes=True),
    "admin_add_file": Good(201, _upload, changes=True),
    "admin_remove_file": Good(200, changes=True),
    "admin_read_content": READ,
    "admin_create_content_url": Good(201, json_body(purpose="inline")),
    "admin_copy_document": Good(200, json_body(**{"from": {"key": "passport"}}), changes=True),
    "admin_read_preview": Good(changes=True),
    "admin_create_upload": Good(201, _upload_request, changes=True),
    "admin_read_upload": READ,
    "admin_delete_upload": Good(204, changes=True),
    "admin_complete_upload": Good(200, changes=True),
    "admin_list_document_versions": READ,
    "admin_read_gate": READ,
    "admin_read_customer_summary": READ,
    "admin_order_document_types": Good(
        204, json_body(keys=["spare", "report", "passport", "contract"]), changes=True
    ),
    "admin_list_document_types": READ,
    "admin_create_document_type": Good(201, json_body(name="New"), changes=True),
    "admin_read_document_type": READ,
    "admin_update_document_type": Good(200, unconditional(max_files=2), changes=True),
    "admin_delete_document_type": Good(204, changes=True),
    # Reading gives events their positions, as the worker does.
    "admin_list_events": Good(changes=True),
    "admin_read_event": Good(changes=True),
    "admin_list_erasures": READ,
    "admin_read_erasure": READ,
    "admin_read_portal_settings": READ,
    "admin_update_portal_settings": Good(
        200, unconditional(customer_may_delete=False), changes=True
    ),
    "admin_list_webhooks": READ,
    "admin_create_webhook": Good(
        201, json_body(name="CRM", url="https://example.org/", types=["*"]), changes=True
    ),
    "admin_read_webhook": READ,
    "admin_update_webhook": Good(200, json_body(name="Renamed"), changes=True),
    "admin_delete_webhook": Good(204, changes=True),
    "admin_rotate_webhook_secret": Good(200, changes=True),
    "admin_test_webhook": READ,
    "admin_replay_events": Good(202, json_body(after=f"{LOG.hex}-0"), changes=True),
    "admin_list_deliveries": READ,
    "admin_read_delivery": READ,
    "admin_retry_delivery": Good(202, changes=True),
    "customer_save_document_batch": Good(207, _batch, changes=True),
    "customer_list_documents": READ,
    "customer_read_document": READ,
    "customer_upload_document": Good(200, _upload, changes=True),
    "customer_update_document": Good(200, CHANGED_VALUES, changes=True),
    "customer_delete_document": Good(204, changes=True),
    "customer_add_file": Good(201, _upload, changes=True),
    "customer_remove_file": Good(200, changes=True),
    "customer_read_content": READ,
    "customer_create_content_url": Good(201, json_body(purpose="inline")),
    "customer_read_preview": Good(changes=True),
    "customer_create_upload": Good(201, _upload_request, changes=True),
    "customer_read_upload": READ,
    "customer_delete_upload": Good(204, changes=True),
    "customer_complete_upload": Good(200, changes=True),
    "customer_read_gate": READ,
    "customer_read_portal": READ,
    "integration_put_customer_batch": Good(
        207, lambda c: {"json": {"items": [{"id": c}]}}, "customers:write", changes=True
    ),
    "integration_read_customer": Good(scope="customers:read"),
    "integration_put_customer": Good(200, json_body(name="R"), "customers:write", changes=True),
    "integration_update_customer": Good(200, json_body(name="R"), "customers:write", changes=True),
    "integration_delete_customer": Good(202, scope="customers:erase", changes=True),
    "integration_list_all_documents": Good(scope="documents:read"),
    "integration_list_documents": Good(scope="documents:read"),
    "integration_read_document": Good(scope="documents:read"),
    "integration_upload_document": Good(200, _upload, "documents:write", changes=True),
    "integration_update_document": Good(200, CHANGED_VALUES, "documents:write", changes=True),
    "integration_add_file": Good(201, _upload, "documents:write", changes=True),
    "integration_remove_file": Good(200, scope="documents:write", changes=True),
    "integration_read_content": Good(scope="content:read"),
    "integration_create_content_url": Good(201, json_body(purpose="inline"), "content:read"),
    "integration_create_upload": Good(201, _upload_request, "documents:write", changes=True),
    "integration_read_upload": Good(scope="documents:write"),
    "integration_delete_upload": Good(204, scope="documents:write", changes=True),
    "integration_complete_upload": Good(200, scope="documents:write", changes=True),
    "integration_read_gate": Good(scope="gate:read"),
    "integration_read_key": READ,
    "integration_list_customers": Good(scope="customers:read"),
    "integration_list_events": Good(scope="events:read", changes=True),
    "integration_list_document_types": Good(scope="types:read"),
    "integration_read_erasure": Good(scope="customers:erase"),
}


def good_path(operation_id: str, scenario: Scenario, customer: str = ANNA) -> str:
    """Return the path of a valid request for this customer."""
    listed = listed_operations()[operation_id]
    unused = operation_id == "admin_delete_document_type"
    values = {"key": "spare" if unused else "contract", "number": "2"}
    if "/customers/{id}" in listed.path:
        values["id"] = customer
    elif "/api-keys/" in listed.path:
        values["id"] = scenario.keys["without a scope"]
    elif "/erasures/" in listed.path:
        values["id"] = scenario.erasures[LEAVING]
    elif "/events/" in listed.path:
        values["id"] = scenario.event
    elif "/webhooks/" in listed.path:
        values |= {"id": scenario.webhook, "delivery_id": scenario.delivery}
    if "{upload_id}" in listed.path:
        values["upload_id"] = scenario.uploads[listed.audience, customer]
    return listed.path.format(**values)
