"""The blob store: its contract and its backends, and the spool for files being received."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from docvault.settings import Settings
from docvault.storage.base import BlobStore
from docvault.storage.filesystem import FilesystemBlobStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[BlobStore]:
    """Open the store that `DOCVAULT_STORAGE_URL` names."""
    url = urlsplit(settings.effective_storage_url)
    if url.scheme == "file":
        yield FilesystemBlobStore(Path(unquote(url.path)))
        return
    async with _open_s3(url, settings) as store:
        yield store


def _open_s3(url: SplitResult, settings: Settings) -> AbstractAsyncContextManager[BlobStore]:
    # boto is slow to import and not needed for the filesystem store.
    from docvault.storage.s3 import S3Location, open_s3_store  # noqa: PLC0415

    prefix = url.path.strip("/")
    location = S3Location(
        bucket=url.netloc,
        prefix=f"{prefix}/" if prefix else "",
        endpoint_url=settings.s3_endpoint_url,
        encryption=settings.s3_encryption,
        kms_key_id=settings.s3_kms_key_id,
        public_endpoint_url=settings.s3_public_endpoint_url,
        ca_file=settings.ca_file,
    )
    return open_s3_store(location, settings.spool_dir or settings.data_dir / "spool")
