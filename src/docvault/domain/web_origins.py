"""The origins whose web pages may call the service and show stored files in frames."""

import re
from dataclasses import dataclass

from docvault.settings import Settings

# What pages may call; the integration API is for servers, and its keys belong in no page.
_PATHS = ("/v1/customer/", "/content/", "/uploads/")
_ADMIN_PATH = "/v1/admin/"

_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1)(:\d{1,5})?")
_LOOPBACK_SOURCES = ("http://localhost:*", "http://127.0.0.1:*")


@dataclass(frozen=True, slots=True)
class WebOrigins:
    """Which origins are trusted, and with which paths."""

    trusted: frozenset[str]
    paths: tuple[str, ...]
    # The embedded mode trusts this machine, on any port, unless origins are set.
    trusts_loopback: bool = False
    # The value of the directive `frame-ancestors` of stored files.
    frame_ancestors: str = "'none'"
    # The path below which clients reach the service; some proxies keep it.
    prefix: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "WebOrigins":
        """Return the origins of `DOCVAULT_CORS_ORIGINS`."""
        trusts_loopback = settings.embedded and not settings.cors_origins
        if not (settings.cors_origins or trusts_loopback):
            return NO_ORIGINS
        paths = (*_PATHS, _ADMIN_PATH) if settings.cors_admin else _PATHS
        sources = _LOOPBACK_SOURCES if trusts_loopback else sorted(settings.cors_origins)
        trusted = frozenset(settings.cors_origins)
        return cls(trusted, paths, trusts_loopback, " ".join(sources), settings.public_path)

    @property
    def trusts_any(self) -> bool:
        """Return whether there is any origin whose pages may read responses."""
        return bool(self.paths)

    def covers(self, path: str) -> bool:
        """Return whether pages of some origin may call the path."""
        return path.removeprefix(self.prefix).startswith(self.paths)

    def trusts(self, origin: str) -> bool:
        """Return whether pages of the origin may read responses."""
        is_loopback = self.trusts_loopback and _LOOPBACK.fullmatch(origin) is not None
        return is_loopback or origin in self.trusted


NO_ORIGINS = WebOrigins(frozenset(), ())
