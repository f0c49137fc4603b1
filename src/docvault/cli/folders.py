"""The folders of the settings, checked before anything starts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docvault.settings import Settings, SettingsError, variable_of


def require_folders(settings: Settings) -> None:
    """Create the folders; raises `SettingsError` with the setting of one that cannot be written."""
    for name, folder in _folders(settings):
        try:
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "the path is invalid"
            raise SettingsError(
                f"invalid settings: {variable_of(name)} must be a folder in which docvault may"
                f" write: {cause}"
            ) from None
    store = _store_folder(settings)
    # A file is stored by a hard link.
    if settings.spool_dir and store and _device_of(store) != _device_of(settings.spool_dir):
        raise SettingsError(
            "invalid settings: DOCVAULT_SPOOL_DIR must be on the file system of the store"
        )


def _device_of(folder: Path) -> int:
    """Return the file system of a folder, or of the one that it will be created in."""
    return next(path for path in (folder, *folder.parents) if path.exists()).stat().st_dev


def _store_folder(settings: Settings) -> Path | None:
    url = urlsplit(settings.effective_storage_url)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    store = _store_folder(settings)
    in_s3 = store is None
    if (
        settings.embedded
        or settings.storage_url is None
        or not settings.has_identity_provider
        or (in_s3 and settings.spool_dir is None)
    ):
        yield "data_dir", settings.data_dir
    if settings.storage_url is not None and store is not None:
        yield "storage_url", store
    if settings.spool_dir is not None:
        yield "spool_dir", settings.spool_dir
