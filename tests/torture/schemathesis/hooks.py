"""Hooks loaded by schemathesis, in its own environment."""

# Schemathesis has an environment of its own, so its types are not available to mypy.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from fnmatch import fnmatch
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Why a request that matches the schema may still be rejected: problem codes, ...
CODES = {
    "corrupt-file",
    "digest-mismatch",
    "duplicate-label",
    "empty-file",
    "events-expired",
    "extension-mismatch",
    "fields-not-enabled",
    "file-required",
    "file-too-large",
    "gate-requires-section",
    "idempotency-key-reused",
    "invalid-cursor",
    "fields-required",
    "unsupported-media-type",
    "precondition-failed",
    "range-not-satisfiable",
    "too-many-files",
    "unknown-field",
    "unknown-filter-type",
    "upload-expired",
    "webhook-url-not-allowed",
}
# ... and for validation-error the location (an fnmatch pattern) and the code.
PLACES = {
    ("/accepted_media_types/*", "invalid-value"),  # a list that grows without a new contract
    ("/expires_at", "validation-error"),  # in the past
    ("/field_labels", "invalid-value"),  # together with fields
    ("/max_size_bytes", "validation-error"),  # above the limit of the installation
    ("/batch/items/*/files/*", "missing-file"),
    ("/batch/items/*/files/*", "repeated-file"),
    ("/batch/items/*/key", "repeated-key"),
    ("/files/*", "unused-file"),
    ("/file*", "validation-error"),  # a name that is empty after normalisation
    ("/items", "invalid-value"),  # a duplicate customer
    ("/types", "invalid-value"),  # all types and some
    ("/keys", "validation-error"),  # not exactly the existing types
    # Schemathesis also sends `0` as valid, although it does not match the pattern.
    ("If-Match", "validation-error"),
    ("If-None-Match", "validation-error"),
}
THE_CUSTOMER = "c-1"


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Keep the customer that most requests refer to, and send no codes of older systems."""
    erases = case.method.upper() == "DELETE" and case.path.endswith("/customers/{id}")
    if erases and case.path_parameters.get("id") == THE_CUSTOMER:
        case.path_parameters["id"] = "c-2"
    # Accepted from older systems, though the contract has only the names.
    if isinstance(case.body, dict) and type(case.body.get("upload_mode")) is int:
        case.body["upload_mode"] = "mandatory"


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> Any:
    """A valid request may be rejected only for rules that a schema cannot express."""
    if response.status_code in {400, 410, 412, 413, 415, 416, 422}:
        problem = response.json()
        if problem["code"] in CODES or (problem["errors"] and all(map(depends, problem["errors"]))):
            return None
    return positive_data_acceptance(ctx, response, case)


def depends(error: dict[str, Any]) -> bool:
    """Return whether every error is one that a schema cannot express."""
    place = error["pointer"] or error["parameter"] or ""
    return any(fnmatch(place, known) and error["code"] == code for known, code in PLACES)
