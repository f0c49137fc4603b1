"""The integration API: third-party systems, by API keys with scopes."""

from fastapi import APIRouter

from docvault.api.integration import (
    api_keys,
    content_urls,
    customers,
    document_files,
    document_lists,
    document_types,
    documents,
    erasures,
    events,
    gate,
    upload_sessions,
)

ROUTERS: tuple[APIRouter, ...] = (
    api_keys.router,
    document_types.router,
    customers.router,
    document_lists.router,
    documents.router,
    content_urls.router,
    document_files.router,
    upload_sessions.router,
    gate.router,
    erasures.router,
    events.router,
)
