"""The network that a failed credential is counted for."""

import pytest
from fastapi import Request

from docvault.api.http.client_address import client_network


def network_of(address: str) -> str:
    return client_network(Request({"type": "http", "client": (address, 1)}))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        # How a dual-stack socket reports IPv4 clients, all of which are in one /64.
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("not an address", "not an address"),
    ],
)
def test_client_is_ipv4_address_or_ipv6_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_ipv4_clients_of_dual_stack_socket_are_counted_separately() -> None:
    assert network_of("::ffff:192.0.2.1") != network_of("::ffff:192.0.2.2")
