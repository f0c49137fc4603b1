"""The integration audience: third-party systems, by API keys with scopes."""

from fastapi import APIRouter

from docvault.api.integration import customers, document_types, documents, erasures, gate

ROUTERS: tuple[tuple[str, APIRouter], ...] = (
    ("document types", document_types.router),
    ("customers", customers.router),
    ("documents", documents.router),
    ("gate", gate.router),
    ("erasures", erasures.router),
)
