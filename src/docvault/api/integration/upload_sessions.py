"""Upload sessions of third-party systems."""

from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.upload_sessions import upload_session_router
from docvault.domain.scopes import Scope
from docvault.schemas.documents import DocumentRead

router = upload_session_router(
    IntegrationRoute,
    "/v1/integration/customers/{id}/documents/{key}",
    document_model=DocumentRead,
    scope=Scope.DOCUMENTS_WRITE,
)
