"""The URL of the database, read by libpq's rules for every connection that docvault opens."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

_EXAMPLE = "like postgresql://user:password@host/database"
_SCHEMES = {"postgresql", "postgres"}
_LAST_PORT = 65535
_CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    },
    "channel_binding": {"disable", "prefer", "require"},
    "gssencmode": {"disable", "prefer", "require"},
}
_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
# Modes in which libpq compares the server's certificate with an authority.
_VERIFYING = {"verify-ca", "verify-full"}
# The forms of `postgres -c name=value` that `options` may have.
_OPTION = re.compile(r"(?:-c|--)(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)


def parse_database_url(database_url: str) -> dict[str, str]:
    """Return libpq's parameters; raises `ValueError` without quoting the URL.

    A driver as in `postgresql+psycopg://` is ignored.
    """
    scheme, separator, rest = database_url.partition("://")
    if not separator:
        raise ValueError(f"must be {_EXAMPLE}")
    if scheme.partition("+")[0] not in _SCHEMES:
        raise ValueError(f"must be PostgreSQL, {_EXAMPLE}")
    _check_names(rest)
    try:
        parameters = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.ProgrammingError as error:
        if "extra key/value separator" in str(error):
            raise ValueError("has a = in the value of a parameter; write it as %3D") from None
        # The original message may contain the password.
        raise ValueError(f"must be {_EXAMPLE}") from None
    texts = {name: str(value) for name, value in parameters.items() if value is not None}
    _check_values(texts)
    split_options(texts)
    return texts


def split_options(parameters: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters without `options`, and the session settings that these name.

    Poolers such as PgBouncer refuse `options` when a connection is opened.
    """
    rest = {name: value for name, value in parameters.items() if name != "options"}
    text = re.sub(r"-c\s+", "-c", parameters.get("options", "").strip())
    settings = {}
    for part in re.split(r"(?<!\\)\s+", text) if text else []:
        found = _OPTION.fullmatch(re.sub(r"\\(.)", r"\1", part))
        if found is None:
            raise ValueError("its options must be like -c search_path=name")
        settings[found["name"].replace("-", "_")] = found["value"]
    return rest, settings


def trust_authority(database_url: str, ca_file: Path | None) -> str:
    """Return the URL with a certificate authority, if it verifies the server and names none."""
    parameters = parse_database_url(database_url)
    if (
        ca_file is None
        or "sslrootcert" in parameters
        or parameters.get("sslmode", os.environ.get("PGSSLMODE")) not in _VERIFYING
    ):
        return database_url
    separator = "&" if urlsplit(database_url).query else "?"
    return f"{database_url}{separator}sslrootcert={quote(str(ca_file))}"


def _check_names(rest: str) -> None:
    """Refuse unknown parameters, and repeated ones, of which libpq would use the last."""
    names = [name for name, _ in parse_qsl(rest.partition("?")[2], keep_blank_values=True)]
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in names:
        if name not in known | {"ssl"}:
            raise ValueError("has a parameter that libpq does not know")
        if names.count(name) > 1:
            raise ValueError(
                f"has {name} several times; several hosts are like postgresql://one,two/database"
            )


def _check_values(parameters: dict[str, str]) -> None:
    ports = parameters.get("port", "").split(",")
    if any(port and not (port.isdecimal() and 0 < int(port) <= _LAST_PORT) for port in ports):
        raise ValueError(f"has a port that is not a number up to {_LAST_PORT}")
    hosts = parameters.get("host", "").split(",")
    if len(ports) not in {1, len(hosts)}:
        raise ValueError("must have one port, or one for each host")
    for name, choices in _CHOICES.items():
        if parameters.get(name, next(iter(choices))) not in choices:
            raise ValueError(f"has a {name} that is not one of {', '.join(sorted(choices))}")
    for name in _NUMBERS:
        if not re.fullmatch(r"[0-9]{1,9}", parameters.get(name, "0")):
            raise ValueError(f"has a {name} that is not a number")
    for name in _FILES:
        path = parameters.get(name)
        if path and path != "system" and not os.access(path, os.R_OK):
            raise ValueError(f"names a file that cannot be read: {name}")
