"""Requests as bytes, made before the clock runs."""

import json
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
    """Return a request whose body is sent as it is."""
    return raw_head(method, path, len(body), headers) + body


def raw_head(method: str, path: str, size_bytes: int, headers: dict[str, str]) -> bytes:
    """Return the head of a request whose body is sent as it is."""
    return _head(method, path, {**headers, "Content-Length": str(size_bytes)})


def multipart(
    method: str, path: str, content: bytes, headers: dict[str, str], *, filename: str
) -> bytes:
    """Return an upload of one PDF as `multipart/form-data`."""
    start, end = multipart_frame(filename)
    return multipart_head(method, path, len(content), headers, filename=filename) + (
        start + content + end
    )


def multipart_head(
    method: str, path: str, size_bytes: int, headers: dict[str, str], *, filename: str
) -> bytes:
    """Return the head of an upload of `size_bytes`; its body is framed by `multipart_frame`."""
    start, end = multipart_frame(filename)
    return _head(
        method,
        path,
        {
            **headers,
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Content-Length": str(len(start) + size_bytes + len(end)),
        },
    )


def multipart_frame(filename: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the content in a multipart body."""
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
