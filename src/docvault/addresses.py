"""Checks of URLs and addresses in the settings; each raises `ValueError` with what is allowed."""

import re
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

# The first segments of the service's own paths.
OWN_PATHS = {"content", "docs", "livez", "openapi.json", "readyz", "uploads", "v1"}
LAST_PORT = 65535
MAX_PORT_DIGITS = 5
# The names that botocore allows; some stores predate the naming rules of AWS.
_BUCKET = re.compile(r"s3://[A-Za-z0-9._-]{1,255}(/[^?#]*)?")

# As browsers write them (RFC 6454, section 6.1).
_ORIGIN = re.compile(
    r"(http://(?!.*:80$)|https://(?!.*:443$))"
    r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:[1-9]\d{0,4})?"
)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:([1-9][0-9]{0,4}))?")


def check_base_url(url: str) -> str:
    """Return a URL that a path can be appended to, without a slash at its end."""
    parts = _split(url)
    if (
        parts is None
        or not re.fullmatch(r"https?://[^\s?#@\\%]+", url)
        or not parts.hostname
        or parts.port == 0
    ):
        raise ValueError("must be like https://docvault.example.org")
    return url.rstrip("/")


def check_public_path(url: str) -> str:
    """Reject paths that have to be encoded, or that collide with those of the service."""
    path = urlsplit(url).path
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path):
        raise ValueError("the path must be like /documents")
    if (path + "/").split("/")[1] in OWN_PATHS:
        raise ValueError(f"the path must not begin with {', '.join(sorted(OWN_PATHS))}")
    return url


def check_storage_url(url: str) -> str:
    """Return the URL of a folder or a bucket."""
    if not (url.startswith("file:///") or _BUCKET.fullmatch(url)):
        raise ValueError("must be like file:///path or s3://bucket/prefix")
    return url


def check_clamd_url(value: str) -> str:
    """Return the URL of clamd's socket."""
    url = _split(value)
    is_unix = url and value == f"unix://{url.path}" and len(url.path) > 1
    is_tcp = (
        url and value == f"tcp://{url.netloc}" and "@" not in value and url.hostname and url.port
    )
    if not (is_unix or is_tcp):
        raise ValueError("must be like unix:///run/clamd.sock or tcp://scanner:3310")
    return value


def check_bind(value: str) -> str:
    """Return an address to listen on."""
    host, _, port = value.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    characters = set(host[1:-1] if is_bracketed else host)
    if (
        not characters
        or characters & set("/@[] ")
        or (":" in characters and not is_bracketed)
        or not (port.isdecimal() and len(port) <= MAX_PORT_DIGITS and int(port) <= LAST_PORT)
    ):
        raise ValueError(f"must be like 127.0.0.1:9100, with a port of at most {LAST_PORT}")
    return value


def split_commas(value: object) -> object:
    """Accept `A,B` for a list."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses and networks."""
    for network in value:
        try:
            ip_network(network)
        except ValueError:
            raise ValueError("must be addresses or networks, like 10.0.0.0/8,::1") from None
    return value


def check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Reject what no browser sends as `Origin`: it would silently trust no page."""
    for origin in value:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "must be exact origins in lower case, without path, default port or "
                "wildcard, like https://portal.example.org,https://staff.example.org:8443"
            )
    return value


def check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return hosts, with or without port."""
    for host in value:
        split_host(host)
    return value


def split_host(value: str) -> tuple[str, int | None]:
    """Return host and port, if there is one; an address as Python writes it."""
    match = _HOST.fullmatch(value)
    port = int(match[4]) if match and match[4] else None
    if match is None or (port or 0) > LAST_PORT:
        raise ValueError("must be hosts in lower case with or without port, like n8n.internal:5678")
    host = match[1].strip("[]")
    try:
        return str(ip_address(host)), port
    except ValueError:
        return host, port


def check_proxy_url(value: str) -> str:
    """Return the URL of an HTTP proxy."""
    url = _split(value)
    if (
        url is None
        or not re.fullmatch(r"https?://[^\s/?#@\\%]+", value)
        or not url.hostname
        or url.port == 0
    ):
        raise ValueError("must be like http://proxy.internal:3128, without user name and path")
    return value


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if its host or port is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
