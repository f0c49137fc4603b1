"""The minimal Python that lists a customer's documents: one statement, no framework.

No authentication, no validation, no audit trail.
"""

import json
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool

_QUERY = """
SELECT t.key, t.name, t.upload_mode, t.instructions, t.accepted_media_types, t.max_size_bytes,
    t.max_files, t.password_protected, d.field_values, v.number, v.uploaded_at, v.uploaded_by_kind,
    f.number, f.filename, f.media_type, f.size_bytes, f.sha256, f.has_active_content,
    f.has_attachments, f.needs_password, f.pages, f.scan,
    ARRAY(
        SELECT ARRAY[a.key, a.label] FROM document_type_fields a
        WHERE a.document_type_id = t.id AND a.retired_at IS NULL ORDER BY a.position
    )
FROM document_types t
LEFT JOIN documents d ON d.document_type_id = t.id
    AND d.customer_id = (SELECT id FROM customers WHERE external_id = %s)
LEFT JOIN document_versions v ON v.id = d.current_version_id
LEFT JOIN document_files f ON f.version_id = v.id
WHERE t.archived_at IS NULL
ORDER BY t.position, t.id
"""
_HEADERS = [(b"content-type", b"application/json")]

_Message = dict[str, Any]
_Send = Callable[[_Message], Awaitable[None]]

_pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
    os.environ["BENCH_DATABASE_URL"],
    kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": tuple_row},
    min_size=10,
    open=False,
)


async def app(scope: _Message, receive: Callable[[], Awaitable[_Message]], send: _Send) -> None:
    """Handle `GET /<customer id>`."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    async with _pool.connection() as connection:
        cursor = await connection.execute(_QUERY, [scope["path"][1:]])
        items = [_item(*row) for row in await cursor.fetchall()]
    body = json.dumps({"items": items, "next_cursor": None}, separators=(",", ":")).encode()
    headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Callable[[], Awaitable[_Message]], send: _Send) -> None:
    await receive()
    await _pool.open(wait=True)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _pool.close()
    await send({"type": "lifespan.shutdown.complete"})


def _item(
    key: str,
    name: str,
    upload_mode: str,
    instructions: str | None,
    accepted_media_types: list[str],
    max_size_bytes: int,
    max_files: int,
    password_protected: str,
    field_values: dict[str, str] | None,
    version: int | None,
    uploaded_at: datetime | None,
    uploader: str | None,
    number: int | None,
    filename: str | None,
    media_type: str | None,
    size_bytes: int | None,
    sha256: str | None,
    has_active_content: bool | None,
    has_attachments: bool | None,
    needs_password: bool | None,
    pages: int | None,
    scan: str | None,
    fields: list[list[str]],
) -> dict[str, Any]:
    file = {
        "number": number,
        "filename": filename,
        "media_type": media_type,
        "size_bytes": size_bytes,
        "sha256": sha256,
        "has_preview": True,
        "has_active_content": has_active_content,
        "has_attachments": has_attachments,
        "needs_password": needs_password,
        "pages": pages,
        "scan": scan,
    }
    return {
        "type": {
            "key": key,
            "name": name,
            "upload_mode": upload_mode,
            "instructions": instructions,
            "accepted_media_types": accepted_media_types,
            "max_size_bytes": max_size_bytes,
            "max_files": max_files,
            "password_protected": password_protected,
            "fields": [
                {"key": key, "label": label, "kind": "text", "required": False}
                for key, label in fields
            ],
        },
        "upload_state": "uploaded" if version else "missing",
        "status": "accepted" if version else "missing",
        "version": version or 0,
        "uploaded_at": uploaded_at and uploaded_at.isoformat().replace("+00:00", "Z"),
        "files": [file] if number else [],
        "field_values": field_values or {},
        "can_upload": True,
        "can_edit_fields": bool(version),
        "can_delete": False,
        "uploaded_by": {"kind": uploader} if uploader else None,
    }
