"""Loaded by schemathesis, in its own environment."""

from fnmatch import fnmatch
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Why a request that is as the schema says may be refused all the same: codes of problems, ...
CODES = {
    "corrupt-file",
    "digest-mismatch",
    "duplicate-label",
    "empty-file",
    "fields-not-enabled",
    "file-required",
    "file-too-large",
    "gate-requires-section",
    "idempotency-key-reused",
    "invalid-cursor",
    "labels-required",
    "media-type-not-allowed",
    "precondition-failed",
    "range-not-satisfiable",
    "too-many-files",
    "unknown-field",
    "unknown-filter-type",
    "upload-expired",
}
# ... and, of a validation-error, where, as a pattern of file names.
PLACES = {
    ("/accepted_media_types/*", "invalid-value"),  # a list that grows without a new contract
    ("/expires_at", "validation-error"),  # in the past
    ("/field_labels", "invalid-value"),  # beside fields
    ("/max_size_bytes", "validation-error"),  # above the limit of the installation
    ("/items/*/files/*", "missing-part"),  # names of parts that do not follow
    ("/items/*/key", "repeated-key"),
    ("/*", "unnamed-part"),
    ("/file*", "validation-error"),  # a name of which nothing is left
    ("/items", "invalid-value"),  # a customer there twice
    ("/keys", "validation-error"),  # not the types there are
    # Schemathesis also sends `0`, which it knows not to fit the pattern, as if it did.
    ("If-Match", "validation-error"),
    ("If-None-Match", "validation-error"),
}
THE_CUSTOMER = "c-1"


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Keep the customer whom most requests are about."""
    erases = case.method.upper() == "DELETE" and case.path.endswith("/customers/{id}")
    if erases and case.path_parameters.get("id") == THE_CUSTOMER:
        case.path_parameters["id"] = "c-2"


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> Any:
    """Refuse what the schema allows only for what a schema cannot say."""
    if response.status_code in {400, 410, 412, 413, 415, 416, 422}:
        problem = response.json()
        if problem["code"] in CODES or (problem["errors"] and all(map(depends, problem["errors"]))):
            return None
    return positive_data_acceptance(ctx, response, case)


def depends(error: dict[str, Any]) -> bool:
    """Return whether something is wrong that depends on something else."""
    place = error["pointer"] or error["parameter"] or ""
    return any(fnmatch(place, known) and error["code"] == code for known, code in PLACES)
