"""Content URLs of customers."""

from docvault.api.routing.routes import CustomerRoute
from docvault.api.shared.content_urls import content_url_router

router = content_url_router(CustomerRoute, "/v1/customer/documents/{key}")
