"""A customer with documents, as most requests look them up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from docvault.domain.customers import Customer
from docvault.domain.documents import Document
from docvault.domain.portal import PortalSwitches
from docvault.domain.upload_openings import OpenedUpload, UploadOpening


@dataclass(frozen=True, slots=True)
class CustomerDocuments:
    """A customer, the portal switches, and the selected documents."""

    customer: Customer
    switches: PortalSwitches
    documents: Sequence[Document] = ()
    upload: OpenedUpload | None = None
    # Whether the download was recorded.
    is_audited: bool = False


@dataclass(frozen=True, slots=True)
class PlainDownload:
    """A customer's request for the whole first file, with what its audit event needs."""

    customer_pseudonym: str
    request_id: UUID
    token_issued_at: datetime
    # A longer file counts as one of the concurrent downloads, which may be too many.
    max_bytes: int


@dataclass(frozen=True, slots=True)
class DocumentSelection:
    """Which documents to load: none, the one of `key`, or all.

    Archived types are included only `with_archived`, and only if they hold a file (R-060). With
    `upload` the same statement opens an upload to the one document.
    """

    which: Literal["none", "one", "all"] = "none"
    key: str | None = None
    with_archived: bool = False
    upload: UploadOpening | None = None
    # Recorded in the same statement if it is certain that the file is sent.
    download: PlainDownload | None = None
