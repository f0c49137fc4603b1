"""Previews: rendered in a sandboxed child process, stored as blobs (R-053, D21, D22)."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.audit import AuditAction
from docvault.domain.customers import Customer
from docvault.domain.documents import DocumentVersion, StoredFile
from docvault.domain.previews import PreviewSize, StoredPreview, can_preview, may_have_page
from docvault.errors import (
    CustomerBeingErased,
    CustomerNotFound,
    DatabaseUnavailable,
    DocvaultError,
    NoPreview,
    NotFound,
    PageNotFound,
    ServiceUnavailable,
    StorageUnavailable,
)
from docvault.observability import metrics
from docvault.previews.renderer import (
    NoSuchPage,
    PreviewFailed,
    PreviewUnavailable,
    RenderedPreview,
)
from docvault.repositories.jobs import JobName
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import LocalFile, abandon_blobs, store_bytes
from docvault.services.customers import lock_customer
from docvault.services.documents import find_file, get_document
from docvault.services.local_files import downloaded_copy
from docvault.services.resources import Resources

# How long a request waits for a rendering, including the queue.
WAIT_SECONDS = 15
# A customer whose rendering is abandoned after this long moves to the background queue, as after
# a time limit.
LONG_SECONDS = 5
# Of one file and of pages after the first, in all sizes: previews need no quota.
KEPT_PAGE_PREVIEWS = 60
# For requests that have just looked one up.
_REMOVED_AFTER = timedelta(minutes=1)
_RESULTS = [
    (PreviewFailed, "failed"),
    (NoSuchPage, "failed"),
    (PreviewUnavailable, "unavailable"),
]


async def read_preview(
    resources: Resources,
    context: RequestContext,
    customer: Customer,
    key: str,
    *,
    file: int,
    page: int,
    size: PreviewSize,
) -> tuple[StoredFile, StoredPreview]:
    """Return a preview of the current version, rendered on first demand.

    Raises `FileNotFound`, `NoPreview`, `PageNotFound`, and `ServiceUnavailable` if rendering takes
    too long.
    """
    async with resources.transaction(context) as uow:
        document = await get_document(uow, customer, key)
        version, stored = await find_file(uow, customer, document, version=None, file=file)
        if not can_preview(stored):
            raise NoPreview
        if not may_have_page(stored, page):
            raise PageNotFound
        await uow.audit(
            AuditAction.DOCUMENT_PREVIEW,
            customer=customer,
            document_type=key,
            version=version.number,
            files=[stored],
        )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return stored, await ensure_preview(resources, customer.id, stored, size, page)
    except CustomerBeingErased:
        # To readers the customer no longer exists.
        raise CustomerNotFound from None
    except TimeoutError:
        raise ServiceUnavailable(
            "The preview is not ready yet. Retry the request.", retry_after_seconds=5
        ) from None


async def render_next_due(resources: Resources) -> bool:
    """Render the previews of a version ahead of demand; False if none is due.

    A version is due from its upload until this has ended without an exception. An exception, or
    the death of the process, leaves it to be tried again when its lease ends.
    """
    async with resources.autocommit(resources.system_context()) as uow:
        version_id = await uow.previews.claim_due()
    if version_id is None:
        return False
    try:
        with metrics.observe_duration(metrics.JOB_SECONDS, JobName.RENDER_PREVIEWS):
            await render_version(resources, version_id)
    except asyncio.CancelledError:
        # The worker stops: the next one need not wait for the end of the lease.
        with suppress(DatabaseUnavailable):
            async with resources.transaction(resources.system_context()) as uow:
                await uow.previews.mark_due(version_id)
        raise
    except Exception:
        metrics.JOB_RETRIES.labels(JobName.RENDER_PREVIEWS).inc()
        raise
    async with resources.transaction(resources.system_context()) as uow:
        await uow.previews.finish(version_id)
    return True


async def render_version(resources: Resources, version_id: UUID) -> None:
    """Render the medium preview of each file of a new version, in the worker.

    Nothing is rendered ahead for a customer whose files recently hit the time limit: their
    previews are rendered on demand.
    """
    async with resources.transaction(resources.system_context()) as uow:
        found = await uow.documents.version(version_id)
    if found is None:
        return
    customer_id, version = found
    for file in _previewable(version):
        if resources.preview_queue.is_demoted(customer_id):
            return
        try:
            await ensure_preview(resources, customer_id, file, PreviewSize.medium, ahead=True)
        except (NotFound, CustomerBeingErased):
            # It cannot be rendered, or may no longer be read.
            continue


async def ensure_preview(
    resources: Resources,
    customer_id: UUID,
    file: StoredFile,
    size: PreviewSize,
    page: int = 1,
    *,
    ahead: bool = False,
) -> StoredPreview:
    """Return the stored preview of a page, rendering it first if there is none.

    Raises `NoPreview` if the page cannot be rendered or the file no longer exists, and
    `PageNotFound`.
    """
    stored = await _find(resources, file, page, size)
    if stored is not None:
        return stored
    async with resources.preview_queue.turn(customer_id, ahead=ahead):
        # Another request may have rendered it while this one waited.
        stored = await _find(resources, file, page, size)
        if stored is not None:
            return stored
        await _require_renderable(resources, file, page)
        rendered = await _render(resources, customer_id, file, page, size)
    await _store(resources, customer_id, file, page, size, rendered)
    stored = await _find(resources, file, page, size)
    if stored is None:
        raise NoPreview("The file was replaced or deleted during the request.")
    return stored


def _previewable(version: DocumentVersion) -> list[StoredFile]:
    return [file for file in version.files if can_preview(file)]


async def _find(
    resources: Resources, file: StoredFile, page: int, size: PreviewSize
) -> StoredPreview | None:
    async with resources.transaction(resources.system_context()) as uow:
        return await uow.previews.find(file.id, page, size)


async def _require_renderable(resources: Resources, file: StoredFile, page: int) -> None:
    async with resources.transaction(resources.system_context()) as uow:
        if not await uow.previews.is_renderable(file.id, page):
            raise NoPreview


async def _render(
    resources: Resources, customer_id: UUID, file: StoredFile, page: int, size: PreviewSize
) -> RenderedPreview:
    began = time.monotonic()
    async with downloaded_copy(resources, file) as local:
        try:
            with metrics.observe_duration(metrics.PREVIEW_SECONDS, results=_RESULTS):
                return await resources.renderer.render(local.path, file.media_type, size, page)
        except NoSuchPage as error:
            raise PageNotFound from error
        except PreviewFailed as error:
            if error.is_time_limit:
                resources.preview_queue.demote(customer_id)
            async with resources.transaction(resources.system_context()) as uow:
                await uow.previews.mark_failed(file.id, page)
            raise NoPreview from error
        except PreviewUnavailable as error:
            raise ServiceUnavailable("Preview rendering is unavailable.") from error
        except asyncio.CancelledError:
            # The request gave up. Otherwise an owner could block a place over and over without
            # ever reaching the time limit.
            if time.monotonic() - began >= LONG_SECONDS:
                resources.preview_queue.demote(customer_id)
            raise


async def _store(
    resources: Resources,
    customer_id: UUID,
    file: StoredFile,
    page: int,
    size: PreviewSize,
    rendered: RenderedPreview,
) -> None:
    spooled = resources.spool.create()
    try:
        await spooled.write(rendered.body)
        await spooled.finish()
        local = LocalFile(spooled.path, spooled.size_bytes, spooled.sha256)
        blob_ids = await store_bytes(
            resources, resources.system_context(), customer_id, [local], kind="preview"
        )
    finally:
        spooled.discard()
    try:
        async with resources.transaction(resources.system_context()) as uow:
            await lock_customer(uow, customer_id)
            if not await uow.blobs.mark_stored(blob_ids):
                raise StorageUnavailable("Storing the preview took too long.")
            added = await uow.previews.add(
                file.id, page, size, blob_id=blob_ids[0], media_type=rendered.media_type
            )
            if not added:
                # Another request was faster, or the file no longer exists.
                await uow.blobs.queue_deletion(blob_ids)
                await uow.jobs.defer(JobName.DELETE_BLOBS)
                return
            await _record_pages(uow, file, page, rendered.pages)
    except DatabaseUnavailable:
        raise
    except DocvaultError:
        await abandon_blobs(resources, blob_ids)
        raise


async def _record_pages(uow: UnitOfWork, file: StoredFile, page: int, pages: int | None) -> None:
    """Record what rendering has shown, and remove previews of pages beyond those that are kept."""
    if file.pages is None and pages is not None:
        await uow.previews.set_pages(file.id, pages)
    if page > 1:
        removed = await uow.previews.remove_oldest(file.id, keep=KEPT_PAGE_PREVIEWS)
        if removed:
            wait = max(_REMOVED_AFTER, uow.context.settings.deleted_blob_retention)
            await uow.blobs.queue_deletion(removed, wait=wait)
