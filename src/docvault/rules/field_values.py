"""Field values that come with a document or change it."""

from collections.abc import Mapping

from docvault.errors import ErrorDetail, FieldsNotEnabled, UnknownField
from docvault.rules.slots import TypeFacts

MAX_VALUE_LENGTH = 2000

FieldValueChanges = Mapping[str, str | None]


def merge_values(
    document_type: TypeFacts, current: Mapping[str, str], changes: FieldValueChanges
) -> dict[str, str]:
    """Return the values after a merge patch (RFC 7396): null clears a field.

    Values of fields that are not shown now are kept. Raises `FieldsNotEnabled` or
    `UnknownField`, with a pointer for each wrong key (R-046).
    """
    _check_keys(document_type, changes)
    merged = dict(current)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _check_keys(document_type: TypeFacts, changes: FieldValueChanges) -> None:
    if changes and not document_type.collects_fields:
        raise FieldsNotEnabled(pointer="/field_values")
    known = {field.key for field in document_type.fields}
    unknown = [key for key in changes if key not in known]
    if unknown:
        raise UnknownField(errors=[_unknown(key) for key in unknown])


def _unknown(key: str) -> ErrorDetail:
    escaped = key.replace("~", "~0").replace("/", "~1")
    return ErrorDetail(
        UnknownField.code, "There is no such field.", pointer=f"/field_values/{escaped}"
    )
