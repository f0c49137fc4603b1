"""Attaching stored bytes to documents.

Most of the database time of an upload is round trips, so everything is one statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import IntegrityError
from psycopg.types.json import Json, Jsonb

from docvault.db.prepared_statements import Lane, NoRow, jsonb
from docvault.db.tables import new_id
from docvault.domain.audit import NewAuditEvent
from docvault.domain.documents import Document, StoredFile
from docvault.domain.scans import ScanState
from docvault.errors import DocumentTypeNotFound
from docvault.repositories.base import Repository
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.sql import load_statement


@dataclass(slots=True)
class _Attached:
    is_attached: bool


_ATTACH = load_statement("attach_version", _Attached).in_lane(Lane.WRITES)
_KEEP_FILES = load_statement("keep_files", NoRow)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach, with its pending blob."""

    blob_id: UUID
    number: int
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    has_active_content: bool
    has_attachments: bool | None
    needs_password: bool | None
    pages: int | None
    scan: ScanState
    scanned_with: str | None
    id: UUID = field(default_factory=new_id)


# Not `asdict`, which copies every value.
_FILE_FIELDS = tuple(one.name for one in fields(NewFile))


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the replaced version that is also in the new one; they share their bytes."""

    file: StoredFile
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """An upload to attach, and the document as it was when that was decided."""

    id: UUID
    document: Document
    customer_id: UUID
    uploaded_at: datetime
    uploaded_by_kind: str
    uploaded_by_id: str
    field_values: dict[str, str]
    files: Sequence[NewFile]
    # Its first files, which `keep_files` adds in the transaction of `attach`.
    kept: Sequence[KeptFile] = ()

    @property
    def number(self) -> int:
        """The number of the new version."""
        return self.document.last_version + 1


class AttachmentRepository(Repository):
    """Attaches stored bytes to documents."""

    async def attach(
        self,
        version: NewVersion,
        event: NewAuditEvent,
        *,
        completion: Completion | None,
        has_previews: bool,
    ) -> bool:
        """Make a version the current one; False if the document has changed.

        Also False, with nothing changed, if the customer is erased or being erased, the type has
        changed, a blob has expired or the claim of the idempotency key was lost. Raises
        `DocumentTypeNotFound` if the type is being deleted.
        """
        document = version.document
        parameters: dict[str, Any] = {
            "customer_id": self._reachable_id(version.customer_id),
            "document_type_id": document.type.id,
            "type_updated_at": document.type.updated_at,
            "document_id": new_id(),
            "version_id": version.id,
            "number": version.number,
            "uploaded_at": version.uploaded_at,
            "uploaded_by_kind": version.uploaded_by_kind,
            "uploaded_by_id": version.uploaded_by_id,
            "field_values": Jsonb(version.field_values),
            "replaced_version_id": document.version.id if document.version else None,
            "replaced_values": Jsonb(dict(document.field_values)),
            "blob_ids": [file.blob_id for file in version.files],
            "files": Json([_file_record(file) for file in version.files]),
            "event_id": new_id(),
            "actor_kind": event.actor_kind,
            "actor_id": event.actor_id,
            "action": event.action,
            "customer_pseudonym": event.customer_pseudonym,
            "customer": event.customer,
            "document_type": event.document_type,
            "result": event.result,
            "request_id": event.request_id,
            "changes": jsonb(event.changes),
            "event_files": jsonb(event.files),
            "event_type": event.event_type,
            "event_data": jsonb(event.event_data),
            "has_previews": has_previews,
            **_completion_parameters(completion),
        }
        try:
            rows = await self._rows(_ATTACH, parameters)
        except IntegrityError as error:
            raise DocumentTypeNotFound from error
        return rows[0].is_attached

    async def keep_files(self, version: NewVersion) -> None:
        """Add the files that the new version keeps; the document is locked."""
        await self._rows(
            _KEEP_FILES,
            {
                "customer_id": self._reachable_id(version.customer_id),
                "version_id": version.id,
                "ids": [kept.file.id for kept in version.kept],
                "new_ids": [kept.id for kept in version.kept],
            },
        )


def _file_record(file: NewFile) -> dict[str, Any]:
    record = {name: getattr(file, name) for name in _FILE_FIELDS}
    return record | {"id": str(file.id), "blob_id": str(file.blob_id)}


def _completion_parameters(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        names = ("claim_id", "claim_token", "fingerprint", "status", "headers", "body")
        return dict.fromkeys(names)
    response = completion.response
    return {
        "claim_id": completion.key_id,
        "claim_token": completion.token,
        "fingerprint": response.fingerprint,
        "status": response.status,
        "headers": jsonb(response.headers),
        "body": response.body,
    }
