"""Where webhooks may go: the forms of URLs and addresses (F24, D28)."""

import socket

import pytest
from tests.factories.hosts import HOSTS, NOT_PUBLIC, URLS

from docvault.settings import Settings
from docvault.webhooks.destinations import Destination, DestinationRefused, Destinations

PUBLIC = Destinations()


def check(
    address: str, destinations: Destinations = PUBLIC, url: str = "https://example.org/"
) -> None:
    destinations.check_addresses(destinations.check(url), [address])


@pytest.mark.req("B-251")
class TestUrl:
    """Destinations.check() without settings."""

    @pytest.mark.parametrize(
        ("url", "host", "target"),
        [
            ("https://example.org", "example.org", "/"),
            ("https://example.org:443/", "example.org", "/"),
            ("HTTPS://Hooks.Example.ORG/A", "hooks.example.org", "/A"),
            ("https://xn--bcher-kva.example?a=b", "xn--bcher-kva.example", "/?a=b"),
            ("https://a-1.b_c.co/%C3%A9;v=1,2?q=[1]&e=@", "a-1.b_c.co", "/%C3%A9;v=1,2?q=[1]&e=@"),
            ("https://1.2.3.4.example.org/", "1.2.3.4.example.org", "/"),
        ],
    )
    def test_name_by_https_is_allowed(self, url: str, host: str, target: str) -> None:
        assert PUBLIC.check(url) == Destination("https", host, 443, target)

    @pytest.mark.parametrize("host", HOSTS)
    def test_host_that_is_no_public_name_is_refused(self, host: str) -> None:
        for url in (f"https://{host}/", f"https://{host}:443/", f"https://x@{host}/"):
            with pytest.raises(DestinationRefused):
                PUBLIC.check(url)

    @pytest.mark.parametrize("url", URLS)
    def test_other_url_is_refused(self, url: str) -> None:
        with pytest.raises(DestinationRefused):
            PUBLIC.check(url)

    def test_refusal_quotes_nothing(self) -> None:
        with pytest.raises(DestinationRefused) as caught:
            PUBLIC.check("https://canary@127.0.0.1/")
        assert str(caught.value) == ""


@pytest.mark.req("B-251")
class TestAddress:
    """Destinations.check_addresses() without settings."""

    @pytest.mark.parametrize("address", NOT_PUBLIC)
    def test_address_that_is_not_public_is_refused(self, address: str) -> None:
        with pytest.raises(DestinationRefused):
            check(address)

    @pytest.mark.parametrize(
        "address",
        [
            *("1.1.1.1", "8.8.8.8", "93.184.215.14", "223.255.255.254", "2606:4700::1111"),
            *("2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
        ],
    )
    def test_public_address_is_allowed(self, address: str) -> None:
        check(address)

    @pytest.mark.parametrize("others", [["10.0.0.1"], ["8.8.8.8", "::1"], ["127.0.0.1", "1.1.1.1"]])
    def test_one_refused_address_refuses_the_host(self, others: list[str]) -> None:
        with pytest.raises(DestinationRefused):
            PUBLIC.check_addresses(PUBLIC.check("https://example.org/"), ["1.1.1.1", *others])

    @pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "0x7f.1", "①②⑦.⓪.⓪.①"])
    def test_text_that_resolvers_read_as_loopback_is_no_name(self, host: str) -> None:
        # What makes the rule for names necessary (F24).
        assert socket.getaddrinfo(host, 443)[0][4][0] == "127.0.0.1"
        with pytest.raises(DestinationRefused):
            PUBLIC.check(f"https://{host}/")


