"""Upload sessions of customers."""

from docvault.api.routing.routes import CustomerRoute
from docvault.api.shared.upload_sessions import upload_session_router
from docvault.schemas.documents import DocumentRead

router = upload_session_router(
    CustomerRoute,
    "/v1/customer/documents/{key}",
    document_model=DocumentRead,
)
