"""What the first statement of an upload does besides looking up its document."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docvault.domain.actors import CustomerActor
from docvault.domain.quotas import StorageUsage
from docvault.domain.rate_limits import Counted


@dataclass(frozen=True, slots=True)
class Uploader:
    """What is known of the caller of an upload before the look-up."""

    kind: str
    id: str
    writes_admin_only: bool
    # Of customers only, who upload through the portal.
    token_issued_at: datetime | None = None

    @property
    def is_customer(self) -> bool:
        """Whether uploads are counted, and the portal has to be on."""
        return self.kind == CustomerActor.kind


@dataclass(frozen=True, slots=True)
class UploadOpening:
    """What to count and to reserve if the caller may upload."""

    uploader: Uploader
    # The file is smaller than the body, and than the limits of the type.
    declared_bytes: int
    default_file_bytes: int
    max_file_bytes: int
    # None if nothing is counted.
    counter_id: bytes | None
    max_uploads: int
    # None if nothing is reserved.
    quota: StorageUsage | None


@dataclass(slots=True)
class ReservedBlob:
    """A blob that was reserved for the first file of an upload before its body is read.

    Its size is the most that the file can have; attaching it corrects that.
    """

    id: UUID
    key: str
    size_bytes: int
    # Whether it was released, or its bytes may exist, so that only a job may delete it.
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class OpenedUpload:
    """What was counted and reserved, if anything."""

    counted: Counted | None
    blob: ReservedBlob | None
