"""Every byte: the blob store contract and its backends."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from docvault.settings import Settings
from docvault.storage.base import BlobStore
from docvault.storage.filesystem import FilesystemBlobStore


def open_store(settings: Settings) -> BlobStore:
    """Return the store that `DOCVAULT_STORAGE_URL` names."""
    url = urlsplit(settings.effective_storage_url)
    if url.scheme == "file" and not url.netloc:
        return FilesystemBlobStore(Path(unquote(url.path)))
    raise ValueError(f"DOCVAULT_STORAGE_URL: cannot use {url.scheme}://")
