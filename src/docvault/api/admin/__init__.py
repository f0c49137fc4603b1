"""The admin API: staff, by a token with the admin scope."""

from fastapi import APIRouter

from docvault.api.admin import (
    api_keys,
    audit_events,
    content_urls,
    customers,
    document_files,
    document_lists,
    document_types,
    documents,
    erasures,
    events,
    portal_settings,
    upload_sessions,
    webhook_deliveries,
    webhooks,
)

ROUTERS: tuple[APIRouter, ...] = (
    document_types.router,
    portal_settings.router,
    customers.router,
    document_lists.router,
    documents.router,
    content_urls.router,
    document_files.router,
    upload_sessions.router,
    erasures.router,
    api_keys.router,
    audit_events.router,
    events.router,
    webhooks.router,
    webhook_deliveries.router,
)
