"""Use cases of document types."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from docvault.db.tables import DocumentTypeFieldRow, DocumentTypeRow, new_id
from docvault.domain.audit import AuditAction, difference
from docvault.domain.document_types import (
    MAX_LABEL_LENGTH,
    DocumentType,
    DocumentTypeCursor,
    PasswordPolicy,
    UploadMode,
    fold,
    parse_field_labels,
    slug,
)
from docvault.domain.events import EventType
from docvault.domain.field_values import MAX_FIELDS
from docvault.domain.text import is_line
from docvault.errors import DocumentTypeNotFound, DuplicateLabel, FieldsRequired, ValidationFailed
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.document_types import (
    DocumentTypeCreate,
    DocumentTypeFieldInput,
    DocumentTypeUpdate,
)


async def get_document_type(uow: UnitOfWork, key: str) -> DocumentType:
    """Return a type; raises `DocumentTypeNotFound`."""
    document_type = await uow.document_types.get(key)
    if document_type is None:
        raise DocumentTypeNotFound
    return document_type


async def list_document_types(
    uow: UnitOfWork, *, archived: bool, after: DocumentTypeCursor | None, limit: int
) -> list[DocumentType]:
    """Return up to `limit` types in their order."""
    return await uow.document_types.list_page(archived=archived, after=after, limit=limit)


async def count_document_types(uow: UnitOfWork, *, archived: bool) -> int:
    """Return how many types are active, or archived."""
    return await uow.document_types.count(archived=archived)


async def create_document_type(uow: UnitOfWork, data: DocumentTypeCreate) -> DocumentType:
    """Create a type; it is requested from every customer from now on (R-004)."""
    types = uow.document_types
    await types.lock_order()
    key = data.key or slug(data.name, await types.all_keys(), prefix="type")
    _check_size(uow, data.max_size_bytes)
    position = await types.last_position() + 1
    if data.position is not None:
        position = data.position
        await types.shift_positions_from(position)
    row = DocumentTypeRow(
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
        password_protected=data.password_protected,
        position=position,
    )
    await types.save(row)
    await _write_fields(uow, row, _submitted_fields(data) or [])
    created = await get_document_type(uow, key)
    _require_labels(created)
    await uow.audit(AuditAction.DOCUMENT_TYPE_CREATE, document_type=key)
    return created


async def update_document_type(uow: UnitOfWork, key: str, data: DocumentTypeUpdate) -> DocumentType:
    """Change a type; states follow immediately, values are kept (R-014, R-020, R-021).

    The caller holds the row's lock through `lock_document_type`.
    """
    _check_size(uow, data.max_size_bytes)
    before = await get_document_type(uow, key)
    if data.position is not None and data.position != before.position:
        await uow.document_types.shift_positions_from(data.position)
    row = await uow.document_types.lock_row(key)
    if row is None:
        raise DocumentTypeNotFound
    _apply(row, data)
    await uow.document_types.save(row)
    fields = _submitted_fields(data)
    if fields is not None:
        await _write_fields(uow, row, fields)
    await uow.document_types.touch(row.id)
    after = await get_document_type(uow, key)
    _require_labels(after)
    changes = difference(_audited(before), _audited(after))
    if changes is not None:
        is_archived = after.archived and not before.archived
        await uow.audit(
            AuditAction.DOCUMENT_TYPE_UPDATE,
            document_type=key,
            changes=changes,
            event_type=EventType.DOCUMENT_TYPE_ARCHIVED
            if is_archived
            else EventType.DOCUMENT_TYPE_UPDATED,
            event_data={"changed": sorted(changes)},
        )
    return after


async def lock_document_type(uow: UnitOfWork, key: str) -> DocumentType:
    """Return a type, locked until the transaction ends."""
    if await uow.document_types.lock_row(key) is None:
        raise DocumentTypeNotFound
    return await get_document_type(uow, key)


async def delete_document_type(uow: UnitOfWork, key: str) -> None:
    """Delete a type for which no file was ever stored; raises `DocumentTypeInUse`."""
    document_type = await lock_document_type(uow, key)
    await uow.document_types.delete(document_type.id)
    await uow.audit(AuditAction.DOCUMENT_TYPE_DELETE, document_type=key)


async def reorder_document_types(uow: UnitOfWork, keys: list[str]) -> None:
    """Reorder the active types, each of which must be named exactly once (R-022)."""
    await uow.document_types.lock_order()
    if len(set(keys)) != len(keys) or set(keys) != await uow.document_types.active_keys():
        raise ValidationFailed("Must contain every active document type once.", pointer="/keys")
    await uow.document_types.reorder(keys)
    await uow.audit(AuditAction.DOCUMENT_TYPE_REORDER)


def _check_size(uow: UnitOfWork, max_size_bytes: int | None) -> None:
    ceiling = uow.context.settings.max_upload_bytes
    if max_size_bytes is not None and max_size_bytes > ceiling:
        raise ValidationFailed(f"Must be at most {ceiling} bytes.", pointer="/max_size_bytes")


def _apply(row: DocumentTypeRow, data: DocumentTypeUpdate) -> None:
    """Apply the members of a merge patch; null resets to the default of a new type."""
    submitted = data.model_fields_set
    if "name" in submitted:
        row.name, row.folded_name = data.name, fold(data.name)
    if "upload_mode" in submitted:
        row.upload_mode = data.upload_mode or UploadMode.OPTIONAL
    if "collects_fields" in submitted:
        row.collects_fields = bool(data.collects_fields)
    if "max_files" in submitted:
        row.max_files = data.max_files or 1
    if "password_protected" in submitted:
        row.password_protected = data.password_protected or PasswordPolicy.ACCEPT
    if data.position is not None:
        row.position = data.position
    for name in {"instructions", "accepted_media_types", "max_size_bytes"} & submitted:
        setattr(row, name, getattr(data, name))
    if "archived" in submitted and data.archived != (row.archived_at is not None):
        row.archived_at = datetime.now(UTC) if data.archived else None


def _submitted_fields(
    data: DocumentTypeCreate | DocumentTypeUpdate,
) -> list[DocumentTypeFieldInput] | None:
    """Return the submitted fields from either form, None if the request has neither."""
    if data.field_labels is not None:
        labels = parse_field_labels(data.field_labels)
        if len(labels) > MAX_FIELDS:
            raise ValidationFailed(f"Must be at most {MAX_FIELDS} labels.", pointer="/field_labels")
        for label in labels:
            _check_label(label)
        return [DocumentTypeFieldInput(label=label) for label in labels]
    if data.model_fields_set & {"fields", "field_labels"}:
        return data.fields or []
    return None


def _check_label(label: str) -> None:
    if len(label) > MAX_LABEL_LENGTH:
        detail = f"Each label must be at most {MAX_LABEL_LENGTH} characters."
        raise ValidationFailed(detail, pointer="/field_labels")
    if not is_line(label):
        raise ValidationFailed("Must not contain control characters.", pointer="/field_labels")


async def _write_fields(
    uow: UnitOfWork, row: DocumentTypeRow, wanted: list[DocumentTypeFieldInput]
) -> None:
    """Make the submitted fields the active ones.

    A field is matched by its key or, without one, by its label, so that it keeps its values. A
    field that is not submitted is retired (A-13).
    """
    _reject_duplicates(wanted)
    stored = await uow.document_types.field_rows(row.id)
    kept = _match_fields(row, stored, wanted)
    wanted_labels = {field.id: fold(item.label) for field, item in zip(kept, wanted, strict=True)}
    for field in stored:
        if field.retired_at is None and field.folded_label != wanted_labels.get(field.id):
            field.retired_at = datetime.now(UTC)
    # Retire first: labels are unique among active fields and may move from one to another.
    await uow.document_types.save(*stored)
    for position, (field, submitted) in enumerate(zip(kept, wanted, strict=True)):
        field.label, field.folded_label = submitted.label, fold(submitted.label)
        field.required, field.position, field.retired_at = submitted.required, position, None
    await uow.document_types.save(*kept)


def _match_fields(
    row: DocumentTypeRow, stored: list[DocumentTypeFieldRow], wanted: list[DocumentTypeFieldInput]
) -> list[DocumentTypeFieldRow]:
    by_key = {field.key: field for field in stored}
    named = {item.key for item in wanted if item.key}
    by_label: dict[str, DocumentTypeFieldRow] = {}
    # Active fields come last, so that they win over retired ones with the same label.
    for field in sorted(stored, key=lambda field: field.retired_at is None):
        if field.key not in named:
            by_label[field.folded_label] = field
    matched = []
    for item in wanted:
        found = by_key.get(item.key) if item.key else by_label.get(fold(item.label))
        if found is None:
            key = item.key or slug(item.label, by_key.keys() | named, prefix="field")
            found = DocumentTypeFieldRow(id=new_id(), document_type_id=row.id, key=key)
            by_key[key] = found
        matched.append(found)
    return matched


def _reject_duplicates(wanted: list[DocumentTypeFieldInput]) -> None:
    labels: set[str] = set()
    keys: set[str] = set()
    for index, item in enumerate(wanted):
        if fold(item.label) in labels:
            raise DuplicateLabel(pointer=f"/fields/{index}/label")
        if item.key in keys:
            raise ValidationFailed("Duplicate key.", pointer=f"/fields/{index}/key")
        labels.add(fold(item.label))
        if item.key:
            keys.add(item.key)


def _require_labels(document_type: DocumentType) -> None:
    """Raise if fields are to be collected but there are none (R-019)."""
    if document_type.collects_fields and not document_type.fields:
        raise FieldsRequired(pointer="/fields")


def _audited(document_type: DocumentType) -> dict[str, Any]:
    """Return what the audit trail records of a type, as JSON."""
    members = asdict(document_type)
    for name in ("id", "created_at", "updated_at"):
        del members[name]
    return members
