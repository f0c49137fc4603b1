"""Stored bytes brought back into the spool, for work that needs a file."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docvault import metrics
from docvault.errors import StorageUnavailable
from docvault.rules.slots import FileFacts
from docvault.services.blobs import open_attached
from docvault.services.resources import Resources
from docvault.storage.spool import SpoolFile

log = logging.getLogger(__name__)


@asynccontextmanager
async def fetched_file(resources: Resources, file: FileFacts) -> AsyncIterator[SpoolFile]:
    """Give a verified copy of a stored file in the spool; it is removed afterwards.

    Raises as `open_attached` does, and `StorageUnavailable` when the bytes are not those that
    were stored.
    """
    spooled = resources.spool.create()
    try:
        reader = await open_attached(resources, file.blob_key)
        try:
            async for chunk in reader.chunks(0, file.size_bytes):
                await spooled.write(chunk)
        finally:
            await reader.close()
        await spooled.finish()
        if spooled.sha256 != file.sha256:
            metrics.BLOBS_DAMAGED.inc()
            log.error("blob is damaged", extra={"blob_key": file.blob_key})
            raise StorageUnavailable
        yield spooled
    finally:
        spooled.discard()
