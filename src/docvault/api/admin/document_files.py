"""Single files of documents, as staff manage them."""

from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.document_files import document_files_router
from docvault.schemas.documents import AdminDocumentRead

router = document_files_router(
    AdminRoute,
    "/v1/admin/customers/{id}/documents/{key}",
    document_model=AdminDocumentRead,
)
