"""Single files of documents that third-party systems upload."""

from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.document_files import document_files_router
from docvault.domain.scopes import Scope
from docvault.schemas.documents import DocumentRead

router = document_files_router(
    IntegrationRoute,
    "/v1/integration/customers/{id}/documents/{key}",
    document_model=DocumentRead,
    scope=Scope.DOCUMENTS_WRITE,
)
