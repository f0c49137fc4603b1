"""Credentials that are not valid: how many of them somebody may send in a minute (D18)."""

from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import Request

from docvault.auth.api_keys import parse_key
from docvault.auth.principals import Access
from docvault.errors import (
    AuthenticationRequired,
    DatabaseUnavailable,
    InvalidApiKey,
    TokenExpired,
    Unauthenticated,
)
from docvault.rules.rate_limits import Limit
from docvault.services.resources import Resources

# What one customer of an internet provider has to themselves.
IPV6_NETWORK_BITS = 64


async def count_failed_credential(request: Request, refusal: Unauthenticated) -> None:
    """Count what was refused; raises `RateLimited`, to be answered in its place.

    A valid credential is never counted and never kept out, whoever else fails at its address.
    """
    if isinstance(refusal, AuthenticationRequired):
        return
    resources: Resources = request.app.state.resources
    credential, shared = _credential(request, refusal)
    whos = [("credential", credential)]
    if not isinstance(refusal, TokenExpired):
        # An expired token is no attempt at another's: its holder alone waits.
        whos.append(("address", client_network(request)))
    for who in whos:
        resources.rate_limits.count_here(Limit.FAILED_CREDENTIALS, *who)
    if not shared:
        return
    # When nothing can be counted, the refusal is answered all the same.
    with suppress(DatabaseUnavailable):
        async with resources.statements(Access.everyone()) as unit:
            limits = resources.rate_limits
            await limits.count_everywhere(unit, Limit.FAILED_CREDENTIALS, *whos)


def _credential(request: Request, refusal: Unauthenticated) -> tuple[str, bool]:
    """Return what was presented, and whether all processes count it.

    A key whose checksum is wrong is a typing error and costs no database access (D13).
    """
    if not isinstance(refusal, InvalidApiKey):
        return request.headers["authorization"], True
    text = request.headers["x-api-key"]
    key = parse_key(text)
    return (text, False) if key is None else (key.public_id, True)


def client_network(request: Request) -> str:
    """Return whose address a request comes from; one client has a whole IPv6 network.

    Behind a proxy of `DOCVAULT_TRUSTED_PROXIES` it is the address that the proxy names.
    """
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
