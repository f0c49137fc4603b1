"""Local copies of stored bytes, for work that needs a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docvault.domain.documents import StoredFile
from docvault.services.blobs import corrupt_blob, open_blob
from docvault.services.resources import Resources
from docvault.storage.spool import SpoolFile


@asynccontextmanager
async def downloaded_copy(resources: Resources, file: StoredFile) -> AsyncIterator[SpoolFile]:
    """Provide a verified copy of a stored file in the spool; it is removed afterwards.

    Raises what `open_blob` raises, and `StorageUnavailable` if the bytes are corrupt.
    """
    spooled = resources.spool.create()
    try:
        reader = await open_blob(resources, file.blob_key)
        try:
            async for chunk in reader.chunks(0, file.size_bytes):
                await spooled.write(chunk)
        finally:
            await reader.close()
        await spooled.finish()
        if spooled.sha256 != file.sha256:
            raise corrupt_blob(file.blob_key, "blob is corrupt")
        yield spooled
    finally:
        spooled.discard()
