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


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    store = urlsplit(settings.effective_storage_url)
    in_s3 = store.scheme == "s3"
    if (
        settings.embedded
        or settings.storage_url is None
        or not settings.has_identity_provider
        or (in_s3 and settings.spool_dir is None)
    ):
        yield "data_dir", settings.data_dir
    if settings.storage_url is not None and not in_s3:
        yield "storage_url", Path(unquote(store.path))
    if settings.spool_dir is not None:
        yield "spool_dir", settings.spool_dir
