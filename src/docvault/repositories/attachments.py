"""The statement that makes stored bytes the current version of a slot.

An upload waits for the database mostly in round trips. So everything is one statement, and it
does everything or nothing. It compares before it sets: the caller says what the slot was when it
decided, and when anything is different by now the statement changes nothing at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import IntegrityError
from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Boolean,
    DateTime,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from docvault.errors import DocumentTypeUnknown
from docvault.models import new_id
from docvault.prepared_statements import PreparedStatement
from docvault.repositories.audit_events import NewAuditEvent
from docvault.repositories.base import Repository
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.jobs import JobName
from docvault.rules.scans import ScanState
from docvault.rules.slots import Slot


def _typed(type_: TypeEngine[Any], *names: str) -> list[BindParameter[Any]]:
    return [bindparam(name, type_=type_) for name in names]


def _condensed(sql: str) -> str:
    """Return SQL without comments and indentation: psycopg keeps what it knows of a statement
    only up to 4,096 characters, and would take this one apart each time."""
    return " ".join(re.sub(r"--.*", "", sql).split())


# Each name is a step. A statement sees the rows as they were when it began: only what a step
# returns, never what it wrote, reaches the next.
_ATTACH = PreparedStatement(
    text(
        _condensed("""
    WITH
    -- Uploads of one customer wait for each other here, and erasure for all of them.
    customer AS (
        SELECT id FROM customers
        WHERE id = :customer_id AND erasure_id IS NULL
        FOR NO KEY UPDATE
    ),
    document_type AS (
        SELECT id FROM document_types
        WHERE id = :document_type_id AND updated_at = :type_updated_at
    ),
    -- Locked, so that the reaper cannot take them any more (D6).
    announced AS (
        SELECT id FROM blobs
        WHERE id = ANY(:blob_ids) AND customer_id = :customer_id
            AND state = 'pending' AND expires_at > now()
        FOR UPDATE
    ),
    claim AS (
        SELECT id FROM idempotency_keys
        WHERE id = :claim_id AND token = :claim_token
        FOR UPDATE
    ),
    document AS (
        INSERT INTO documents AS slot (
            id, customer_id, document_type_id, current_version_id, last_version, field_values
        )
        SELECT :document_id, customer.id, document_type.id, :version_id, :number, :field_values
        FROM customer, document_type
        WHERE (SELECT count(*) FROM announced) = cardinality(:blob_ids)
            AND (CAST(:claim_id AS bytea) IS NULL OR EXISTS (SELECT FROM claim))
            -- A slot that had versions has a row.
            AND (:number = 1 OR EXISTS (
                SELECT FROM documents AS existing
                WHERE existing.customer_id = customer.id
                    AND existing.document_type_id = document_type.id
            ))
        ON CONFLICT (customer_id, document_type_id) DO UPDATE
        SET current_version_id = excluded.current_version_id,
            last_version = excluded.last_version,
            field_values = excluded.field_values,
            updated_at = clock_timestamp()
        WHERE slot.last_version = excluded.last_version - 1
            AND slot.current_version_id IS NOT DISTINCT FROM :replaced_version_id
            AND slot.field_values = :replaced_values
        RETURNING id
    ),
    version AS (
        INSERT INTO document_versions (
            id, document_id, number, uploaded_at, uploaded_by_kind, uploaded_by_id, field_values
        )
        SELECT :version_id, document.id, :number, :uploaded_at,
            :uploaded_by_kind, :uploaded_by_id, :field_values
        FROM document
    ),
    files AS (
        INSERT INTO document_files (
            id, version_id, blob_id, number, filename, media_type, size_bytes, sha256,
            has_active_content, scan, scanned_with, preview_failed
        )
        SELECT file.id, :version_id, file.blob_id, file.number, file.filename, file.media_type,
            file.size_bytes, file.sha256, file.has_active_content, file.scan,
            file.scanned_with, false
        FROM document, json_to_recordset(:files) AS file (
            id uuid, blob_id uuid, number integer, filename text, media_type text,
            size_bytes bigint, sha256 text, has_active_content boolean, scan text,
            scanned_with text
        )
    ),
    stored AS (
        UPDATE blobs SET state = 'stored', expires_at = NULL
        FROM document WHERE blobs.id = ANY(:blob_ids)
    ),
    event AS (
        INSERT INTO audit_events (
            id, actor_kind, actor_id, action, customer_pseudonym, document_type, version,
            result, request_id
        )
        SELECT :event_id, :actor_kind, :actor_id, :action, :customer_pseudonym, :document_type,
            :number, :result, :request_id
        FROM document
    ),
    detail AS (
        INSERT INTO audit_details (event_id, customer_id, customer, changes)
        SELECT :event_id, :customer_id, :customer, :changes FROM document
    ),
    answer AS (
        UPDATE idempotency_keys
        SET fingerprint = :fingerprint, status = :status, headers = :headers, body = :body,
            customer_id = :customer_id
        FROM document WHERE idempotency_keys.id = :claim_id
    ),
    job AS (
        SELECT procrastinate_defer_jobs_v1(ARRAY[
            ROW('default', :job_name, 0, NULL, NULL, :job_arguments, NULL)
        ]::procrastinate_job_to_defer_v1[])
        FROM document WHERE :has_previews
    )
    -- A step that only reads is taken when somebody asks for it.
    SELECT (SELECT count(*) FROM document) = 1, (SELECT count(*) FROM job)
    """)
    ).bindparams(
        *_typed(Uuid(), "customer_id", "document_type_id", "document_id", "event_id", "request_id"),
        *_typed(Uuid(), "version_id", "replaced_version_id", "claim_token"),
        *_typed(ARRAY(Uuid()), "blob_ids"),
        *_typed(DateTime(timezone=True), "type_updated_at", "uploaded_at"),
        *_typed(Integer(), "number", "status"),
        *_typed(Boolean(), "has_previews"),
        *_typed(LargeBinary(), "claim_id", "fingerprint", "body"),
        *_typed(JSON(), "files"),
        *_typed(JSONB(none_as_null=True), "field_values", "replaced_values", "changes", "headers"),
        *_typed(JSONB(), "job_arguments"),
        *_typed(Text(), "uploaded_by_kind", "uploaded_by_id", "actor_kind", "actor_id", "action"),
        *_typed(Text(), "customer", "customer_pseudonym", "document_type", "result", "job_name"),
    )
)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach; its bytes are in a pending blob."""

    blob_id: UUID
    number: int
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    has_active_content: bool
    scan: ScanState
    scanned_with: str | None
    id: UUID = field(default_factory=new_id)


