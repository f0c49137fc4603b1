"""Answers in JSON. Models are rendered here, once; FastAPI documents but does not re-check."""

from collections.abc import Mapping

from fastapi import Request, Response
from pydantic import BaseModel

from docvault.api.conditional import entity_tag, is_not_modified, not_modified, require_match

CACHE_CONTROL = "private, no-cache"


class JsonResponse(Response):
    """A JSON answer."""

    media_type = "application/json"


def json_response(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a model as an answer without an entity tag: lists and verdicts."""
    body = model.model_dump_json(exclude_unset=True).encode()
    return JsonResponse(body, status, {"Cache-Control": CACHE_CONTROL, **(headers or {})})


def resource_response(
    request: Request,
    model: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a single stored resource with its ETag, or 304 when the client has it."""
    body = model.model_dump_json().encode()
    tag = entity_tag(body)
    tagged = {"ETag": tag, "Cache-Control": CACHE_CONTROL, **(headers or {})}
    if request.method == "GET":
        require_match(request, tag)
        if is_not_modified(request, tag):
            return not_modified(tagged)
    return JsonResponse(body, status, tagged)


def no_content() -> Response:
    """Return a 204."""
    return Response(status_code=204)
