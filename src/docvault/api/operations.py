"""What every endpoint declares, and the guard that enforces it before a body byte is read.

FastAPI reads bodies before dependencies run (SECURITY F1, D14); so the credential, the scope
and the customer are checked here, in the route itself. A route without a declared operation
fails when the application is built.
"""

from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_origin

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as AsgiScope

from docvault.api.bodies import has_body
from docvault.api.calls import Call
from docvault.api.conditional import check_condition_headers
from docvault.api.denials import DENIALS, record_denial
from docvault.api.failed_credentials import count_failed_credential
from docvault.api.idempotency_keys import claim_from_header, fingerprint_of, replayed, stored
from docvault.api.json_bodies import MAX_BODY_BYTES, read_json_body
from docvault.api.parameters import (
    check_customer_id,
    check_parameters,
    check_path,
    header_parameters,
)
from docvault.api.paths import CUSTOMER_PATH
from docvault.api.problems import error_responses
from docvault.api.uploads import check_room, require_free_slot
from docvault.auth.principals import Access, Caller, CustomerCaller
from docvault.auth.scopes import Scope
from docvault.errors import (
    BodyTooLarge,
    CallerUnknown,
    CustomerBeingErased,
    CustomerUnknown,
    DatabaseUnavailable,
    DocumentTypeUnknown,
    DocvaultError,
    FileTooLarge,
    HeaderTooLarge,
    IdempotencyKeyReused,
    MalformedRequest,
    MediaTypeNotAllowed,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    QuotaExceeded,
    RequestInProgress,
    RequestTimeout,
    StorageUnavailable,
    Unauthenticated,
    ValidationFailed,
)
from docvault.repositories.unit import Unit
from docvault.rules.dossiers import SlotChoice
from docvault.rules.permissions import require_write
from docvault.rules.rate_limits import Limit
from docvault.schemas.audit_events import AuditAction
from docvault.services.customers import find_dossier
from docvault.services.resources import Resources
from docvault.services.work import Asker

UPLOAD_ERRORS: tuple[type[DocvaultError], ...] = (
    MediaTypeNotAllowed,
    BodyTooLarge,
    FileTooLarge,
    RequestTimeout,
    QuotaExceeded,
    Overloaded,
    StorageUnavailable,
)

