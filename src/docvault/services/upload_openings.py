"""Opening an upload: its look-up, count and reservation in one statement (decision 43)."""

from contextlib import suppress

from docvault.context import RequestContext
from docvault.domain.actors import Staff
from docvault.domain.quotas import StorageUsage
from docvault.domain.rate_limits import Limit
from docvault.domain.upload_openings import OpenedUpload, ReservedBlob, Uploader, UploadOpening
from docvault.errors import DatabaseUnavailable
from docvault.services import quotas
from docvault.services.resources import Resources

# The part of a quota that is reserved only once the size of a file is known.
MARGIN = 8


def plan_opening(resources: Resources, uploader: Uploader, declared_bytes: int) -> UploadOpening:
    """Return what to count and to reserve for an upload whose body has at most this size."""
    settings, limits = resources.settings, resources.rate_limits
    counter_id, max_uploads = None, 0
    if uploader.is_customer:
        max_uploads, counter_id = limits.shared_counter(Limit.CUSTOMER_UPLOADS, uploader.id)
    quota = None
    if limits.may_reserve_early(uploader.kind, uploader.id):
        quota = _without_margin(quotas.quota_of(settings, is_staff=uploader.kind == Staff.kind))
    return UploadOpening(
        uploader=uploader,
        declared_bytes=declared_bytes,
        default_file_bytes=settings.default_max_file_bytes,
        max_file_bytes=settings.max_upload_bytes,
        counter_id=counter_id,
        max_uploads=max_uploads,
        quota=quota,
    )


async def close_opening(
    resources: Resources, context: RequestContext, upload: OpenedUpload
) -> None:
    """Give back what an upload did not use, and do not reserve early for its caller for a while."""
    if upload.blob is not None and not upload.blob.is_settled:
        resources.rate_limits.note_unused_reservation(context.actor.kind, context.actor.id)
        await release_unused(resources, upload.blob)


async def release_unused(resources: Resources, blob: ReservedBlob | None) -> None:
    """Give back what an upload did not use; if this fails, the reservation expires."""
    if blob is None or blob.is_settled:
        return
    blob.is_settled = True
    with suppress(DatabaseUnavailable):
        async with resources.autocommit(resources.system_context()) as uow:
            await uow.blobs.release(blob.id)


def _without_margin(quota: StorageUsage) -> StorageUsage | None:
    """Return the quota for sizes that are estimates; None if it is too small for any."""
    if 1 in (quota.files, quota.size_bytes):
        # Zero would mean unlimited.
        return None
    return StorageUsage(_reduced(quota.files), _reduced(quota.size_bytes), quota.value_bytes)


def _reduced(limit: int) -> int:
    return limit and limit - max(1, limit // MARGIN)
