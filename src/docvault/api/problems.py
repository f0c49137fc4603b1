"""Problem answers: made from our errors, and announced in the contract."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from fastapi import Response

from docvault.errors import DocvaultError
from docvault.schemas.problems import Problem, ProblemError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:docvault:problem:"


def problem_of(error: DocvaultError, request_id: UUID) -> Problem:
    """Return an error as it goes over the wire (RFC 9457)."""
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=f"urn:uuid:{request_id}",
        code=error.code,
        errors=[
            ProblemError(
                pointer=item.pointer, parameter=item.parameter, code=item.code, detail=item.detail
            )
            for item in error.errors
        ],
        **error.members,
    )


def problem_response(error: DocvaultError, request_id: UUID) -> Response:
    """Return the answer to a request that failed with this error."""
    return Response(
        problem_of(error, request_id).model_dump_json(exclude_unset=True),
        status_code=error.status,
        headers={"Cache-Control": "no-store", **error.headers},
        media_type=MEDIA_TYPE,
    )


def error_responses(errors: Iterable[type[DocvaultError]]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of errors; `problem_examples` has their examples."""
    by_status: dict[int, dict[str, type[DocvaultError]]] = defaultdict(dict)
    for error in errors:
        by_status[error.status][error.code] = error
    return {status: _response(status, codes) for status, codes in sorted(by_status.items())}


def problem_examples() -> dict[str, dict[str, Any]]:
    """Return an example of every problem there is, by the name that responses refer to."""
    return {
        _example_name(error): {"summary": error.title(), "value": _example(error)}
        for error in sorted(_all_errors(DocvaultError), key=_example_name)
    }


_RETRY_AFTER = {"Retry-After": "Seconds to wait before trying again."}
_RESPONSE_HEADERS = {
    401: {"WWW-Authenticate": "How to authenticate."},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def _response(status: int, codes: dict[str, type[DocvaultError]]) -> dict[str, Any]:
    errors = [error for _, error in sorted(codes.items())]
    response: dict[str, Any] = {
        "description": "\n\n".join(f"`{error.code}`: {error.title()}." for error in errors),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {
                    error.code: {"$ref": f"#/components/examples/{_example_name(error)}"}
                    for error in errors
                },
            }
        },
    }
    if status in _RESPONSE_HEADERS:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _RESPONSE_HEADERS[status].items()
        }
    return response


def problem_codes() -> list[str]:
    """Return every code there is."""
    return sorted({error.code for error in _all_errors(DocvaultError)})


def _all_errors(error: type[DocvaultError]) -> Iterator[type[DocvaultError]]:
    for child in error.__subclasses__():
        yield child
        yield from _all_errors(child)


def _example_name(error: type[DocvaultError]) -> str:
    return f"{error.status}-{error.code}"


def _example(error: type[DocvaultError]) -> dict[str, Any]:
    instance = UUID("0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e")
    return problem_of(error(), instance).model_dump(exclude_unset=True)
