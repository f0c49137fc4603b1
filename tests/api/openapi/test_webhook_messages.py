"""The messages of webhooks in the contract."""

from typing import Any

import pytest

from docvault.api.app import create_app
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api
from docvault.api.openapi.webhook_message_examples import example_of_message
from docvault.domain.events import EventType
from docvault.presenters.webhooks import TEST_TYPE
from docvault.schemas.events import EVENT_DATA

WHOLE = build_openapi(create_app())
SCHEMAS: dict[str, Any] = WHOLE["components"]["schemas"]

pytestmark = pytest.mark.req("B-258")


def schema_of(type_: EventType) -> dict[str, Any]:
    """Return the schema of the body of a message."""
    body = WHOLE["webhooks"][type_]["post"]["requestBody"]["content"]["application/json"]
    found: dict[str, Any] = SCHEMAS[body["schema"]["$ref"].rpartition("/")[2]]
    return found


def test_contract_of_staff_alone_names_every_event() -> None:
    assert WHOLE["webhooks"].keys() == {*EventType, TEST_TYPE}
    found = {name: extract_api(WHOLE, name).get("webhooks") for name in API_NAMES}
    assert found == {"admin": WHOLE["webhooks"], "customer": None, "integration": None}


@pytest.mark.parametrize("type_", EventType)
def test_data_of_a_message_are_those_of_the_feed(type_: EventType) -> None:
    schema = schema_of(type_)
    assert schema["properties"]["type"]["const"] == type_
    data = SCHEMAS[schema["properties"]["data"]["$ref"].rpartition("/")[2]]
    members = EVENT_DATA[type_.partition(".")[0]].model_fields.keys()
    assert data["properties"].keys() == {*members, "customer", "position"}
    assert set(data["required"]) == data["properties"].keys()


@pytest.mark.parametrize("type_", EventType)
def test_example_is_a_message_that_could_be_sent(type_: EventType) -> None:
    data = example_of_message(type_)["data"]
    assert isinstance(data.pop("position"), int)
    is_about_customer = type_.startswith(("customer.", "document.", "gate."))
    assert (data.pop("customer") is not None) == is_about_customer
    model = EVENT_DATA[type_.partition(".")[0]]
    assert model.model_validate(data).model_dump(mode="json") == data
