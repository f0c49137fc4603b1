"""The admin audience: staff, by a token with the admin scope."""

from fastapi import APIRouter

from docvault.api.admin import (
    api_keys,
    audit_events,
    customers,
    document_types,
    documents,
    erasures,
    settings,
)

ROUTERS: tuple[tuple[str, APIRouter], ...] = (
    ("document types", document_types.router),
    ("settings", settings.router),
    ("customers", customers.router),
    ("documents", documents.router),
    ("erasures", erasures.router),
    ("API keys", api_keys.router),
    ("audit events", audit_events.router),
)
