"""Checks of URLs and addresses in the settings; each raises `ValueError` with what is allowed."""

import re
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

# The first segments of the service's own paths.
OWN_PATHS = {"content", "docs", "livez", "openapi.json", "readyz", "uploads", "v1"}
LAST_PORT = 65535
# The names that botocore allows; some stores predate the naming rules of AWS.
_BUCKET = re.compile(r"s3://[A-Za-z0-9._-]{1,255}(/[^?#]*)?")

# As browsers write them (RFC 6454, section 6.1).
_ORIGIN = re.compile(
    r"(http://(?!.*:80$)|https://(?!.*:443$))"
    r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:[1-9]\d{0,4})?"
)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:([1-9][0-9]{0,4}))?")
# Names as resolvers take them, with the underscores of container engines.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?!.*(^|\.)\d+\.?$)({_LABEL}\.)*{_LABEL}\.?")
_MAX_NAME_LENGTH = 253


def check_base_url(url: str) -> str:
    """Return a URL that a path can be appended to, without a slash at its end."""
    parts = _split(url)
    if (
        parts is None
        or not re.fullmatch(r"https?://[^\s?#@\\%]+", url)
        or not is_host(parts.hostname)
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


def check_accel_prefix(value: str) -> str:
    """Return the path of a location of nginx."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ValueError("must be a path like /blobs")
    return value


def check_header_text(value: str) -> str:
    """Return a text that a header can hold."""
    if not re.fullmatch(r"[!-~]{1,2048}", value):
        raise ValueError("must be of visible ASCII characters, at most 2048")
    return value


def check_storage_url(url: str) -> str:
    """Return the URL of a folder or a bucket."""
    if not (_is_file_url(url) or _BUCKET.fullmatch(url)):
        raise ValueError("must be like file:///path or s3://bucket/prefix")
    return url


def _is_file_url(url: str) -> bool:
    try:
        path = unquote_to_bytes(url).decode()
    except UnicodeError:
        return False
    return path.startswith("file:///") and "\0" not in path


def check_clamd_url(value: str) -> str:
    """Return the URL of clamd's socket."""
    url = _split(value)
    is_unix = url and value == f"unix://{url.path}" and len(url.path) > 1
    is_tcp = (
        url
        and value == f"tcp://{url.netloc}"
        and "@" not in value
        and is_host(url.hostname)
        and url.port
    )
    if not (is_unix or is_tcp):
        raise ValueError("must be like unix:///run/clamd.sock or tcp://scanner:3310")
    return value


def check_bind(value: str) -> str:
    """Return an address to listen on."""
    host, _, port = value.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if (
        not is_host(host[1:-1] if is_bracketed else host)
        or (":" in host) != is_bracketed
        or not re.fullmatch(r"[0-9]{1,5}", port)
        or int(port) > LAST_PORT
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
        if not _ORIGIN.fullmatch(origin) or _split(origin) is None:
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
        or not is_host(url.hostname)
        or url.port == 0
    ):
        raise ValueError("must be like http://proxy.internal:3128, without user name and path")
    return value


def is_host(host: str | None) -> bool:
    """Return whether a text is an address, or a name that resolvers take."""
    try:
        ip_address(host or "")
    except ValueError:
        return (
            host is not None and len(host) <= _MAX_NAME_LENGTH and _NAME.fullmatch(host) is not None
        )
    return True


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if its host or port is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
