"""The rules of `rules/states.py` as SQL, for filters and counts over many customers."""

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from docvault.models import Customer, Document, DocumentType, DocumentTypeField
from docvault.rules.slots import UploadMode
from docvault.rules.states import BLANKS


def has_documents() -> ColumnElement[bool]:
    """Whether any current file exists, of whatever type (R-091, A-16)."""
    return exists().where(
        Document.customer_id == Customer.id, Document.current_version_id.is_not(None)
    )


def has_uploaded(document_type_id: object) -> ColumnElement[bool]:
    """Whether a current file exists for this type (R-092)."""
    document = aliased(Document)
    return exists().where(
        document.customer_id == Customer.id,
        document.document_type_id == document_type_id,
        document.current_version_id.is_not(None),
    )


def lacks_values(
    document_type: type[DocumentType],
    field_values: InstrumentedAttribute,  # type: ignore[type-arg]
) -> ColumnElement[bool]:
    """Whether a required field that is asked now has no value; see `states.lacks_values`."""
    value = func.coalesce(field_values.op("->>")(DocumentTypeField.key), "")
    return and_(
        document_type.collects_fields,
        exists().where(
            DocumentTypeField.document_type_id == document_type.id,
            DocumentTypeField.retired_at.is_(None),
            DocumentTypeField.required,
            func.btrim(value, BLANKS) == "",
        ),
    )


def is_due(document_type: type[DocumentType], document: type[Document]) -> ColumnElement[bool]:
    """Whether an outer-joined slot of an active type is due; see `states.is_due`."""
    return and_(
        document_type.upload_mode == UploadMode.REQUIRED,
        or_(
            document.current_version_id.is_(None),
            lacks_values(document_type, document.field_values),
        ),
    )


def owes_nothing() -> ColumnElement[bool]:
    """Whether no active required type is due for the customer: the gate's question."""
    document, document_type = aliased(Document), aliased(DocumentType)
    due = (
        select(1)
        .select_from(document_type)
        .outerjoin(
            document,
            and_(
                document.document_type_id == document_type.id,
                document.customer_id == Customer.id,
            ),
        )
        .where(document_type.archived_at.is_(None), is_due(document_type, document))
        .correlate(Customer)
    )
    return not_(due.exists())