_ETAG = {"ETag": {"description": "For If-Match.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "The new resource.", "schema": {"type": "string"}}}

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an endpoint is, for the guard and for the contract.

    `scope` is what an API key needs. `body` says how the body is read: as JSON by the guard,
    by the endpoint itself (uploads), or not at all. Without `in_transaction` the endpoint opens
    its own short transactions, because it waits for something else than the database.
    """

    action: AuditAction
    scope: Scope | None = None
    errors: tuple[type[DocvaultError], ...] = ()
    body: Literal["none", "json", "upload"] = "none"
    in_transaction: bool = True
    max_body_bytes: int = MAX_BODY_BYTES
    idempotent: bool = False
    # Headers of conditional and range requests that mean something here.
    conditions: tuple[Literal["If-Match", "If-None-Match", "Range"], ...] = ()
    # Which of the customer's slots are looked up with the customer: that of the path, or all.
    slots: Literal["none", "one", "all"] = "none"
    # Whether it writes to the document in the path, which the caller must be allowed to.
    writes_document: bool = False
    # Whether the answer tells in `Location` where the new resource is.
    creates: bool = False
    # The customer in the path: must exist, or may be absent or under erasure (PUT, DELETE).
    customer: Literal["existing", "any"] = "existing"
    works_without_section: bool = False

    @property
    def customer_limit(self) -> Limit:
        """Which limit counts it when a customer asks: files that come are counted apart."""
        brings_files = self.body == "upload" or self.action is AuditAction.UPLOAD_CREATE
        return Limit.CUSTOMER_UPLOADS if brings_files else Limit.CUSTOMER_REQUESTS


def operation(action: AuditAction, **declared: Any) -> Callable[[Endpoint], Endpoint]:  # noqa: ANN401 - the fields of Operation, checked there
    """Declare what an endpoint is; see `Operation`."""

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.__operation__ = Operation(action, **declared)  # type: ignore[attr-defined]
        return endpoint

    return declare


class GuardedRoute(APIRoute):
    """A route of one audience, which only callers of that audience can enter."""

    audience: ClassVar[str] = ""
    common_errors: ClassVar[tuple[type[DocvaultError], ...]] = ()
    security_scheme: ClassVar[str] = ""
    # Whether this audience sees archived types that hold a file.
    sees_archived: ClassVar[bool] = False

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        **options: Any,  # noqa: ANN401 - those of APIRoute
    ) -> None:
        declared = getattr(endpoint, "__operation__", None)
        if not isinstance(declared, Operation):
            raise TypeError(f"{endpoint.__name__} declares no operation")
        self.operation = declared
        options["operation_id"] = endpoint.__name__
        options["tags"] = [self.audience]
        options["responses"] = {
            **error_responses(self._errors(path, options["methods"])),
            **self._success_responses(options),
        }
        options["openapi_extra"] = {
            "security": [{self.security_scheme: []}],
            "parameters": header_parameters(
                idempotent=declared.idempotent,
                conditions=declared.conditions,
                required=PreconditionRequired in declared.errors,
            ),
            **(options.get("openapi_extra") or {}),
        }
        super().__init__(path, endpoint, **options)
        self._beginning = path.partition("{")[0]

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        """Return whether the request is for this route.

        Most are not, and the beginning of the path tells that without asking FastAPI.
        """
        if not scope["path"].startswith(self._beginning):
            return Match.NONE, {}
        return super().matches(scope)

    async def authenticate(self, request: Request, unit: Unit) -> Caller:
        """Return the caller; raises what `common_errors` lists."""
        raise NotImplementedError

    async def admit(self, call: Call, unit: Unit) -> None:
        """Check what this audience needs beyond the credential."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler into the guard."""
        handle = super().get_route_handler()
        known_query = {
            parameter.alias: get_origin(parameter.field_info.annotation) is list
            for parameter in self.dependant.query_params
        }

        async def answered(request: Request, resources: Resources) -> Response:
            async with self._opened(resources) as unit:
                call = await self._enter(request, unit)
                check_parameters(request, known_query)
                if not self._only_reads:
                    check_condition_headers(request, self.operation.conditions)
                if self._answers_at_once:
                    call.inside(unit.narrowed(call.asker.access))
                    return await handle(call)
                await self._admit_files(call, unit)
                await self._claim(call, unit)
            return await self._proceed(call, handle)

        async def guarded(request: Request) -> Response:
            resources: Resources = request.app.state.resources
            if self.operation.body == "upload":
                # Before the database is asked: refusing must cost less than what it protects.
                require_free_slot(resources)
            try:
                return await answered(request, resources)
            except CustomerUnknown as error:
                if CallerUnknown in self.common_errors:
                    # Erased since they were admitted: it is the caller whom nobody knows now.
                    raise CallerUnknown from error
                raise
            except DENIALS:
                await record_denial(request, self.operation.action)
                raise
            except Unauthenticated as refusal:
                await count_failed_credential(request, refusal)
                raise

        return guarded

    @property
    def _answers_at_once(self) -> bool:
        """Whether the endpoint works in the unit of the guard: there is no body to wait for."""
        return self.operation.body == "none" and self.operation.in_transaction

    @property
    def _only_reads(self) -> bool:
        return "GET" in (self.methods or ())

    def _opened(self, resources: Resources) -> AbstractAsyncContextManager[Unit]:
        """Open what the guard looks things up in.

        It writes nothing that depends on anything else, and neither does a GET: single
        statements do. Only a change without a body needs a transaction here.
        """
        if self._answers_at_once and not self._only_reads:
            return resources.unit(Access.everyone())
        return resources.statements(Access.everyone())

    async def _enter(self, request: Request, unit: Unit) -> Call:
        resources: Resources = request.app.state.resources
        caller = await self.authenticate(request, unit)
        asker = Asker(caller, request.state.request_id, resources.keyring, resources.settings)
        call = Call(request, asker)
        request.state.call = call
        check_path(request)
        await self.admit(call, unit)
        await self._find_customer(call, unit)
        self._check_slot(call)
        return call

    async def _find_customer(self, call: Call, unit: Unit) -> None:
        if CUSTOMER_PATH not in self.path:
            return
        external_id = call.path_params["id"]
        check_customer_id(external_id)
        if self.operation.customer == "existing":
            call.dossier_or_none = await find_dossier(
                unit, external_id, self.slot_choice(call), to_write=call.method != "GET"
            )

    def slot_choice(self, request: Request) -> SlotChoice:
        """Return which slots are looked up with the customer; raises `ValidationFailed`."""
        check_path(request)
        which = self.operation.slots
        key = request.path_params["key"] if which == "one" else None
        return SlotChoice(which, key, self.sees_archived)

    def _check_slot(self, call: Call) -> None:
        if self.operation.slots != "one":
            return
        if not call.slots:
            raise DocumentTypeUnknown
        if self.operation.writes_document:
            require_write(call.asker.caller, call.slot.type)

    async def _admit_files(self, call: Call, unit: Unit) -> None:
        """Check the room there is, and count a customer's upload.

        It stays counted when it fails from here on.
        """
        if self.operation.body == "upload":
            await check_room(call, unit)
        caller, limit = call.asker.caller, self.operation.customer_limit
        if isinstance(caller, CustomerCaller) and limit is Limit.CUSTOMER_UPLOADS:
            await call.resources.rate_limits.count_everywhere(unit, limit, [caller.external_id])

    async def _claim(self, call: Call, unit: Unit) -> None:
        if self.operation.idempotent:
            call.claim = await claim_from_header(call, unit)

    async def _proceed(self, call: Call, handle: Handler) -> Response:
        """Read the body, answer, and give the idempotency key back when that fails."""
        try:
            if self.operation.body == "json":
                return await self._handle_json(call, handle)
            return await handle(call)
        except BaseException:
            if call.claim is not None:
                await call.claim.release(call.resources, call.asker)
            raise

    async def _handle_json(self, call: Call, handle: Handler) -> Response:
        if not has_body(call):
            raise ValidationFailed("A JSON body is required.", pointer="")
        raw, parsed = await read_json_body(call, self.operation.max_body_bytes)
        call.fingerprint = fingerprint_of(raw)
        replay = call.claim.replay(call.fingerprint) if call.claim else None
        if replay is not None:
            return replayed(replay)
        call.set_json(raw, parsed)
        if not self.operation.in_transaction:
            return await handle(call)
        async with call.resources.unit(call.asker.access) as unit:
            call.inside(unit)
            response = await handle(call)
            await call.complete(call.work, stored(call.fingerprint, response))
        return response

    def _success_responses(self, options: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
        """Announce the headers of an answer with a single stored resource, and its 304."""
        declared, extra = self.operation, options.get("responses") or {}
        model = options.get("response_model")
        if not isinstance(model, type) or not (declared.conditions or declared.creates):
            return extra
        headers = _LOCATION if declared.creates else {}
        if declared.conditions or declared.idempotent:
            headers = {**_ETAG, **headers}
        statuses = {options.get("status_code") or 200, *extra}
        responses: dict[int | str, dict[str, Any]] = {
            status: {**extra.get(status, {}), "headers": headers} for status in statuses
        }
        if "GET" in options["methods"]:
            responses[304] = {"description": "The client has this.", "headers": dict(_ETAG)}
        return responses

    def _errors(self, path: str, methods: Collection[str]) -> list[type[DocvaultError]]:
        """Return every error this operation can answer with."""
        declared = self.operation
        errors = [*self.common_errors, *declared.errors, ValidationFailed, DatabaseUnavailable]
        # What no request may be, whatever it asks for (`http_protocol.py`).
        errors += [MalformedRequest, HeaderTooLarge]
        names_customer = CUSTOMER_PATH in path and declared.customer == "existing"
        if names_customer:
            errors.append(CustomerUnknown)
        if "GET" not in methods and (names_customer or CallerUnknown in self.common_errors):
            errors.append(CustomerBeingErased)
        if declared.body == "json":
            errors += [MediaTypeNotAllowed, BodyTooLarge, RequestTimeout]
        if declared.body == "upload":
            errors += UPLOAD_ERRORS
        if declared.idempotent:
            errors += [RequestInProgress, IdempotencyKeyReused]
        if declared.conditions:
            errors.append(PreconditionFailed)
        return errors
