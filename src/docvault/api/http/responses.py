"""JSON responses. Models are rendered here once; FastAPI does not validate them again."""

from collections.abc import Mapping

from fastapi import Request, Response
from pydantic import BaseModel

from docvault.api.http.conditional import is_not_modified, not_modified, require_match
from docvault.presenters.representation import Representation, render, represent

CACHE_CONTROL = "private, no-cache"


class JsonResponse(Response):
    media_type = "application/json"


def json_response(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a model without an entity tag, for lists and computed results."""
    return JsonResponse(render(model), status, {"Cache-Control": CACHE_CONTROL, **(headers or {})})


def resource_response(
    request: Request,
    model: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a stored resource with its ETag, or a 304 if the client has it."""
    representation = represent(model)
    if request.method == "GET":
        require_match(request, representation.etag)
        if is_not_modified(request, representation.etag):
            return not_modified(_resource_headers(representation, headers))
    return represented_response(representation, status, headers)


def represented_response(
    representation: Representation, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with a resource that is rendered already."""
    return JsonResponse(representation.body, status, _resource_headers(representation, headers))


def _resource_headers(
    representation: Representation, headers: Mapping[str, str] | None
) -> dict[str, str]:
    return {"ETag": representation.etag, "Cache-Control": CACHE_CONTROL, **(headers or {})}


def no_content() -> Response:
    return Response(status_code=204)
