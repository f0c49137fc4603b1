"""Single files of the customer's own documents."""

from docvault.api.routing.routes import CustomerRoute
from docvault.api.shared.document_files import document_files_router
from docvault.schemas.documents import DocumentRead

router = document_files_router(
    CustomerRoute,
    "/v1/customer/documents/{key}",
    document_model=DocumentRead,
)
