"""Use cases of document types."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from docvault.errors import (
    DocumentTypeUnknown,
    DuplicateLabel,
    LabelsRequired,
    ValidationFailed,
)
from docvault.models import DocumentType, DocumentTypeField, new_id
from docvault.rules.document_types import fold, parse_field_labels, slug
from docvault.rules.slots import TypeFacts, TypePosition, UploadMode
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.document_types import (
    MAX_FIELDS,
    DocumentTypeCreate,
    DocumentTypeFieldInput,
    DocumentTypeUpdate,
)
from docvault.services.work import Work, difference


async def get_document_type(work: Work, key: str) -> TypeFacts:
    """Return a type; raises `DocumentTypeUnknown`."""
    document_type = await work.unit.document_types.get(key)
    if document_type is None:
        raise DocumentTypeUnknown
    return document_type


async def list_document_types(
    work: Work, *, archived: bool, after: TypePosition | None, limit: int
) -> list[TypeFacts]:
    """Return up to `limit` types in their order."""
    return await work.unit.document_types.list_page(archived=archived, after=after, limit=limit)


async def count_document_types(work: Work, *, archived: bool) -> int:
    """Return how many types are active, or archived."""
    return await work.unit.document_types.count(archived=archived)


async def create_document_type(work: Work, data: DocumentTypeCreate) -> TypeFacts:
    """Add a type; every customer is asked for it from now on (R-004)."""
    types = work.unit.document_types
    await types.lock_order()
    key = data.key or slug(data.name, await types.all_keys(), prefix="type")
    _check_size(work, data.max_size_bytes)
    position = await types.last_position() + 1
    if data.position is not None:
        position = data.position
        await types.make_room(position)
    row = DocumentType(
        id=new_id(),
        key=key,
        name=data.name,
        folded_name=fold(data.name),
        upload_mode=data.upload_mode,
        collects_fields=data.collects_fields,
        instructions=data.instructions,
        accepted_media_types=data.accepted_media_types,
        max_size_bytes=data.max_size_bytes,
        max_files=data.max_files,
        position=position,
    )
    await types.save(row)
    await _write_fields(work, row, _submitted_fields(data) or [])
    created = await get_document_type(work, key)
    _require_labels(created)
    await work.record(AuditAction.DOCUMENT_TYPE_CREATE, document_type=key)
    return created


async def update_document_type(work: Work, key: str, data: DocumentTypeUpdate) -> TypeFacts:
    """Change a type; states follow at once, values stay (R-014, R-020, R-021).

    The caller holds the row's lock through `lock_document_type`.
    """
    _check_size(work, data.max_size_bytes)
    before = await get_document_type(work, key)
    if data.position is not None and data.position != before.position:
        await work.unit.document_types.make_room(data.position)
    row = await work.unit.document_types.lock_row(key)
    if row is None:
        raise DocumentTypeUnknown
    _apply(row, data)
    await work.unit.document_types.save(row)
    fields = _submitted_fields(data)
    if fields is not None:
        await _write_fields(work, row, fields)
    await work.unit.document_types.touch(row.id)
    after = await get_document_type(work, key)
    _require_labels(after)
    changes = difference(_audited(before), _audited(after))
    await work.record(AuditAction.DOCUMENT_TYPE_UPDATE, document_type=key, changes=changes)
    return after


async def lock_document_type(work: Work, key: str) -> TypeFacts:
    """Return a type that nobody else changes until the transaction ends."""
    if await work.unit.document_types.lock_row(key) is None:
        raise DocumentTypeUnknown
    return await get_document_type(work, key)


async def delete_document_type(work: Work, key: str) -> None:
    """Remove a type for which no file was ever stored; raises `DocumentTypeInUse`."""
    document_type = await lock_document_type(work, key)
    await work.unit.document_types.delete(document_type.id)
    await work.record(AuditAction.DOCUMENT_TYPE_DELETE, document_type=key)


async def reorder_document_types(work: Work, keys: list[str]) -> None:
    """Put the active types in this order; all of them must be named once (R-022)."""
    await work.unit.document_types.lock_order()
    if len(set(keys)) != len(keys) or set(keys) != await work.unit.document_types.active_keys():
        raise ValidationFailed("Name every active document type exactly once.", pointer="/keys")
    await work.unit.document_types.reorder(keys)
    await work.record(AuditAction.DOCUMENT_TYPE_REORDER)


def _check_size(work: Work, max_size_bytes: int | None) -> None:
    ceiling = work.settings.max_upload_bytes
    if max_size_bytes is not None and max_size_bytes > ceiling:
        raise ValidationFailed(f"At most {ceiling} here.", pointer="/max_size_bytes")


def _apply(row: DocumentType, data: DocumentTypeUpdate) -> None:
    """Set what the merge patch names; null stands for the default of a new type."""
    given = data.model_fields_set
    if "name" in given:
        row.name, row.folded_name = data.name, fold(data.name)
    if "upload_mode" in given:
        row.upload_mode = data.upload_mode or UploadMode.OPTIONAL
    if "collects_fields" in given:
        row.collects_fields = bool(data.collects_fields)
    if "max_files" in given:
        row.max_files = data.max_files or 1
    if data.position is not None:
        row.position = data.position
    for name in {"instructions", "accepted_media_types", "max_size_bytes"} & given:
        setattr(row, name, getattr(data, name))
    if "archived" in given and data.archived != (row.archived_at is not None):
        row.archived_at = datetime.now(UTC) if data.archived else None


def _submitted_fields(
    data: DocumentTypeCreate | DocumentTypeUpdate,
) -> list[DocumentTypeFieldInput] | None:
    """Return the wanted fields in either form, None when the request does not speak of them."""
    if data.field_labels is not None:
        labels = parse_field_labels(data.field_labels)
        if len(labels) > MAX_FIELDS:
            raise ValidationFailed(f"At most {MAX_FIELDS} fields.", pointer="/field_labels")
        for label in labels:
            _check_label_length(label)
        return [DocumentTypeFieldInput(label=label) for label in labels]
    if data.model_fields_set & {"fields", "field_labels"}:
        return data.fields or []
    return None


def _check_label_length(label: str) -> None:
    limit = 100
    if len(label) > limit:
        raise ValidationFailed(f"A label has at most {limit} characters.", pointer="/field_labels")


async def _write_fields(
    work: Work, row: DocumentType, wanted: list[DocumentTypeFieldInput]
) -> None:
    """Make the active fields what was submitted.

    A field is found again by its key or, without one, by its label, so that values return
    with it; one that is left out is retired (A-13).
    """
    _refuse_duplicates(wanted)
    stored = await work.unit.document_types.field_rows(row.id)
    kept = _match_fields(row, stored, wanted)
    wanted_labels = {field.id: fold(item.label) for field, item in zip(kept, wanted, strict=True)}
    for field in stored:
        if field.retired_at is None and field.folded_label != wanted_labels.get(field.id):
            field.retired_at = datetime.now(UTC)
    # First away with all that lose their label, for labels may move from field to field.
    await work.unit.document_types.save(*stored)
    for position, (field, submitted) in enumerate(zip(kept, wanted, strict=True)):
        field.label, field.folded_label = submitted.label, fold(submitted.label)
        field.required, field.position, field.retired_at = submitted.required, position, None
    await work.unit.document_types.save(*kept)


def _match_fields(
    row: DocumentType, stored: list[DocumentTypeField], wanted: list[DocumentTypeFieldInput]
) -> list[DocumentTypeField]:
    by_key = {field.key: field for field in stored}
    named = {item.key for item in wanted if item.key}
    by_label: dict[str, DocumentTypeField] = {}
    # Active fields come last and win over retired ones with the same label.
    for field in sorted(stored, key=lambda field: field.retired_at is None):
        if field.key not in named:
            by_label[field.folded_label] = field
    matched = []
    for item in wanted:
        found = by_key.get(item.key) if item.key else by_label.get(fold(item.label))
        if found is None:
            key = item.key or slug(item.label, by_key.keys() | named, prefix="field")
            found = DocumentTypeField(id=new_id(), document_type_id=row.id, key=key)
            by_key[key] = found
        matched.append(found)
    return matched


def _refuse_duplicates(wanted: list[DocumentTypeFieldInput]) -> None:
    labels: set[str] = set()
    keys: set[str] = set()
    for index, item in enumerate(wanted):
        if fold(item.label) in labels:
            raise DuplicateLabel(pointer=f"/fields/{index}/label")
        if item.key in keys:
            raise ValidationFailed("The key is there twice.", pointer=f"/fields/{index}/key")
        labels.add(fold(item.label))
        if item.key:
            keys.add(item.key)


def _require_labels(document_type: TypeFacts) -> None:
    """Refuse the switch without anything to ask (R-019)."""
    if document_type.collects_fields and not document_type.fields:
        raise LabelsRequired(pointer="/fields")


def _audited(document_type: TypeFacts) -> dict[str, Any]:
    """Return what the audit trail says of a type, as JSON."""
    facts = asdict(document_type)
    for name in ("id", "created_at", "updated_at"):
        del facts[name]
    return facts
