"""The route classes of the three APIs, which differ in who may call them."""

from dataclasses import replace
from datetime import UTC, datetime

from fastapi import Request

from docvault.api.http.downloads import is_plain_download
from docvault.api.routing.operation import Api, Read
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.route import GuardedRoute
from docvault.auth.tokens import TokenClaims
from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor
from docvault.domain.audit import AuditAction
from docvault.domain.customer_documents import (
    CustomerDocuments,
    DocumentSelection,
    PlainDownload,
)
from docvault.domain.permissions import require_scope
from docvault.domain.rate_limits import Limit
from docvault.domain.upload_openings import Uploader
from docvault.errors import (
    AuthenticationRequired,
    CustomerNotRegistered,
    InsufficientScope,
    InvalidApiKey,
    InvalidToken,
    PortalSectionDisabled,
    RateLimited,
    TokenExpired,
)
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.authentication import (
    customer_from_claims,
    integration_from_key,
    staff_from_claims,
)
from docvault.services.resources import Resources
from docvault.storage.base import CHUNK_BYTES

BEARER_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="docvault"'}
INVALID_TOKEN_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="docvault", error="invalid_token"'}
KEY_CHALLENGE = {"WWW-Authenticate": 'ApiKey realm="docvault"'}

_TOKEN_ERRORS = (
    AuthenticationRequired,
    InvalidToken,
    TokenExpired,
    InsufficientScope,
    RateLimited,
)


class TokenRoute(GuardedRoute):
    """Callers with a bearer token (RFC 6750)."""

    async def verify_token(self, request: Request) -> TokenClaims:
        """Return the claims of the request's token.

        Raises `AuthenticationRequired`, `InvalidToken` or `TokenExpired`, each with its
        challenge, and `RateLimited` without a query.
        """
        values = request.headers.getlist("authorization")
        scheme, _, token = (values[0] if len(values) == 1 else "").partition(" ")
        token = token.strip(" \t")
        if scheme.lower() != "bearer" or not token:
            raise AuthenticationRequired(headers=BEARER_CHALLENGE)
        resources: Resources = request.app.state.resources
        try:
            claims = await resources.tokens.verify(token)
        except (InvalidToken, TokenExpired) as error:
            error.headers.update(INVALID_TOKEN_CHALLENGE)
            raise
        request.state.claims = claims
        if not self.is_exempt(claims):
            identity = _identity(claims)
            request.state.allowance = resources.rate_limits.hit_local(
                self.customer_limit, *identity
            )
        return claims

    def is_exempt(self, claims: TokenClaims) -> bool:  # noqa: ARG002 - `AdminRoute` reads them
        """Whether the holder's requests are not limited."""
        return False


def _identity(claims: TokenClaims) -> tuple[str, ...]:
    """Return whose limit a token counts towards; a subject must not use up a customer's."""
    if claims.customer is not None:
        return (claims.customer,)
    return ("subject", claims.subject)


class AdminRoute(TokenRoute):
    """Staff, by a token with a role that the operation admits."""

    api = Api("admin", "adminToken", _TOKEN_ERRORS, shows_archived=True)

    async def authenticate(self, request: Request, uow: UnitOfWork) -> Actor:
        """Return the staff member; needs no query."""
        del uow
        return staff_from_claims(await self.verify_token(request), self.operation.roles)

    def is_exempt(self, claims: TokenClaims) -> bool:
        """Whether the caller may use the operation: staff are not limited."""
        return not claims.roles.isdisjoint(self.operation.roles)


class CustomerRoute(TokenRoute):
    """A customer, by a token with the customer scope; the path never names one."""

    api = Api(
        "customer",
        "customerToken",
        (*_TOKEN_ERRORS, CustomerNotRegistered),
        callers_are_customers=True,
    )

    async def authenticate(self, request: Request, uow: UnitOfWork) -> Actor:
        """Return the customer; the same statement loads the documents for `find_customer`."""
        try:
            claims = await self.verify_token(request)
            choice = self._with_download(self.document_selection(request), request, claims)
            found = await customer_from_claims(uow, claims, choice)
        except InvalidToken as error:
            error.headers.update(INVALID_TOKEN_CHALLENGE)
            raise
        request.state.customer_documents = found
        return CustomerActor(found.customer.id, found.customer.external_id)

    def uploader(self, request: Request) -> Uploader:
        """Return the customer of the verified token."""
        claims: TokenClaims = request.state.claims
        return Uploader(
            kind=CustomerActor.kind,
            id=claims.customer or "",
            writes_admin_only=False,
            token_issued_at=datetime.fromtimestamp(claims.issued_at, UTC),
        )

    def _with_download(
        self, choice: DocumentSelection, request: Request, claims: TokenClaims
    ) -> DocumentSelection:
        """Let the statement that loads a document also record its plain download."""
        is_download = self.operation.action is AuditAction.DOCUMENT_DOWNLOAD
        if not is_download or claims.customer is None or not is_plain_download(request):
            return choice
        resources: Resources = request.app.state.resources
        download = PlainDownload(
            resources.keyring.pseudonym(claims.customer),
            request.state.request_id,
            datetime.fromtimestamp(claims.issued_at, UTC),
            CHUNK_BYTES,
        )
        return replace(choice, download=download)

    def authorize(self, request: ApiRequest) -> None:
        """Raise `PortalSectionDisabled` if the portal is off and the operation needs it."""
        found: CustomerDocuments = request.state.customer_documents
        request.subject = found.customer
        operation = self.operation
        always = isinstance(operation, Read) and operation.available_when_portal_disabled
        if not (found.switches.section_enabled or always):
            raise PortalSectionDisabled

    async def find_customer(self, request: ApiRequest, uow: UnitOfWork) -> CustomerDocuments:
        """Return what `authenticate` found."""
        del uow
        found: CustomerDocuments = request.state.customer_documents
        return found


class IntegrationRoute(GuardedRoute):
    """A third-party system, by an API key whose scopes allow the operation."""

    api = Api(
        "integration",
        "apiKey",
        (AuthenticationRequired, InvalidApiKey, InsufficientScope, RateLimited),
    )

    async def authenticate(self, request: Request, uow: UnitOfWork) -> Actor:
        """Return the holder of the key; raises `RateLimited` when it sends too many requests."""
        values = request.headers.getlist("x-api-key")
        if not values:
            raise AuthenticationRequired(headers=KEY_CHALLENGE)
        if len(values) > 1:
            raise InvalidApiKey(headers=KEY_CHALLENGE)
        resources: Resources = request.app.state.resources
        try:
            caller = await integration_from_key(uow, resources.keyring, values[0])
        except InvalidApiKey as error:
            error.headers.update(KEY_CHALLENGE)
            raise
        request.state.allowance = resources.rate_limits.hit_local(Limit.API_KEY_REQUESTS, caller.id)
        return caller

    def authorize(self, request: ApiRequest) -> None:
        """Raise `InsufficientScope` unless the key has the operation's scope (R-113)."""
        caller, scope = request.context.actor, self.operation.scope
        if self.operation.allows_every_key:
            return
        if not isinstance(caller, ApiKeyActor) or scope is None:
            raise TypeError("an integration route admits keys and names a scope")
        require_scope(caller, scope)
