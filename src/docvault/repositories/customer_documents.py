"""Customers together with the documents that a request is about, in one round trip."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from docvault.db.prepared_statements import Lane
from docvault.db.tables import new_id
from docvault.domain.audit import AuditAction
from docvault.domain.customer_documents import (
    CustomerDocuments,
    DocumentSelection,
    PlainDownload,
)
from docvault.domain.documents import Document
from docvault.domain.portal import PortalSwitches
from docvault.domain.quotas import NO_QUOTA, WAITING_FACTOR
from docvault.domain.rate_limits import Counted
from docvault.domain.upload_openings import OpenedUpload, ReservedBlob, UploadOpening
from docvault.repositories.base import Repository
from docvault.repositories.blobs import RESERVATION_LIFETIME, blob_key, new_blob_name
from docvault.repositories.customers import to_customer
from docvault.repositories.documents import to_document
from docvault.repositories.rate_limits import WINDOW
from docvault.repositories.records import (
    AuditedDownloadRecord,
    CustomerDocumentRecord,
    OpenedUploadRecord,
    PortalCustomerRecord,
)
from docvault.repositories.sql import load_statement, read_sql

_FIND_CUSTOMER = load_statement("find_customer", PortalCustomerRecord).in_lane(Lane.READS)
# Separate statements: the planner cannot estimate a condition that a parameter switches off.
_VISIBLE = {False: "document_types.archived_at IS NULL", True: "true"}
_FIND_WITH_DOCUMENTS = {
    (which, with_archived): load_statement(
        f"find_customer_document{ending}", CustomerDocumentRecord, is_visible=is_visible
    ).in_lane(Lane.READS)
    for which, ending in (("one", ""), ("all", "s"))
    for with_archived, is_visible in _VISIBLE.items()
}
# In two statements a download takes a quarter more CPU; see decision 0045.
_FIND_AND_AUDIT = load_statement(
    "find_and_audit_download",
    AuditedDownloadRecord,
    found=read_sql("find_customer_document", is_visible=_VISIBLE[False]),
).in_lane(Lane.WRITES)


_OPEN_UPLOAD = {
    with_archived: load_statement(
        "open_upload",
        OpenedUploadRecord,
        found=read_sql("find_customer_document", is_visible=is_visible),
    ).in_lane(Lane.WRITES)
    for with_archived, is_visible in _VISIBLE.items()
}


class CustomerDocumentsRepository(Repository):
    """Customers with the portal switches and a selection of documents: the first read of most
    requests."""

    async def find(self, external_id: str, choice: DocumentSelection) -> CustomerDocuments | None:
        """Return a customer, even one being erased; documents in the order of their types.

        Records the selected download if it is certain that the file will be sent.
        """
        parameters = {"external_id": external_id, "reachable_id": self._access.customer_id}
        if choice.which == "none":
            customers = await self._rows(_FIND_CUSTOMER, parameters)
            return _to_customer_documents(customers[0], []) if customers else None
        if choice.upload is not None:
            return await self._open_upload({**parameters, "key": choice.key}, choice, choice.upload)
        if choice.download is not None:
            return await self._find_and_audit({**parameters, "key": choice.key}, choice.download)
        rows = await self._rows(
            _FIND_WITH_DOCUMENTS[choice.which, choice.with_archived],
            {**parameters, "key": choice.key},
        )
        return _to_customer_documents(rows[0], _visible_documents(rows)) if rows else None

    async def _open_upload(
        self, parameters: dict[str, Any], choice: DocumentSelection, opening: UploadOpening
    ) -> CustomerDocuments | None:
        blob_id, blob_name = new_id(), new_blob_name()
        uploader, quota = opening.uploader, opening.quota or NO_QUOTA
        rows = await self._rows(
            _OPEN_UPLOAD[choice.with_archived],
            {
                **parameters,
                "declared_bytes": opening.declared_bytes,
                "default_file_bytes": opening.default_file_bytes,
                "max_file_bytes": opening.max_file_bytes,
                "writes_admin_only": uploader.writes_admin_only,
                "through_portal": uploader.is_customer,
                "token_issued_at": uploader.token_issued_at,
                "counter_id": opening.counter_id,
                "max_uploads": opening.max_uploads,
                "window": WINDOW,
                "blob_id": None if opening.quota is None else blob_id,
                "blob_name": blob_name,
                "lifetime": RESERVATION_LIFETIME,
                "max_files": quota.files,
                "max_bytes": quota.size_bytes,
                "max_value_bytes": quota.value_bytes,
                "waiting_factor": WAITING_FACTOR,
            },
        )
        if not rows:
            return None
        found, counted, blob = rows[0], None, None
        if found.upload_number is not None and found.upload_seconds_left is not None:
            counted = Counted(found.upload_number, found.upload_seconds_left)
        if found.reserved_bytes is not None:
            key = blob_key(found.customer_id, blob_name)
            blob = ReservedBlob(blob_id, key, found.reserved_bytes)
        upload = OpenedUpload(counted, blob)
        return _to_customer_documents(found, _visible_documents(rows), upload)

    async def _find_and_audit(
        self, parameters: dict[str, object], download: PlainDownload
    ) -> CustomerDocuments | None:
        rows = await self._rows(
            _FIND_AND_AUDIT,
            {
                **parameters,
                "event_id": new_id(),
                "action": AuditAction.DOCUMENT_DOWNLOAD,
                "pseudonym": download.customer_pseudonym,
                "request_id": download.request_id,
                "token_issued_at": download.token_issued_at,
                "max_bytes": download.max_bytes,
            },
        )
        if not rows:
            return None
        found = _to_customer_documents(rows[0], _visible_documents(rows))
        return replace(found, is_audited=rows[0].is_audited)


def _to_customer_documents(
    record: PortalCustomerRecord,
    documents: Sequence[Document],
    upload: OpenedUpload | None = None,
) -> CustomerDocuments:
    switches = PortalSwitches(
        record.section_enabled, record.gate_enabled, record.customer_may_delete
    )
    return CustomerDocuments(to_customer(record), switches, documents, upload)


def _visible_documents(records: Sequence[CustomerDocumentRecord]) -> list[Document]:
    return [
        to_document(record)
        for record in records
        if record.has_type and (record.is_uploaded or not record.archived)
    ]
