"""The issuers that a deployment trusts, according to its settings."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from docvault.auth.jwks import REFRESH_PAUSE_SECONDS, RemoteKeys, StaticKeys
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.tokens import TokenVerifier, TrustedIssuer
from docvault.domain.scopes import ADMIN_SCOPE, AUDITOR_SCOPE, CUSTOMER_SCOPE
from docvault.issuers import SIMPLE_NAME, CustomerRule, Issuer, StaffRule
from docvault.settings import Settings

_SCOPE_CLAIMS = ("scope", "scp")


def open_verifier(settings: Settings, client: httpx.AsyncClient) -> TokenVerifier:
    """Return a verifier of the trusted issuers' tokens, or of local ones if there is none."""
    issuers = list(settings.issuers)
    if settings.jwt_jwks_url is not None and settings.jwt_issuer is not None:
        issuers.append(simple_issuer(settings, settings.jwt_issuer))
    if not issuers:
        local = LocalIssuer(settings)
        issuers.append(simple_issuer(settings, local.issuer, local.public_keys()))
    return TokenVerifier(TrustedIssuer(issuer, _open_keys(issuer, client)) for issuer in issuers)


def simple_issuer(settings: Settings, issuer: str, jwks: Mapping[str, Any] | None = None) -> Issuer:
    """Return the issuer of the `DOCVAULT_JWT_*` settings, with a key set if it is local."""
    return Issuer(
        name=SIMPLE_NAME,
        issuer=issuer,
        jwks_url=None if jwks else settings.jwt_jwks_url,
        jwks=dict(jwks) if jwks else None,
        audience=(settings.jwt_audience,),
        algorithms=settings.jwt_algorithms,
        types=settings.jwt_types,
        staff=StaffRule(claim=_SCOPE_CLAIMS, admin=(ADMIN_SCOPE,), auditor=(AUDITOR_SCOPE,)),
        customers=CustomerRule(
            id=settings.jwt_customer_claim, claim=_SCOPE_CLAIMS, values=(CUSTOMER_SCOPE,)
        ),
    )


def _open_keys(issuer: Issuer, client: httpx.AsyncClient) -> RemoteKeys | StaticKeys:
    if issuer.jwks_url is None:
        return StaticKeys(issuer.jwks or {})
    return RemoteKeys(issuer.jwks_url, client, issuer.name)


@asynccontextmanager
async def keys_fetched(verifier: TokenVerifier) -> AsyncIterator[None]:
    """Fetch the keys of every issuer once, and those that failed again until they are there.

    So a mistake is reported at the start rather than at the first token, and a process that load
    balancers avoid because it has no keys gets them without a request.
    """
    await asyncio.gather(*(one.keys.refresh() for one in verifier.trusted))
    task = asyncio.create_task(_retry(verifier))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _retry(verifier: TokenVerifier) -> None:
    while True:
        # Somewhat more than the pause, or every other try would come too early.
        await asyncio.sleep(REFRESH_PAUSE_SECONDS + 1)
        failing = [one.keys for one in verifier.trusted if one.keys.failure is not None]
        await asyncio.gather(*(keys.refresh() for keys in failing))
