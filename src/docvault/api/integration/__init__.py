"""The integration audience: third-party systems, by API keys with scopes."""

from fastapi import APIRouter

from docvault.api.integration import customers, document_types, documents, erasures, gate

ROUTERS: tuple[APIRouter, ...] = (
    document_types.router,
    customers.router,
    documents.router,
    gate.router,
    erasures.router,
)
