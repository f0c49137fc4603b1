"""JSON responses. Models are rendered here once; FastAPI does not validate them again."""

from collections.abc import Mapping

from fastapi import Request, Response
from pydantic import BaseModel

from docvault.api.http.conditional import is_not_modified, not_modified, require_match
from docvault.presenters.representation import Representation, entity_tag, render, represent

CACHE_CONTROL = "private, no-cache"

Members = set[str] | dict[str, set[str]]
# The time of the gate, alone and in another model.
GATE_TIME: Members = {"evaluated_at"}
TIME_OF_GATE: Members = {"gate": {"evaluated_at"}}


class JsonResponse(Response):
    media_type = "application/json"


def json_response(
    model: BaseModel, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the result of a change that is no stored resource."""
    return JsonResponse(render(model), status, {"Cache-Control": CACHE_CONTROL, **(headers or {})})


def list_response(request: Request, model: BaseModel, untagged: Members | None = None) -> Response:
    """Return a list or a computed result with its ETag, or a 304 if the client has it.

    It is computed either way: a 304 only saves the transfer and the client's rendering. `untagged`
    names members that hold the time of the response; the tag leaves them out and is weak.
    """
    body = render(model)
    if untagged is None:
        return _conditional_response(request, Representation(body, entity_tag(body)), None)
    timeless = model.model_dump_json(exclude=untagged).encode()
    representation = Representation(body, f"W/{entity_tag(timeless)}")
    return _conditional_response(request, representation, None)


def resource_response(
    request: Request,
    model: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a stored resource with its ETag, or a 304 if the client has it."""
    representation = represent(model)
    if request.method == "GET":
        return _conditional_response(request, representation, headers)
    return represented_response(representation, status, headers)


def _conditional_response(
    request: Request, representation: Representation, headers: Mapping[str, str] | None
) -> Response:
    require_match(request, representation.etag)
    if is_not_modified(request, representation.etag):
        return not_modified(_resource_headers(representation, headers))
    return represented_response(representation, 200, headers)


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
