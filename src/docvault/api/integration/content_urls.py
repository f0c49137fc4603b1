"""Content URLs of third-party systems."""

from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.content_urls import content_url_router
from docvault.domain.scopes import Scope

router = content_url_router(
    IntegrationRoute,
    "/v1/integration/customers/{id}/documents/{key}",
    scope=Scope.CONTENT_READ,
)
