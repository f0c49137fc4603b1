"""Serves the OpenAPI documents and an interactive reference that needs no internet.

They are public and must be cheap to serve: they are compressed once, at start, and a client with
a current copy gets 304.
"""

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from docvault.api.http.conditional import field_value, is_not_modified, not_modified
from docvault.api.openapi.reference import reference_document
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api
from docvault.presenters.representation import entity_tag

CACHE_CONTROL = "public, max-age=300"
_STATIC = Path(__file__).parent / "static"
_PAGE = "reference.html"
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Headers that a 304 repeats (RFC 9110, section 15.4.5).
_HEADERS_OF_304 = ("ETag", "Cache-Control", "Vary")
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


class _Representation:
    """A static response, plain and compressed, each with its entity tag."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        shared = {
            "Cache-Control": CACHE_CONTROL,
            "Vary": "Accept-Encoding",
            "Content-Type": media_type,
            **headers,
        }
        # Without a timestamp, so that all processes produce the same ETag.
        compressed = gzip.compress(body, mtime=0)
        self._plain = body, {**shared, "ETag": entity_tag(body)}
        tagged = {**shared, "ETag": entity_tag(compressed)}
        self._gzip = compressed, {**tagged, "Content-Encoding": "gzip"}

    def respond(self, request: Request) -> Response:
        """Return the body in the best encoding that the client accepts, or a 304."""
        body, headers = self._gzip if accepts_gzip(request) else self._plain
        if is_not_modified(request, headers["ETag"]):
            return not_modified({name: headers[name] for name in _HEADERS_OF_304})
        return Response(body, headers=headers)


def accepts_gzip(request: Request) -> bool:
    """Return whether Accept-Encoding allows gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for item in (field_value(request, "accept-encoding") or "").lower().split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip()] = weight.replace(" ", "").removeprefix("q=")
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != "" or weight == ""


def install_docs(app: FastAPI, prefix: str) -> None:
    """Serve `/docs`, `/openapi.json` and the document of each API."""
    full = build_openapi(app)
    full["servers"] = [server | {"url": prefix or "/"} for server in full["servers"]]
    _serve(app, "/openapi.json", _openapi(full))
    for name in API_NAMES:
        contract = extract_api(full, name)
        _serve(app, f"/v1/{name}/openapi.json", _openapi(contract))
        _serve(app, f"/docs/static/{name}.json", _openapi(reference_document(contract, name)))
    for name, file in _static_files().items():
        _serve(app, "/docs" if name == _PAGE else f"/docs/static/{name}", file)


def _serve(app: FastAPI, path: str, representation: _Representation) -> None:
    @app.get(path, include_in_schema=False)
    async def read(request: Request) -> Response:
        return representation.respond(request)


def _openapi(document: Mapping[str, Any]) -> _Representation:
    body = json.dumps(document, ensure_ascii=False).encode()
    return _Representation(body, "application/json", {})


@functools.cache
def _static_files() -> Mapping[str, _Representation]:
    files = (path for path in _STATIC.rglob("*") if path.is_file())
    return {path.relative_to(_STATIC).as_posix(): _static_file(path) for path in files}


def _static_file(path: Path) -> _Representation:
    media_type = _MEDIA_TYPES.get(path.suffix, "text/plain")
    headers = {"Content-Security-Policy": _PAGE_POLICY} if path.name == _PAGE else {}
    return _Representation(path.read_bytes(), f"{media_type}; charset=utf-8", headers)