# Not `asdict`, which copies every value.
_FILE_FIELDS = tuple(one.name for one in fields(NewFile))


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A submission to attach, and what its slot was when that was decided."""

    id: UUID
    slot: Slot
    customer_id: UUID
    uploaded_at: datetime
    uploaded_by_kind: str
    uploaded_by_id: str
    field_values: dict[str, str]
    files: Sequence[NewFile]

    @property
    def number(self) -> int:
        """The number of the new version."""
        return self.slot.last_version + 1


class AttachmentRepository(Repository):
    """Attaches stored bytes to slots."""

    async def attach(
        self,
        version: NewVersion,
        event: NewAuditEvent,
        *,
        completion: Completion | None,
        has_previews: bool,
    ) -> bool:
        """Make a version the current one; False when its slot is not what it was.

        Also False, with nothing changed, when the customer is gone or being erased, when the
        type was changed, when a blob has expired or when the claim of the idempotency key was
        lost. Raises `DocumentTypeUnknown` when the type goes at this moment.
        """
        slot = version.slot
        parameters: dict[str, Any] = {
            "customer_id": self._reachable_id(version.customer_id),
            "document_type_id": slot.type.id,
            "type_updated_at": slot.type.updated_at,
            "document_id": new_id(),
            "version_id": version.id,
            "number": version.number,
            "uploaded_at": version.uploaded_at,
            "uploaded_by_kind": version.uploaded_by_kind,
            "uploaded_by_id": version.uploaded_by_id,
            "field_values": version.field_values,
            "replaced_version_id": slot.version.id if slot.version else None,
            "replaced_values": dict(slot.field_values),
            "blob_ids": [file.blob_id for file in version.files],
            "files": [_file_record(file) for file in version.files],
            "event_id": new_id(),
            "actor_kind": event.actor_kind,
            "actor_id": event.actor_id,
            "action": event.action,
            "customer_pseudonym": event.customer_pseudonym,
            "customer": event.customer,
            "document_type": event.document_type,
            "result": event.result,
            "request_id": event.request_id,
            "changes": event.changes,
            "has_previews": has_previews,
            "job_name": JobName.RENDER_PREVIEWS,
            "job_arguments": {"version_id": str(version.id)},
            **_completion_parameters(completion),
        }
        try:
            rows = await self._rows(_ATTACH, parameters)
        except IntegrityError as error:
            raise DocumentTypeUnknown from error
        return bool(rows[0][0])


def _file_record(file: NewFile) -> dict[str, Any]:
    record = {name: getattr(file, name) for name in _FILE_FIELDS}
    return record | {"id": str(file.id), "blob_id": str(file.blob_id)}


def _completion_parameters(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        names = ("claim_id", "claim_token", "fingerprint", "status", "headers", "body")
        return dict.fromkeys(names)
    answer = completion.answer
    return {
        "claim_id": completion.key_id,
        "claim_token": completion.token,
        "fingerprint": answer.fingerprint,
        "status": answer.status,
        "headers": answer.headers,
        "body": answer.body,
    }
