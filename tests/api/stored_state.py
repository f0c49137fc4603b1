"""The stored state after a request, the parts of a problem, and handwritten bodies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select, text

from docvault.db.tables import BlobRow
from docvault.services.blobs import delete_queued_blobs
from docvault.services.resources import Resources

BOUNDARY = "b0undary"


@dataclass(frozen=True, slots=True)
class StoredState:
    """Rows, stored bytes and spooled files, after the queued deletions."""

    versions: int
    attached: frozenset[str]
    unsettled: frozenset[str]
    in_store: frozenset[str]
    in_spool: frozenset[str]


NOTHING_STORED = StoredState(0, frozenset(), frozenset(), frozenset(), frozenset())


async def stored_state(resources: Resources) -> StoredState:
    """Run the job that deletes bytes, then collect the state."""
    await delete_queued_blobs(resources)
    async with resources.database.transaction() as session:
        versions = await session.scalar(text("SELECT count(*) FROM document_versions"))
        blobs = (await session.execute(select(BlobRow.key, BlobRow.state))).all()
    spooled = {path.name for path in resources.spool._folder.iterdir()}
    return StoredState(
        versions=versions or 0,
        attached=frozenset(key for key, state in blobs if state == "stored"),
        unsettled=frozenset(key for key, state in blobs if state != "stored"),
        in_store=frozenset([blob.key async for blob in resources.store.list_blobs()]),
        in_spool=frozenset(spooled - {".lock"}),
    )


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and location of the first error of a problem response."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, *code_and_place(response.json())


def code_and_place(problem: dict[str, Any]) -> tuple[str, str | None]:
    """Return the code of a problem and the pointer or parameter of its first error."""
    first = (problem["errors"] or [{"pointer": None, "parameter": None}])[0]
    place: str | None = first["parameter"] if first["pointer"] is None else first["pointer"]
    return problem["code"], place


def part(disposition: str | bytes, body: bytes = b"", *headers: bytes) -> bytes:
    """Return one part of a multipart body; the disposition is everything after `form-data; `."""
    raw = disposition.encode() if isinstance(disposition, str) else disposition
    lines = [b"Content-Disposition: form-data; " + raw, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def multipart(*parts: bytes, closed: bool = True) -> dict[str, Any]:
    """Return the arguments of a multipart request with these raw parts."""
    opening = f"--{BOUNDARY}\r\n".encode()
    body = b"".join(opening + item + b"\r\n" for item in parts)
    if closed:
        body += f"--{BOUNDARY}--\r\n".encode()
    return raw_body(body)


def raw_body(body: bytes, content_type: str | None = None) -> dict[str, Any]:
    """Return the arguments of a request with these bytes as its body."""
    media_type = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    return {"content": body, "headers": {"Content-Type": media_type}}


class Chunks:
    """A body without a Content-Length that counts the bytes read from it."""

    def __init__(self, body: bytes, size: int = 65536) -> None:
        self._body = body
        self._size = size
        self.bytes_read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._size):
            piece = self._body[start : start + self._size]
            self.bytes_read += len(piece)
            yield piece


async def audited(admin: httpx.AsyncClient, action: str) -> list[dict[str, Any]]:
    """Return the audit events of an action, newest first."""
    response = await admin.get("/v1/admin/audit-events", params={"action": action})
    assert response.status_code == 200, response.text
    events: list[dict[str, Any]] = response.json()["items"]
    return events
