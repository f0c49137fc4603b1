"""Problem responses (RFC 9457), and their documentation in OpenAPI."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from fastapi import Response

from docvault.api.http.problem_examples import example_of_error
from docvault.errors import DocvaultError
from docvault.presenters.problems import present_problem

MEDIA_TYPE = "application/problem+json"


def problem_response(error: DocvaultError, request_id: UUID) -> Response:
    return Response(
        present_problem(error, request_id).model_dump_json(exclude_unset=True),
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
    """Return an example of each problem, by the name that responses refer to."""
    return {
        _example_name(error): {"summary": error.title(), "value": _example(error)}
        for error in sorted(all_errors(), key=_example_name)
    }


_RETRY_AFTER = {"Retry-After": "Seconds to wait before a retry."}
_RESPONSE_HEADERS = {
    401: {"WWW-Authenticate": "The authentication scheme."},
    429: {
        **_RETRY_AFTER,
        "RateLimit": "What is left of the limit; absent for limits on concurrent transfers.",
        "RateLimit-Policy": "The limit.",
    },
    503: _RETRY_AFTER,
}


def _response(status: int, codes: dict[str, type[DocvaultError]]) -> dict[str, Any]:
    errors = [error for _, error in sorted(codes.items())]
    response: dict[str, Any] = {
        "description": "\n\n".join(f"`{error.code}`: {error.default_detail()}" for error in errors),
        "content": {
            MEDIA_TYPE: {
                "schema": problem_schema(errors),
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


def problem_schema(errors: Iterable[type[DocvaultError]]) -> dict[str, Any]:
    """Return the schema of a problem with one of some codes, which `code` tells apart."""
    by_code = {error.code: f"#/components/schemas/{schema_name(error)}" for error in errors}
    references = [{"$ref": by_code[code]} for code in sorted(by_code)]
    if len(references) == 1:
        return references[0]
    return {
        "oneOf": references,
        "discriminator": {"propertyName": "code", "mapping": dict(sorted(by_code.items()))},
    }


def schema_name(error: type[DocvaultError]) -> str:
    """Return the name of the schema of an error."""
    return f"{error.__name__}Problem"


def all_errors(base: type[DocvaultError] = DocvaultError) -> Iterator[type[DocvaultError]]:
    """Yield the errors that have a code: all but the categories."""
    for child in base.__subclasses__():
        # Tests define errors of their own.
        if "code" in vars(child) and child.__module__.startswith("docvault."):
            yield child
        yield from all_errors(child)


def _example_name(error: type[DocvaultError]) -> str:
    return f"{error.status}-{error.code}"


def _example(error: type[DocvaultError]) -> dict[str, Any]:
    instance = UUID("0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e")
    return present_problem(example_of_error(error), instance).model_dump(exclude_unset=True)
