"""Sending the bytes of upload sessions."""

from typing import Any

import httpx


async def send_bytes(
    service: httpx.AsyncClient,
    session: dict[str, Any],
    content: Any,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Send bytes to the signed URL of a session, which is of the service or of the store.

    `headers` are those of the session by default.
    """
    arguments = {"content": content, "headers": session["headers"] if headers is None else headers}
    if session["url"].startswith(str(service.base_url)):
        return await service.put(session["url"], **arguments)
    async with httpx.AsyncClient() as store:
        return await store.put(session["url"], **arguments)
