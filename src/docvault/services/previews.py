"""Previews: rendered in a limited child, kept as blobs (R-053, D21, D22)."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from docvault import metrics
from docvault.auth.principals import Access
from docvault.errors import (
    CustomerBeingErased,
    CustomerUnknown,
    DatabaseUnavailable,
    DocvaultError,
    NoPreview,
    NotFound,
    StorageUnavailable,
    Unavailable,
)
from docvault.previews.renderer import (
    PreviewFailed,
    PreviewUnavailable,
    RenderedPreview,
)
from docvault.repositories.jobs import JobName
from docvault.rules.customers import CustomerFacts
from docvault.rules.previews import PreviewSize, can_preview
from docvault.rules.slots import FileFacts, VersionFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import LocalBytes, abandon_blobs, store_bytes
from docvault.services.customers import lock_customer
from docvault.services.documents import find_file, get_slot
from docvault.services.local_files import fetched_file
from docvault.services.resources import Resources
from docvault.services.work import Asker

# How long a request waits for a rendering, queueing included.
WAIT_SECONDS = 15
_RESULTS = [(PreviewFailed, "failed"), (PreviewUnavailable, "unavailable")]


@dataclass(frozen=True, slots=True)
class StoredPreview:
    """A rendered preview in the blob store."""

    blob_key: str
    media_type: str
    sha256: str
    size_bytes: int


async def read_preview(
    resources: Resources,
    asker: Asker,
    customer: CustomerFacts,
    key: str,
    *,
    file: int,
    size: PreviewSize,
) -> tuple[FileFacts, StoredPreview]:
    """Return a preview of the current version, rendered now when there is none yet.

    Raises `NoFile`, `NoPreview`, and `Unavailable` when rendering takes too long.
    """
    async with resources.unit(asker.access) as unit:
        work = asker.work(unit)
        slot = await get_slot(work, customer, key)
        version, facts = await find_file(work, customer, slot, version=None, file=file)
        if not can_preview(facts):
            raise NoPreview
        await work.record(
            AuditAction.DOCUMENT_PREVIEW,
            customer=customer,
            document_type=key,
            version=version.number,
        )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return facts, await ensure_preview(resources, customer.id, facts, size)
    except CustomerBeingErased:
        # To a reader the customer is gone already.
        raise CustomerUnknown from None
    except TimeoutError:
        raise Unavailable("The preview is not ready yet.", retry_after_seconds=5) from None


async def render_version(resources: Resources, version_id: UUID) -> None:
    """Render the medium preview of each file of a new version; the worker's part."""
    async with resources.unit(Access.everyone()) as unit:
        found = await unit.documents.version(version_id)
    if found is None:
        return
    customer_id, version = found
    for file in _previewable(version):
        try:
            await ensure_preview(resources, customer_id, file, PreviewSize.medium)
        except (NotFound, CustomerBeingErased):
            # It cannot be rendered, or nobody may see it any more.
            continue


async def ensure_preview(
    resources: Resources, customer_id: UUID, file: FileFacts, size: PreviewSize
) -> StoredPreview:
    """Return the preview from the store, rendering it first when it is not there."""
    stored = await _find(resources, file, size)
    if stored is not None:
        return stored
    # Each takes up to some seconds: one customer's many must not hold up those of all others.
    async with resources.preview_turns.turn(customer_id):
        rendered = await _render(resources, file, size)
    await _store(resources, customer_id, file, size, rendered)
    stored = await _find(resources, file, size)
    if stored is None:
        raise NoPreview("The file has been replaced or deleted.")
    return stored


def _previewable(version: VersionFacts) -> list[FileFacts]:
    return [file for file in version.files if can_preview(file)]


async def _find(resources: Resources, file: FileFacts, size: PreviewSize) -> StoredPreview | None:
    async with resources.unit(Access.everyone()) as unit:
        row = await unit.previews.find(file.id, size)
    return None if row is None else StoredPreview(*row)


async def _render(resources: Resources, file: FileFacts, size: PreviewSize) -> RenderedPreview:
    async with fetched_file(resources, file) as local:
        try:
            with metrics.measured(metrics.PREVIEW_SECONDS, results=_RESULTS):
                return await resources.renderer.render(local.path, file.media_type, size)
        except PreviewFailed as error:
            async with resources.unit(Access.everyone()) as unit:
                await unit.previews.mark_failed(file.id)
            raise NoPreview from error
        except PreviewUnavailable as error:
            raise Unavailable("Previews cannot be rendered now.") from error


async def _store(
    resources: Resources,
    customer_id: UUID,
    file: FileFacts,
    size: PreviewSize,
    rendered: RenderedPreview,
) -> None:
    spooled = resources.spool.create()
    try:
        await spooled.write(rendered.body)
        await spooled.finish()
        local = LocalBytes(spooled.path, spooled.size_bytes, spooled.sha256)
        blob_ids = await store_bytes(resources, customer_id, [local], kind="preview")
    finally:
        spooled.discard()
    try:
        async with resources.unit(Access.everyone()) as unit:
            await lock_customer(unit, customer_id)
            if not await unit.blobs.mark_stored(blob_ids):
                raise StorageUnavailable("Storing the preview took too long.")
            added = await unit.previews.add(file.id, size, blob_ids[0], rendered.media_type)
            if not added:
                # Another request was faster, or the file is gone.
                await unit.blobs.queue_deletion(blob_ids)
                await unit.jobs.defer(JobName.DELETE_BLOBS)
    except DatabaseUnavailable:
        raise
    except DocvaultError:
        await abandon_blobs(resources, blob_ids)
        raise
