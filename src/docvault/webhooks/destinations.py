"""Where webhooks may be sent: names that lead to public addresses, and what operators add (D28)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from docvault.addresses import LAST_PORT, split_host
from docvault.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_NAME_LENGTH = 253

# Neither user names, percent signs, backslashes nor fragments; `target` is sent as it is.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>([/?][!$-;=?-\[\]_a-z~]*)?)",
    re.IGNORECASE | re.ASCII,
)
# A last label that begins with a letter: resolvers read `127.1`, `0x7f.1` and `1` as addresses.
_NAME = re.compile(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9_-]{0,61}[a-z0-9])?")

# Special ranges that some versions of Python take for global (F24).
_SPECIAL = [
    ip_network(range_)
    for range_ in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
]
_UNICAST_6 = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


class DestinationRefused(Exception):
    """The policy does not allow this URL, or an address that its host resolves to."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The parts of a URL that was checked."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The host if it is an address; None if it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_public(self) -> bool:
        """Whether its form is allowed without any setting."""
        is_name = self.address is None and "." in self.host
        return is_name and self.scheme == "https" and self.port == DEFAULT_PORTS["https"]


class Destinations:
    """The operators' policy.

    Without settings: `https` to a name, on port 443, whose addresses are all global unicast. In
    `networks` addresses, any port and `http` are allowed too; `hosts` may have any address.
    """

    def __init__(
        self, networks: Iterable[str] = (), hosts: Iterable[str] = (), proxy: str | None = None
    ) -> None:
        self._networks: Sequence[Network] = [ip_network(network) for network in networks]
        self._hosts = {split_host(host) for host in hosts}
        # It resolves the names and decides about their addresses.
        self.proxy = proxy

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the policy that the settings describe."""
        return cls(
            settings.webhook_allowed_networks,
            settings.webhook_allowed_hosts,
            settings.webhook_proxy,
        )

    def check(self, url: str) -> Destination:
        """Return where a URL leads; raises `DestinationRefused`. Nothing is resolved."""
        destination = _parse(url)
        if not (
            self._is_allowed_host(destination)
            or destination.is_public
            or self._may_be_in_networks(destination)
        ):
            raise DestinationRefused
        return destination

    def check_addresses(self, destination: Destination, addresses: Iterable[str]) -> None:
        """Raise `DestinationRefused` unless every address of the host is allowed."""
        if not all(self._allows(destination, address) for address in addresses):
            raise DestinationRefused

    def _is_allowed_host(self, destination: Destination) -> bool:
        ports = (destination.port, None) if _has_default_port(destination) else (destination.port,)
        return any((destination.host, port) in self._hosts for port in ports)

    def _may_be_in_networks(self, destination: Destination) -> bool:
        address = destination.address
        return bool(self._networks) if address is None else self._is_in_networks(_unwrap(address))

    def _is_in_networks(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _allows(self, destination: Destination, text: str) -> bool:
        if self._is_allowed_host(destination):
            return True
        address = _unwrap(ip_address(text))
        return self._is_in_networks(address) or (
            destination.is_public and is_global_unicast(address)
        )


def is_global_unicast(address: Address) -> bool:
    """Whether an address belongs to one interface of the public internet."""
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved)
        and not any(address in network for network in _SPECIAL)
        and (isinstance(address, IPv4Address) or address in _UNICAST_6)
    )


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that is reached through a mapped or a NAT64 address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _has_default_port(destination: Destination) -> bool:
    return destination.port == DEFAULT_PORTS[destination.scheme]


def _parse(url: str) -> Destination:
    match = _URL.fullmatch(url)
    if match is None:
        raise DestinationRefused
    scheme, host, target = match["scheme"].lower(), match["host"].lower(), match["target"]
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if port > LAST_PORT or len(host) > MAX_NAME_LENGTH:
        raise DestinationRefused
    if not _NAME.fullmatch(host):
        host = _read_literal(host)
    return Destination(scheme, host, port, target if target.startswith("/") else f"/{target}")


def _read_literal(host: str) -> str:
    """Return an address as Python writes it, so that there is one text for each."""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))
    except ValueError:
        raise DestinationRefused from None
