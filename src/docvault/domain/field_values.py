"""Field values of documents, and changes to them."""

from collections.abc import Mapping

from docvault.domain.document_types import DocumentType
from docvault.errors import ErrorDetail, FieldsNotEnabled, UnknownField, escape_pointer

# Of one document type.
MAX_FIELDS = 50
MAX_VALUE_LENGTH = 2000

FieldValueChanges = Mapping[str, str | None]


def merge_values(
    document_type: DocumentType, current: Mapping[str, str], changes: FieldValueChanges
) -> dict[str, str]:
    """Return the values after a merge patch (RFC 7396): null clears a field.

    Values of fields that are not shown now are kept. Raises `FieldsNotEnabled`, or
    `UnknownField` with a pointer to each unknown key (R-046).
    """
    _check_keys(document_type, changes)
    merged = dict(current)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _check_keys(document_type: DocumentType, changes: FieldValueChanges) -> None:
    if changes and not document_type.collects_fields:
        raise FieldsNotEnabled(pointer="/field_values")
    known = {field.key for field in document_type.fields}
    unknown = [key for key in changes if key not in known]
    if unknown:
        raise UnknownField(errors=[_unknown(key) for key in unknown])


def _unknown(key: str) -> ErrorDetail:
    pointer = f"/field_values/{escape_pointer(key)}"
    return ErrorDetail(UnknownField.code, "Unknown field.", pointer=pointer)
