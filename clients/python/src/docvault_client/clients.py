"""A client of each API, with its credential in the right header."""

import httpx

from docvault_client import admin, customer, integration

# A read of the event feed waits for up to 25 seconds.
_TIMEOUT = httpx.Timeout(60, connect=10)


def create_admin_client(base_url: str, token: str) -> admin.AuthenticatedClient:
    """Return a client of the admin API, for staff."""
    return admin.AuthenticatedClient(
        base_url, token, timeout=_TIMEOUT, raise_on_unexpected_status=True
    )


def create_customer_client(base_url: str, token: str) -> customer.AuthenticatedClient:
    """Return a client of the customer API."""
    return customer.AuthenticatedClient(
        base_url, token, timeout=_TIMEOUT, raise_on_unexpected_status=True
    )


def create_integration_client(base_url: str, api_key: str) -> integration.AuthenticatedClient:
    """Return a client of the integration API, for another system."""
    return integration.AuthenticatedClient(
        base_url,
        api_key,
        prefix="",
        auth_header_name="X-API-Key",
        timeout=_TIMEOUT,
        raise_on_unexpected_status=True,
    )
