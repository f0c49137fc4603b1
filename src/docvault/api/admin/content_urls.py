"""Content URLs of staff."""

from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.content_urls import content_url_router

router = content_url_router(AdminRoute, "/v1/admin/customers/{id}/documents/{key}")
