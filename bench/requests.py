"""Requests as bytes, built before the measurement."""

import json
from collections.abc import Mapping
from typing import Any

_BOUNDARY = "b6d1c3a9e7f2"


def get(path: str, headers: dict[str, str] | None = None) -> bytes:
    """Return a GET request."""
    return _head("GET", path, headers or {})


def json_request(method: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
    """Return a request with a JSON body."""
    data = json.dumps(body).encode()
    return raw(method, path, data, {**headers, "Content-Type": "application/json"})


def raw(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return a request with a raw body."""
    return raw_head(method, path, len(body), headers) + body


def raw_head(method: str, path: str, size_bytes: int, headers: dict[str, str]) -> bytes:
    """Return the head of a request with a raw body."""
    return _head(method, path, {**headers, "Content-Length": str(size_bytes)})


def multipart(
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
    *,
    filename: str,
    values: Mapping[str, str] | None = None,
) -> bytes:
    """Return an upload of one PDF as `multipart/form-data`, after plain values."""
    start, end = multipart_frame(filename)
    start = b"".join(_value(*one) for one in (values or {}).items()) + start
    return _multipart_head(method, path, headers, len(start + content + end)) + (
        start + content + end
    )


def _value(name: str, value: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n{value}\r\n".encode()


def multipart_head(
    method: str, path: str, size_bytes: int, headers: dict[str, str], *, filename: str
) -> bytes:
    """Return the head of an upload of `size_bytes`; its body is framed by `multipart_frame`."""
    start, end = multipart_frame(filename)
    return _multipart_head(method, path, headers, len(start) + size_bytes + len(end))


def _multipart_head(method: str, path: str, headers: dict[str, str], body_bytes: int) -> bytes:
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    framing = {"Content-Type": content_type, "Content-Length": str(body_bytes)}
    return _head(method, path, {**headers, **framing})


def multipart_frame(filename: str) -> tuple[bytes, bytes]:
    """Return the parts of a multipart body before and after the content."""
    start = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/pdf\r\n\r\n"
    )
    return start.encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {"Host": "127.0.0.1", **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
