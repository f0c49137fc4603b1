"""The address of the client of a request."""

from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import Request

# The network that an internet provider usually assigns to one customer.
IPV6_NETWORK_BITS = 64


def client_network(request: Request) -> str:
    """Return the client's address, or its IPv6 network: one client has many addresses.

    Behind a proxy of `DOCVAULT_TRUSTED_PROXIES` it is the address that the proxy reports.
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
