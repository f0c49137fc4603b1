"""Upload sessions of staff."""

from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.upload_sessions import upload_session_router
from docvault.schemas.documents import AdminDocumentRead

router = upload_session_router(
    AdminRoute,
    "/v1/admin/customers/{id}/documents/{key}",
    document_model=AdminDocumentRead,
)
