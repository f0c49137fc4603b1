"""Requests sent directly to the ASGI application, to check whether it reads the body."""

import json
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

JSON = {"content-type": "application/json", "content-length": "1000"}
MULTIPART = {"content-type": "multipart/form-data; boundary=b", "content-length": "1000"}
CHUNKED = {"content-type": "application/json", "transfer-encoding": "chunked"}


def request_scope(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    target, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("docvault.test", 80),
    }


class Client:
    """Calls the ASGI application and counts how often it reads from the body."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.received = 0

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"x" * 1000
    ) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and parsed body of the response."""
        messages: list[Message] = []

        async def receive() -> Message:
            self.received += 1
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._app(request_scope(method, path, headers), receive, send)
        content = b"".join(m.get("body", b"") for m in messages[1:])
        response_headers = {k.decode().lower(): v.decode() for k, v in messages[0]["headers"]}
        return messages[0]["status"], response_headers, json.loads(content) if content else None
