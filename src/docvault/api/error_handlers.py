"""One shape for every error (RFC 9457)."""

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from docvault.api.findings import explain
from docvault.api.json_bodies import escape_pointer
from docvault.api.problems import problem_response
from docvault.errors import (
    BadRequest,
    DocvaultError,
    ErrorDetail,
    MethodNotAllowed,
    NotFound,
    ValidationFailed,
)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected error with a problem; `RequestMiddleware` answers the others."""
    app.add_exception_handler(DocvaultError, _docvault_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def _docvault_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, DocvaultError):
        raise error
    return _answer(request, error)


def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return _answer(request, validation_failed(error.errors()))


def _http_error(request: Request, error: Exception) -> Response:
    """Turn what Starlette itself raises into one of ours."""
    if not isinstance(error, HTTPException):
        raise error
    ours: DocvaultError = BadRequest()
    if error.status_code == NotFound.status:
        ours = NotFound()
    elif error.status_code == MethodNotAllowed.status:
        ours = MethodNotAllowed(headers={"Allow": ", ".join(allowed_methods(request))})
    return _answer(request, ours)


def _answer(request: Request, error: DocvaultError) -> Response:
    request.state.problem = error.code  # for the log and the metrics
    return problem_response(error, request.state.request_id)


def validation_failed(errors: Sequence[Any], pointer: str = "") -> ValidationFailed:
    """Return pydantic's findings as an error; `pointer` is where the judged value stands."""
    return ValidationFailed(errors=[_detail(item, pointer) for item in errors])


def _detail(item: Any, prefix: str) -> ErrorDetail:  # noqa: ANN401 - pydantic's own dictionary
    place, *rest = item["loc"] or ("body",)
    code, message = explain(item["type"], str(item["msg"]), item.get("ctx") or {})
    if place in {"query", "path", "header"}:
        return ErrorDetail(code, message, parameter=str(rest[0]))
    segments = rest if place == "body" else [place, *rest]
    pointer = "".join(f"/{escape_pointer(str(segment))}" for segment in segments)
    return ErrorDetail(code, message, pointer=prefix + pointer)


def allowed_methods(request: Request) -> list[str]:
    """Return every method the path of a request knows (RFC 9110, section 10.2.1)."""
    methods: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.path_format and _pattern(context.path_format).fullmatch(request.url.path):
            methods |= context.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _pattern(path_format: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path_format)))
