"""The customer audience: a customer, by a token with the customer scope."""

from fastapi import APIRouter

from docvault.api.customer import document_batches, documents, gate, portal

ROUTERS: tuple[tuple[str, APIRouter], ...] = (
    ("portal", portal.router),
    ("documents", documents.router),
    ("documents", document_batches.router),
    ("gate", gate.router),
)
