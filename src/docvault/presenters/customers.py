"""Customers and the state of their documents."""

from collections.abc import Sequence

from docvault.domain.customers import Customer, CustomerProgress
from docvault.domain.document_status import Totals, status, totals, upload_state
from docvault.domain.documents import Document
from docvault.domain.gate import evaluate_gate
from docvault.presenters.gate import present_gate
from docvault.schemas.customers import (
    CustomerRead,
    CustomerSummary,
    DocumentTotals,
    SummaryDocument,
    SummaryDocumentType,
)


def present_customer(customer: Customer, progress: CustomerProgress) -> CustomerRead:
    """Present a customer for staff and integrations."""
    return CustomerRead(
        id=customer.external_id,
        pseudonym=customer.pseudonym,
        name=customer.data.name,
        email=customer.data.email,
        tags=list(customer.data.tags),
        has_documents=progress.has_documents,
        documents=present_totals(progress.totals),
        documents_changed_at=progress.documents_changed_at,
        last_uploaded_at=progress.last_uploaded_at,
        created_at=customer.created_at,
        updated_at=customer.updated_at,
    )


def present_summary(
    customer: Customer, documents: Sequence[Document], *, gate_enforced: bool
) -> CustomerSummary:
    """Present the state of all documents of a customer."""
    return CustomerSummary(
        customer_id=customer.external_id,
        documents=[_present_state(document) for document in documents],
        totals=present_totals(totals(documents)),
        gate=present_gate(evaluate_gate(documents, enforced=gate_enforced)),
    )


def present_totals(counted: Totals) -> DocumentTotals:
    """Present how many documents are uploaded and missing."""
    return DocumentTotals(
        uploaded=counted.uploaded,
        missing=counted.missing,
        required_missing=counted.required_missing,
    )


def _present_state(document: Document) -> SummaryDocument:
    document_type = document.type
    return SummaryDocument(
        type=SummaryDocumentType(
            key=document_type.key,
            name=document_type.name,
            upload_mode=document_type.upload_mode,
        ),
        upload_state=upload_state(document),
        status=status(document),
        uploaded_at=document.version.uploaded_at if document.version else None,
    )
