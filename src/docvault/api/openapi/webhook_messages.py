"""The messages that webhooks receive, one for each type of event (OpenAPI 3.1, `webhooks`)."""

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from docvault.api.openapi.webhook_message_examples import MEANINGS, example_of_message
from docvault.domain.events import EventType
from docvault.presenters.webhooks import TEST_TYPE
from docvault.schemas.events import EVENT_DATA, EventCustomer

_TYPES = (*map(str, EventType), TEST_TYPE)
_OUTPUT: Literal["serialization"] = "serialization"
_REFERENCES = "#/components/schemas/{model}"
_NULL = {"type": "null"}
_TEST_DATA = "WebhookTestMessageData"
_JSON = "application/json"

_SIGNATURE = r"v1a?,[A-Za-z0-9+/]+=*"
_HEADERS = {
    "webhook-id": ("The id of the event, the same at every attempt.", {"format": "uuid"}),
    "webhook-timestamp": (
        "When the attempt began, in seconds since 1970.",
        {"pattern": "^[0-9]+$"},
    ),
    "webhook-signature": (
        "The signatures of Standard Webhooks 1.0, one for each secret, with spaces between them.",
        {"pattern": f"^{_SIGNATURE}( {_SIGNATURE})*$"},
    ),
}
_RESPONSES = {
    "2XX": {"description": "The message was received."},
    "default": {
        "description": "The message is sent again, at most ten times; 410 disables the webhook."
    },
}
_DESCRIPTION = (
    "Sent to each webhook that has chosen this type, until it responds with 2xx within 15 seconds. "
    "Messages can arrive twice and in another order; `data.position` tells the order of the events."
)


def message_webhooks() -> dict[str, Any]:
    """Return the `webhooks` of the document."""
    return {type_: {"post": _operation(type_)} for type_ in _TYPES}


def message_schemas() -> dict[str, Any]:
    """Return the schemas of the messages, and those that they refer to."""
    models: list[type[BaseModel]] = [*EVENT_DATA.values(), EventCustomer]
    _, found = models_json_schema([(model, _OUTPUT) for model in models], ref_template=_REFERENCES)
    definitions: dict[str, Any] = found["$defs"]
    data = {
        _data_name(family): definitions.pop(model.__name__) for family, model in EVENT_DATA.items()
    }
    return {
        **definitions,
        **{name: _message_data(name, schema) for name, schema in data.items()},
        _TEST_DATA: _test_data(),
        **{_name(type_): _message(type_) for type_ in _TYPES},
    }


def _operation(type_: str) -> dict[str, Any]:
    return {
        "tags": ["admin"],
        "operationId": f"webhook_{type_.replace('.', '_')}",
        "summary": MEANINGS[type_],
        "description": _DESCRIPTION,
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string", **schema},
            }
            for name, (description, schema) in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {
                    "schema": {"$ref": _REFERENCES.format(model=_name(type_))},
                    "example": example_of_message(type_),
                }
            },
        },
        "responses": _RESPONSES,
    }


def _message(type_: str) -> dict[str, Any]:
    data = _TEST_DATA if type_ == TEST_TYPE else _data_name(type_.partition(".")[0])
    return {
        "type": "object",
        "title": _name(type_),
        "description": MEANINGS[type_],
        "properties": {
            "type": {"type": "string", "const": type_, "title": "Type", "examples": [type_]},
            "timestamp": {
                "type": "string",
                "format": "date-time",
                "title": "Timestamp",
                "description": "The time of the change.",
                "examples": ["2026-11-24T09:12:44Z"],
            },
            "data": {"$ref": _REFERENCES.format(model=data)},
        },
        "required": ["type", "timestamp", "data"],
    }


def _message_data(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the data of the feed, and what else a receiver has to know."""
    customer = {"anyOf": [{"$ref": _REFERENCES.format(model="EventCustomer")}, _NULL]}
    position = {
        "type": "integer",
        "title": "Position",
        "description": "The position in the event log.",
        "examples": [18231],
    }
    members = {member: _shortened(item) for member, item in schema["properties"].items()}
    return {
        **schema,
        "title": name,
        "properties": {**members, "customer": customer, "position": position},
        "required": [*schema["required"], "customer", "position"],
    }


def _test_data() -> dict[str, Any]:
    """Return the data of a test, which has the members that all messages have."""
    return {
        "type": "object",
        "title": _TEST_DATA,
        "description": "Data of `webhook.test`.",
        "properties": {
            "webhook": {"type": "string", "format": "uuid", "title": "Webhook"},
            "customer": {
                "anyOf": [{"$ref": _REFERENCES.format(model="EventCustomer")}, _NULL],
                "description": "Always null.",
            },
            "position": {
                "anyOf": [{"type": "integer"}, _NULL],
                "title": "Position",
                "description": "Always null.",
                "examples": [None],
            },
        },
        "required": ["webhook", "customer", "position"],
    }


def _shortened(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member; a list is null in a message that it would make too large."""
    if member.get("type") != "array":
        return member
    about = ("title", "description", "examples")
    shared = {key: member[key] for key in about if key in member}
    text = "Null if the message would have more than 20 KiB; read the event then."
    shared["description"] = " ".join(filter(None, (shared.get("description"), text)))
    items = {key: value for key, value in member.items() if key not in about}
    return {"anyOf": [items, _NULL], **shared}


def _name(type_: str) -> str:
    return "".join(word.capitalize() for word in type_.replace(".", "_").split("_")) + "Message"


def _data_name(family: str) -> str:
    return "".join(word.capitalize() for word in family.split("_")) + "MessageData"
