"""Who may enter: one guarded route class for each audience."""

from fastapi import Request

from docvault.api.calls import Call
from docvault.api.operations import GuardedRoute
from docvault.auth.principals import Caller, CustomerCaller, Integration
from docvault.auth.tokens import TokenClaims
from docvault.errors import (
    AuthenticationRequired,
    CallerUnknown,
    InsufficientScope,
    InvalidApiKey,
    InvalidToken,
    Overloaded,
    PortalSectionDisabled,
    RateLimited,
    TokenExpired,
)
from docvault.repositories.unit import Unit
from docvault.rules.rate_limits import Limit
from docvault.services.authentication import (
    customer_from_claims,
    integration_from_key,
    staff_from_claims,
)
from docvault.services.resources import Resources

BEARER_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="docvault"'}
INVALID_TOKEN_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="docvault", error="invalid_token"'}
KEY_CHALLENGE = {"WWW-Authenticate": 'ApiKey realm="docvault"'}

_TOKEN_ERRORS = (
    AuthenticationRequired,
    InvalidToken,
    TokenExpired,
    InsufficientScope,
    RateLimited,
    Overloaded,
)


class TokenRoute(GuardedRoute):
    """Callers with a bearer token (RFC 6750)."""

    async def claims(self, request: Request) -> TokenClaims:
        """Return what the request's token says.

        Raises `AuthenticationRequired`, `InvalidToken` or `TokenExpired`, each with its
        challenge, and `RateLimited` for a customer, before anything is asked of the database.
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
        if claims.customer is not None:
            limit = self.operation.customer_limit
            resources.rate_limits.count_here(limit, claims.customer)
        return claims


class AdminRoute(TokenRoute):
    """Staff, by a token with the admin scope."""

    audience = "admin"
    common_errors = _TOKEN_ERRORS
    security_scheme = "adminToken"
    sees_archived = True

    async def authenticate(self, request: Request, unit: Unit) -> Caller:
        """Return the staff member; the database is not asked."""
        del unit
        return staff_from_claims(await self.claims(request))


class CustomerRoute(TokenRoute):
    """A customer, by a token with the customer scope; the path never names one."""

    audience = "customer"
    common_errors = (*_TOKEN_ERRORS, CallerUnknown)
    security_scheme = "customerToken"

    async def authenticate(self, request: Request, unit: Unit) -> Caller:
        """Return the customer, who has to be known."""
        try:
            claims = await self.claims(request)
            dossier = await customer_from_claims(unit, claims, self.slot_choice(request))
        except InvalidToken as error:
            error.headers.update(INVALID_TOKEN_CHALLENGE)
            raise
        request.state.dossier = dossier
        return CustomerCaller(dossier.customer.id, dossier.customer.external_id)

    async def admit(self, call: Call, unit: Unit) -> None:
        """Say whose request it is; close the section when it is switched off (A-07)."""
        del unit
        call.dossier_or_none = call.state.dossier
        if not (call.switches.section_enabled or self.operation.works_without_section):
            raise PortalSectionDisabled


class IntegrationRoute(GuardedRoute):
    """A third-party system, by an API key whose scopes allow the operation."""

    audience = "integration"
    common_errors = (AuthenticationRequired, InvalidApiKey, InsufficientScope, RateLimited)
    security_scheme = "apiKey"

    async def authenticate(self, request: Request, unit: Unit) -> Caller:
        """Return the holder of the key; raises `RateLimited` when it asks too often."""
        values = request.headers.getlist("x-api-key")
        if not values:
            raise AuthenticationRequired(headers=KEY_CHALLENGE)
        if len(values) > 1:
            raise InvalidApiKey(headers=KEY_CHALLENGE)
        resources: Resources = request.app.state.resources
        try:
            caller = await integration_from_key(unit, resources.keyring, values[0])
        except InvalidApiKey as error:
            error.headers.update(KEY_CHALLENGE)
            raise
        resources.rate_limits.count_here(Limit.API_KEY_REQUESTS, caller.id)
        return caller

    async def admit(self, call: Call, unit: Unit) -> None:
        """Check the scope (R-113)."""
        del unit
        caller, scope = call.asker.caller, self.operation.scope
        if not isinstance(caller, Integration) or scope is None:
            raise TypeError("an integration route admits keys and names a scope")
        if scope not in caller.scopes:
            raise InsufficientScope(f"The key lacks the scope {scope}.")
