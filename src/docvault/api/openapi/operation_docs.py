"""What OpenAPI says about a guarded route beyond what FastAPI infers from the endpoint."""

from typing import Any

from docvault.api.http.conditional import MAX_ENTITY_TAGS_LENGTH
from docvault.api.http.parameters import CUSTOMER_PATH
from docvault.api.http.problems import error_responses
from docvault.api.routing.operation import Api, Change, JsonBody, Operation, Read, Upload
from docvault.api.routing.requests import ApiRequest, CustomerRequest, DocumentRequest
from docvault.errors import (
    AdminOnlyDocument,
    ContentTooLarge,
    CustomerBeingErased,
    CustomerNotFound,
    DatabaseUnavailable,
    DocumentTypeNotFound,
    DocvaultError,
    FileTooLarge,
    HeaderTooLarge,
    IdempotencyKeyReused,
    MalformedRequest,
    Overloaded,
    PortalSectionDisabled,
    PreconditionFailed,
    PreconditionRequired,
    QuotaExceeded,
    RequestInProgress,
    RequestTimeout,
    ServiceUnavailable,
    StorageUnavailable,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    ValidationFailed,
)

_Errors = list[type[DocvaultError]]

# Any request can cause these: the last two are raised by `server/http_protocol.py`.
_GENERAL_ERRORS = (
    ServiceUnavailable,
    ValidationFailed,
    DatabaseUnavailable,
    MalformedRequest,
    HeaderTooLarge,
)
_JSON_ERRORS = (
    UnsupportedMediaType,
    UnsupportedContentEncoding,
    ContentTooLarge,
    RequestTimeout,
)
_UPLOAD_ERRORS = (
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    ContentTooLarge,
    FileTooLarge,
    RequestTimeout,
    QuotaExceeded,
    Overloaded,
    StorageUnavailable,
)

_ETAG = {"ETag": {"description": "Changes with the representation.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Its URL.", "schema": {"type": "string"}}}

_IDEMPOTENCY = "Idempotency-Key"
_HEADERS = {
    _IDEMPOTENCY: "A unique key for this request. A retry with the same key within 24 hours is "
    "not applied again and gets the same response.",
    "Range": "A single byte range (RFC 9110).",
    "If-Match": "Apply the request only if the resource still has this ETag.",
    "If-None-Match": "On GET: return 304 if the resource still has this ETag. On PUT, `*`: apply "
    "the request only if the resource does not exist.",
}
_ENTITY_TAGS = {
    "type": "string",
    "maxLength": MAX_ENTITY_TAGS_LENGTH,
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$',
}
_HEADER_SCHEMAS = {
    _IDEMPOTENCY: {"type": "string", "maxLength": 255, "pattern": '^("[!#-~]+"|[!#-~]+)$'},
    # A value that is not a range of bytes is ignored (RFC 9110, section 14.2).
    "Range": {"type": "string"},
}


def document_operation(
    api: Api,
    operation: Operation,
    request_type: type[ApiRequest],
    path: str,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return the options of a route that hold its documentation."""
    return {
        "tags": [api.name],
        "responses": {
            **error_responses(_errors(api, operation, request_type, path)),
            **_success_responses(operation, options),
        },
        "openapi_extra": {
            "security": [{api.security_scheme: []}],
            "parameters": _header_parameters(operation),
            **(options["openapi_extra"] or {}),
        },
    }


def _errors(
    api: Api, operation: Operation, request_type: type[ApiRequest], path: str
) -> list[type[DocvaultError]]:
    errors = [*_GENERAL_ERRORS, *api.errors, *operation.errors]
    if issubclass(request_type, CustomerRequest):
        errors += _customer_errors(api, operation, path)
    if issubclass(request_type, DocumentRequest):
        errors += _document_errors(api, operation)
    if isinstance(operation, JsonBody):
        errors += _JSON_ERRORS
    if isinstance(operation, Upload):
        errors += _UPLOAD_ERRORS
    if isinstance(operation, Change) and operation.idempotent:
        errors += [RequestInProgress, IdempotencyKeyReused]
    if operation.conditions:
        errors.append(PreconditionFailed)
    return errors


def _customer_errors(api: Api, operation: Operation, path: str) -> _Errors:
    errors: _Errors = []
    if CUSTOMER_PATH in path:
        errors.append(CustomerNotFound)
    if api.callers_are_customers and not _works_without_portal(operation):
        errors.append(PortalSectionDisabled)
    if isinstance(operation, Change):
        errors.append(CustomerBeingErased)
    return errors


def _works_without_portal(operation: Operation) -> bool:
    return isinstance(operation, Read) and operation.available_when_portal_disabled


def _document_errors(api: Api, operation: Operation) -> _Errors:
    needs_write_access = api.callers_are_customers and isinstance(operation, Change)
    return [DocumentTypeNotFound, *([AdminOnlyDocument] if needs_write_access else [])]


def _success_responses(
    operation: Operation, options: dict[str, Any]
) -> dict[int | str, dict[str, Any]]:
    """Document the headers of a response that can be conditional, and its 304."""
    extra = options["responses"] or {}
    returns_location = isinstance(operation, JsonBody) and operation.returns_location
    is_resource = isinstance(options["response_model"], type)
    if not is_resource or not (operation.conditions or returns_location):
        return extra
    headers = _LOCATION if returns_location else {}
    if operation.conditions or (isinstance(operation, Change) and operation.idempotent):
        headers = {**_ETAG, **headers}
    statuses = {options["status_code"] or 200, *extra}
    responses: dict[int | str, dict[str, Any]] = {
        status: {**extra.get(status, {}), "headers": headers} for status in statuses
    }
    if isinstance(operation, Read):
        responses[304] = {
            "description": "The client has the current version.",
            "headers": dict(_ETAG),
        }
    return responses


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    is_idempotent = isinstance(operation, Change) and operation.idempotent
    return [
        {
            "name": name,
            "in": "header",
            "required": name == "If-Match" and PreconditionRequired in operation.errors,
            "description": _HEADERS[name],
            "schema": _HEADER_SCHEMAS.get(name, _ENTITY_TAGS),
        }
        for name in (*([_IDEMPOTENCY] if is_idempotent else []), *operation.conditions)
    ]
