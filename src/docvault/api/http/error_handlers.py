"""Exception handlers that return problems (RFC 9457)."""

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from docvault.api.http.problems import problem_response
from docvault.api.http.validation_messages import explain_error
from docvault.errors import (
    DocvaultError,
    ErrorDetail,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    ValidationFailed,
    escape_pointer,
)


def install_error_handlers(app: FastAPI) -> None:
    """Return a problem for every expected error; `RequestMiddleware` handles the others."""
    app.add_exception_handler(DocvaultError, _docvault_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def _docvault_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, DocvaultError):
        raise error
    return _response(request, error)


def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return _response(request, validation_error(error.errors()))


def _http_error(request: Request, error: Exception) -> Response:
    """Convert Starlette's own errors."""
    if not isinstance(error, HTTPException):
        raise error
    converted: DocvaultError = MalformedRequest()
    if error.status_code == NotFound.status:
        converted = NotFound()
    elif error.status_code == MethodNotAllowed.status:
        converted = MethodNotAllowed(headers={"Allow": ", ".join(allowed_methods(request))})
    return _response(request, converted)


def _response(request: Request, error: DocvaultError) -> Response:
    request.state.problem = error.code  # for the log and the metrics
    if isinstance(error, ServiceUnavailable):
        request.state.cause = error.cause
    return problem_response(error, request.state.request_id)


def validation_error(errors: Sequence[Any], pointer: str = "") -> ValidationFailed:
    """Convert pydantic's errors; `pointer` locates the validated value."""
    return ValidationFailed(errors=[_detail(item, pointer) for item in errors])


def _detail(item: Any, prefix: str) -> ErrorDetail:  # noqa: ANN401 - pydantic's own dictionary
    place, *rest = item["loc"] or ("body",)
    code, message, params = explain_error(item["type"], str(item["msg"]), item.get("ctx") or {})
    if place in {"query", "path", "header"}:
        return ErrorDetail(code, message, parameter=str(rest[0]), params=params)
    segments = rest if place == "body" else [place, *rest]
    pointer = "".join(f"/{escape_pointer(str(segment))}" for segment in segments)
    return ErrorDetail(code, message, pointer=prefix + pointer, params=params)


def allowed_methods(request: Request) -> list[str]:
    """Return every method that the path supports (RFC 9110, section 10.2.1)."""
    methods: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.path_format and _pattern(context.path_format).fullmatch(request.url.path):
            methods |= context.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _pattern(path_format: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^{}\\]*\\\}", "[^/]+", re.escape(path_format)))