@pytest.mark.req("B-252")
class TestNetworks:
    """DOCVAULT_WEBHOOK_ALLOWED_NETWORKS."""

    INSIDE = Destinations(networks=["10.20.0.0/16", "fd00:1::/32"])

    @pytest.mark.parametrize(
        "url",
        [
            *("http://n8n/hook", "http://n8n.internal:5678/", "https://n8n.internal:8443/"),
            *("https://n8n.internal/", "http://10.20.1.2:8080/", "https://10.20.1.2/"),
            *("http://[fd00:1::5]:8080/", "http://[::ffff:10.20.1.2]/"),
        ],
    )
    @pytest.mark.parametrize("address", ["10.20.1.2", "::ffff:10.20.1.2", "fd00:1::5"])
    def test_any_scheme_and_port_is_allowed_inside(self, url: str, address: str) -> None:
        check(address, self.INSIDE, url)

    @pytest.mark.parametrize(
        "url",
        [
            *("http://10.21.0.1/", "http://127.0.0.1/", "http://[fd00:2::1]/", "http://1.1.1.1/"),
            *("http://2130706433/", "http://10.5121/", "http://0x0a.20.0.1/", "http://012.20.0.1/"),
            *("ftp://n8n/", "http://user@n8n/", "http://[fd00:1::5%25eth0]/", "http://n8n./"),
        ],
    )
    def test_url_outside_is_refused(self, url: str) -> None:
        with pytest.raises(DestinationRefused):
            self.INSIDE.check(url)

    @pytest.mark.parametrize("url", ["http://n8n.internal/", "https://n8n.internal:8443/"])
    @pytest.mark.parametrize("address", ["10.21.0.1", "127.0.0.1", "1.1.1.1", "::ffff:10.21.0.1"])
    def test_address_outside_is_refused(self, url: str, address: str) -> None:
        with pytest.raises(DestinationRefused):
            check(address, self.INSIDE, url)

    def test_public_address_stays_allowed_by_https(self) -> None:
        check("1.1.1.1", self.INSIDE)
        self.INSIDE.check_addresses(
            self.INSIDE.check("https://example.org/"), ["1.1.1.1", "10.20.0.1"]
        )

    def test_other_private_address_stays_refused(self) -> None:
        with pytest.raises(DestinationRefused):
            check("192.168.0.1", self.INSIDE)


@pytest.mark.req("B-252")
class TestHosts:
    """DOCVAULT_WEBHOOK_ALLOWED_HOSTS."""

    NAMED = Destinations(hosts=["n8n.internal:5678", "crm", "127.0.0.1:9000", "[::1]:9000"])

    @pytest.mark.parametrize(
        "url",
        [
            *("http://n8n.internal:5678/x", "https://N8N.internal:5678/", "http://crm/"),
            *("https://crm/", "http://crm:80/", "http://127.0.0.1:9000/", "http://[::1]:9000/"),
        ],
    )
    def test_named_host_may_lead_anywhere(self, url: str) -> None:
        check("127.0.0.1", self.NAMED, url)

    @pytest.mark.parametrize(
        "url",
        [
            *("http://n8n.internal/", "https://n8n.internal:5679/", "http://crm:8080/"),
            *("https://crm:80/", "http://x.crm/", "http://127.0.0.1:9001/", "http://127.1:9000/"),
        ],
    )
    def test_other_host_or_port_is_refused(self, url: str) -> None:
        with pytest.raises(DestinationRefused):
            self.NAMED.check(url)


@pytest.mark.req("B-252")
class TestSettings:
    """Destinations.of()."""

    def test_settings_open_what_they_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCVAULT_WEBHOOK_ALLOWED_NETWORKS", "10.20.0.0/16, 192.168.7.1")
        monkeypatch.setenv("DOCVAULT_WEBHOOK_ALLOWED_HOSTS", "n8n.internal:5678,crm")
        destinations = Destinations.of(Settings())
        check("192.168.7.1", destinations)
        check("127.0.0.1", destinations, "http://crm/")
        assert destinations.proxy is None

    def test_proxy_is_part_of_the_policy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCVAULT_WEBHOOK_PROXY", "http://egress.internal:3128")
        assert Destinations.of(Settings()).proxy == "http://egress.internal:3128"
