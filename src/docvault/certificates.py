"""Certificate authorities: the public ones, and a private one of `DOCVAULT_CA_FILE`."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import httpx


def make_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what an HTTP client verifies servers with."""
    if ca_file is None:
        return httpx.create_ssl_context()
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_verify_locations(cafile=ca_file)
    return context


@contextmanager
def ca_bundle(ca_file: Path | None) -> Iterator[str | None]:
    """Write one file of all authorities, for clients that read a single one; None for none."""
    if ca_file is None:
        yield None
        return
    handle, path = tempfile.mkstemp(prefix="docvault-ca-", suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Path(certifi.where()).read_bytes() + b"\n" + ca_file.read_bytes())
        yield path
    finally:
        Path(path).unlink()


def check_ca_file(path: Path) -> None:
    """Raise `ValueError` unless the file holds certificates."""
    try:
        ssl.create_default_context().load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError("must be a file of certificates in PEM format") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
