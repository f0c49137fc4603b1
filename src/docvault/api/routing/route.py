"""The route class of every endpoint, whose guard runs before a byte of the body is read."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from docvault.api.http.body import content_length, has_body
from docvault.api.http.conditional import check_condition_headers
from docvault.api.http.idempotency import (
    claim_from_header,
    fingerprint_of,
    replay_response,
    to_stored_response,
)
from docvault.api.http.json_body import read_json_body
from docvault.api.http.multipart import is_multipart
from docvault.api.http.parameters import (
    CUSTOMER_PATH,
    check_parameters,
    check_path,
)
from docvault.api.http.uploads import (
    OVERHEAD_BYTES,
    check_quota_before_body,
    require_upload_capacity,
)
from docvault.api.openapi.operation_docs import document_operation
from docvault.api.routing.audit_denials import record_denial
from docvault.api.routing.auth_throttle import count_failed_credential
from docvault.api.routing.operation import (
    Api,
    Change,
    JsonBody,
    NoBody,
    Read,
    Upload,
    declared_operation,
)
from docvault.api.routing.requests import ApiRequest, CustomerRequest, DocumentRequest
from docvault.context import RequestContext
from docvault.domain.actors import Actor, CustomerActor
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.domain.customer_ids import check_customer_id
from docvault.domain.permissions import require_write, writes_admin_only
from docvault.domain.rate_limits import Limit
from docvault.domain.upload_openings import Uploader, UploadOpening
from docvault.errors import (
    CustomerNotFound,
    CustomerNotRegistered,
    DocvaultError,
    Unauthenticated,
    ValidationFailed,
)
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.audit_events import AUDITED_REFUSALS
from docvault.services.customers import find_customer_documents
from docvault.services.resources import Resources
from docvault.services.upload_openings import close_opening, plan_opening

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route of one API. `_handle` lists the steps of its guard.

    FastAPI reads bodies before it runs dependencies (F1), so the guard cannot be one (D14). An
    endpoint without a declared operation fails when the application is built.
    """

    api: ClassVar[Api]

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        **options: Any,  # noqa: ANN401 - those of APIRoute
    ) -> None:
        self.operation = declared_operation(endpoint)
        self.customer_limit = self.operation.customer_limit
        self.request_type = _request_type(endpoint)
        self._check_declaration(path, endpoint, options["methods"])
        documented = document_operation(self.api, self.operation, self.request_type, path, options)
        options["operation_id"] = options["operation_id"] or endpoint.__name__
        super().__init__(path, endpoint, **options | documented)
        self._path_prefix = path.partition("{")[0]

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        """Return whether the request is for this route; the prefix rules out most, cheaply."""
        if not scope["path"].startswith(self._path_prefix):
            return Match.NONE, {}
        return super().matches(scope)

    async def handle(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Respond; FastAPI is not needed if the endpoint takes no more than its request.

        Most reads are such: without FastAPI's exit stacks, second exception handler and solving of
        dependencies, a gate read takes 9 % less CPU and a list of documents 12 % (decision 0044).
        """
        is_allowed = scope["method"] in (self.methods or ())
        if self._needs_fastapi or scope["query_string"] or not is_allowed:
            await super().handle(scope, receive, send)
            return
        response = await self._guarded_endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler into the guard."""
        dependant = self.dependant
        self._known_query = {
            parameter.alias: get_origin(parameter.field_info.annotation) is list
            for parameter in dependant.query_params
        }
        self._needs_fastapi = bool(
            dependant.dependencies
            or dependant.path_params
            or dependant.header_params
            or dependant.cookie_params
            or dependant.body_params
            or any(parameter.field_info.is_required() for parameter in dependant.query_params)
        )
        self._guarded_endpoint = self._guard(self.endpoint)
        return self._guard(super().get_route_handler())

    def _guard(self, handle: Handler) -> Handler:
        async def handle_and_audit_denials(raw_request: Request) -> Response:
            try:
                return await self._handle(raw_request, handle)
            except CustomerNotFound as error:
                if self.api.callers_are_customers:
                    # The caller was erased after authentication: the error is about the caller, not
                    # about a customer in the path.
                    raise CustomerNotRegistered from error
                raise
            except AUDITED_REFUSALS:
                await record_denial(raw_request, self.operation.action)
                raise
            except Unauthenticated as refusal:
                await count_failed_credential(raw_request, refusal)
                raise
            finally:
                request = getattr(raw_request.state, "request", None)
                if isinstance(request, DocumentRequest) and request.upload is not None:
                    await close_opening(request.resources, request.context, request.upload)

        return handle_and_audit_denials

    async def _handle(self, raw_request: Request, handle: Handler) -> Response:
        resources: Resources = raw_request.app.state.resources
        if isinstance(self.operation, Upload):
            # Checked before any query, so that refusing an upload is cheap.
            require_upload_capacity(resources)
        async with self._open_connection(resources) as uow:
            request = self._create_request(raw_request, await self.authenticate(raw_request, uow))
            check_path(request)
            self.authorize(request)
            await self._load(request, uow)
            self._require_write_access(request)
            self._check_parameters(request)
            if self._handles_within_guard:
                return await handle(request.bind(uow))
            await self._check_limits(request, uow)
            await self._claim(request, uow)
        return await self._read_body_and_handle(request, handle)

    async def authenticate(self, request: Request, uow: UnitOfWork) -> Actor:
        """Return the caller; raises `Unauthenticated`, `Forbidden` or `RateLimited`."""
        raise NotImplementedError

    def authorize(self, request: ApiRequest) -> None:
        """Raise `Forbidden` unless the caller may use the operation."""

    async def find_customer(self, request: ApiRequest, uow: UnitOfWork) -> CustomerDocuments:
        """Return the customer in the path, with the documents that the request type needs."""
        return await find_customer_documents(
            uow,
            request.path_params["id"],
            self.document_selection(request),
            to_write=request.method != "GET",
        )

    def document_selection(self, request: Request) -> DocumentSelection:
        """Return which documents the request type needs; raises `ValidationFailed`."""
        check_path(request)
        if not issubclass(self.request_type, CustomerRequest):
            return DocumentSelection()
        which = self.request_type.loads
        key = request.path_params["key"] if which == "one" else None
        return DocumentSelection(which, key, self.api.shows_archived, self._plan_opening(request))

    def uploader(self, request: Request) -> Uploader:
        """Return what is known of the caller of an upload before the look-up."""
        actor: Actor = request.state.request.context.actor
        return Uploader(actor.kind, actor.id, writes_admin_only(actor))

    def _plan_opening(self, request: Request) -> UploadOpening | None:
        """Return what the look-up counts and reserves: for small uploads that may succeed.

        The rest of the guard decides as it would without this, and does what was left out.
        """
        if not (isinstance(self.operation, Upload) and self.request_type is DocumentRequest):
            return None
        try:
            self._check_parameters(request)
            declared = content_length(request)
        except DocvaultError:
            # Raised again at its own step: another refusal may come first.
            return None
        if declared is None or declared > OVERHEAD_BYTES or not is_multipart(request):
            return None
        return plan_opening(request.app.state.resources, self.uploader(request), declared)

    def _check_declaration(
        self, path: str, endpoint: Callable[..., Any], methods: set[str] | list[str]
    ) -> None:
        if isinstance(self.operation, Read) != ("GET" in methods):
            raise TypeError(f"{endpoint.__name__}: a GET declares Read, and nothing else does")
        is_about_customer = issubclass(self.request_type, CustomerRequest)
        if is_about_customer and not (self.api.callers_are_customers or CUSTOMER_PATH in path):
            raise TypeError(f"{endpoint.__name__}: no customer in the path {path}")
        if self.api.callers_are_customers and not is_about_customer:
            raise TypeError(f"{endpoint.__name__} takes no CustomerRequest")

    @property
    def _handles_within_guard(self) -> bool:
        """Whether there is no body to wait for: the endpoint uses the guard's connection."""
        return isinstance(self.operation, Read | NoBody) and self.operation.in_transaction

    def _open_connection(self, resources: Resources) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction for a change without a body, otherwise autocommit.

        Neither the guard nor a GET writes more than independent single statements.
        """
        if self._handles_within_guard and not isinstance(self.operation, Read):
            return resources.transaction(resources.system_context())
        return resources.autocommit(resources.system_context())

    def _create_request(self, raw_request: Request, actor: Actor) -> ApiRequest:
        resources: Resources = raw_request.app.state.resources
        context = RequestContext(
            actor, raw_request.state.request_id, resources.keyring, resources.settings
        )
        request = self.request_type(raw_request, context)
        # For the audit event of a denial, and for the access log.
        raw_request.state.request = request
        return request

    async def _load(self, request: ApiRequest, uow: UnitOfWork) -> None:
        if CUSTOMER_PATH in self.path:
            check_customer_id(request.path_params["id"])
        if isinstance(request, CustomerRequest):
            request.load(await self.find_customer(request, uow))

    def _require_write_access(self, request: ApiRequest) -> None:
        if isinstance(request, DocumentRequest) and not isinstance(self.operation, Read):
            require_write(request.context.actor, request.document.type)

    def _check_parameters(self, request: Request) -> None:
        check_parameters(request, self._known_query)
        if not isinstance(self.operation, Read):
            check_condition_headers(request, self.operation.conditions)

    async def _check_limits(self, request: ApiRequest, uow: UnitOfWork) -> None:
        """Check the storage quota, and count a customer's upload or change of values.

        A request that fails after this stays counted.
        """
        if isinstance(self.operation, Upload) and isinstance(request, CustomerRequest):
            await check_quota_before_body(request, uow)
        caller, limit = request.context.actor, self.customer_limit
        limits = request.resources.rate_limits
        upload = request.upload if isinstance(request, DocumentRequest) else None
        if upload is not None and upload.counted is not None:
            request.state.allowance = limits.check_counted(limit, [upload.counted])
        elif isinstance(caller, CustomerActor) and limit is not Limit.CUSTOMER_REQUESTS:
            request.state.allowance = await limits.hit_shared(uow, limit, [caller.external_id])

    async def _claim(self, request: ApiRequest, uow: UnitOfWork) -> None:
        if isinstance(self.operation, Change) and self.operation.idempotent:
            request.claim = await claim_from_header(request, uow)

    async def _read_body_and_handle(self, request: ApiRequest, handle: Handler) -> Response:
        """Handle the request; release the idempotency key when that fails."""
        try:
            if isinstance(self.operation, JsonBody):
                return await self._handle_json(request, handle, self.operation)
            return await handle(request)
        except BaseException:
            if request.claim is not None:
                await request.claim.release(request.resources, request.context)
            raise

    async def _handle_json(
        self, request: ApiRequest, handle: Handler, operation: JsonBody
    ) -> Response:
        if not has_body(request.scope):
            raise ValidationFailed("A JSON body is required.", pointer="")
        raw, parsed = await read_json_body(request, operation.max_body_bytes)
        request.fingerprint = fingerprint_of(raw)
        replay = request.claim.replay(request.fingerprint) if request.claim else None
        if replay is not None:
            return replay_response(replay)
        request.set_json(raw, parsed)
        if not operation.in_transaction:
            return await handle(request)
        async with request.resources.transaction(request.context) as uow:
            response = await handle(request.bind(uow))
            await request.complete(request.uow, to_stored_response(request.fingerprint, response))
        return response


def _request_type(endpoint: Callable[..., Any]) -> type[ApiRequest]:
    """Return the annotation of the parameter `request`."""
    annotation = get_type_hints(endpoint).get("request")
    if not isinstance(annotation, type) or not issubclass(annotation, ApiRequest):
        raise TypeError(f"{endpoint.__name__} takes no ApiRequest")
    return annotation
