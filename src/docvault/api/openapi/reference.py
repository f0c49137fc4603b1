"""The contract as the reference shows it: with guides, and operations grouped by resource."""

from pathlib import Path
from typing import Any

from docvault.api.openapi.spec import api_guide

_GUIDES = Path(__file__).parent / "static" / "guides.md"

# The group of the paths that contain a segment, the first that matches, and its introduction.
_GROUPS = (
    (
        "uploads",
        "Uploads",
        "Large files: declare one, send its bytes to a signed URL, complete it.",
    ),
    ("gate", "Gate", "Whether a customer has delivered what is required: `open` or `blocked`."),
    ("document-batches", "Documents", ""),
    ("documents", "Documents", "What a customer has for each document type, uploaded or missing."),
    ("document-type-order", "Document types", ""),
    ("document-types", "Document types", "The documents that are requested from all customers."),
    ("portal", "Portal", "What customers see above their documents, and its settings."),
    ("api-keys", "API keys", "Credentials of other systems."),
    ("key", "API keys", ""),
    ("audit-events", "Audit trail", "Who did what, newest first."),
    ("events", "Events", "Every change, in one order, for systems that follow them."),
    ("webhooks", "Webhooks", "Addresses that receive the events, and the state of each delivery."),
    ("erasures", "Erasures", "The removal of everything about a customer."),
    ("customer-batches", "Customers", ""),
    ("customers", "Customers", "The people and companies that documents are collected from."),
)
# The group of the messages, which have no path.
_MESSAGES = "Webhook messages"


def reference_document(contract: dict[str, Any], api: str) -> dict[str, Any]:
    """Return the contract of one API with the guides as description and a tag for each resource."""
    paths = {
        path: {method: {**operation, "tags": [_group(path)]} for method, operation in item.items()}
        for path, item in contract["paths"].items()
    }
    webhooks = {
        name: {"post": {**item["post"], "tags": [_MESSAGES]}}
        for name, item in contract.get("webhooks", {}).items()
    }
    operations = [one for item in (*paths.values(), *webhooks.values()) for one in item.values()]
    names = sorted({operation["tags"][0] for operation in operations})
    introductions = {name: text for _, name, text in _GROUPS if text}
    introductions[_MESSAGES] = "What webhooks receive, one message for each event."
    guides = [_GUIDES.read_text(), *api_guide(api)]
    return {
        **contract,
        "info": {**contract["info"], "description": "\n".join(guides)},
        "tags": [{"name": name, "description": introductions.get(name, "")} for name in names],
        "paths": paths,
        **({"webhooks": webhooks} if webhooks else {}),
    }


def _group(path: str) -> str:
    """Return the group of a path; that of a new resource is named after it."""
    segments = path.split("/")[3:]
    found = (name for segment, name, _ in _GROUPS if segment in segments)
    return next(found, segments[0].replace("-", " ").capitalize())
