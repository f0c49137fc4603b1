"""The customer API: a customer, by a token with the customer scope."""

from fastapi import APIRouter

from docvault.api.customer import (
    content_urls,
    document_batches,
    document_files,
    documents,
    gate,
    portal,
    upload_sessions,
)

ROUTERS: tuple[APIRouter, ...] = (
    portal.router,
    documents.router,
    content_urls.router,
    document_files.router,
    upload_sessions.router,
    document_batches.router,
    gate.router,
)
