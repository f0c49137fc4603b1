"""The settings of the customer portal."""

import asyncio
import itertools
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, patch_portal
from tests.fixtures.callers import CustomerClients

PORTAL = "/v1/admin/settings/portal"
SWITCHES = ("section_enabled", "gate_enabled", "customer_may_delete")


async def change(admin: httpx.AsyncClient, **members: Any) -> httpx.Response:
    """Send PATCH regardless of the current ETag."""
    return await admin.patch(PORTAL, json=members, headers={"If-Match": "*"})


async def html_of(admin: httpx.AsyncClient, source: str, format_: str = "html") -> str:
    """Set an introduction and return its sanitized HTML."""
    introduction = {"format": format_, "source": source}
    response = await change(admin, introduction=introduction)
    assert response.status_code == 200, response.text
    assert response.json()["introduction"]["source"] == source
    html: str = response.json()["introduction"]["html"]
    return html


class Markup(HTMLParser):
    """The tags and attributes of an HTML fragment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


async def test_only_one_concurrent_update_succeeds(admin: httpx.AsyncClient) -> None:
    headers = {"If-Match": (await admin.get(PORTAL)).headers["etag"]}
    responses = await asyncio.gather(
        *(
            admin.patch(
                PORTAL,
                json={"introduction": {"format": "html", "source": f"<p>{number}</p>"}},
                headers=headers,
            )
            for number in range(8)
        )
    )
    assert sorted(response.status_code for response in responses) == [200] + [412] * 7


class TestRead:
    """GET /v1/admin/settings/portal."""

    @pytest.mark.req("R-070", "R-073", "A-19")
    async def test_portal_is_enabled_and_gate_disabled_by_default(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert (await admin.get(PORTAL)).json() == {
            "section_enabled": True,
            "gate_enabled": False,
            "customer_may_delete": False,
            "introduction": None,
        }

    async def test_matching_etag_returns_not_modified(self, admin: httpx.AsyncClient) -> None:
        etag = (await admin.get(PORTAL)).headers["etag"]
        response = await admin.get(PORTAL, headers={"If-None-Match": etag})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag

    @pytest.mark.req("R-080")
    async def test_type_change_does_not_change_settings_etag(
        self, admin: httpx.AsyncClient
    ) -> None:
        etag = (await admin.get(PORTAL)).headers["etag"]
        await make_type(admin, "T", upload_mode="required")
        assert (await admin.get(PORTAL)).headers["etag"] == etag


class TestUpdate:
    """PATCH /v1/admin/settings/portal."""

    async def test_if_match_is_required(self, admin: httpx.AsyncClient) -> None:
        response = await admin.patch(PORTAL, json={"gate_enabled": True})
        assert (response.status_code, response.json()["code"]) == (428, "precondition-required")
        assert (await admin.get(PORTAL)).json()["gate_enabled"] is False

    async def test_stale_etag_is_rejected(self, admin: httpx.AsyncClient) -> None:
        old = (await admin.get(PORTAL)).headers["etag"]
        await patch_portal(admin, customer_may_delete=True)
        headers = {"If-Match": old}
        response = await admin.patch(PORTAL, json={"gate_enabled": True}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (412, "precondition-failed")
        assert (await admin.get(PORTAL)).json()["gate_enabled"] is False

    async def test_response_has_new_etag(self, admin: httpx.AsyncClient) -> None:
        response = await change(admin, gate_enabled=True)
        read = await admin.get(PORTAL)
        assert (read.json(), read.headers["etag"]) == (response.json(), response.headers["etag"])

    async def test_empty_patch_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        before = (await admin.get(PORTAL)).headers["etag"]
        response = await change(admin)
        assert (response.status_code, response.headers["etag"]) == (200, before)

    @pytest.mark.req("A-08")
    @pytest.mark.parametrize("start", [(True, False), (True, True), (False, False)])
    async def test_gate_requires_enabled_portal(
        self, admin: httpx.AsyncClient, start: tuple[bool, bool]
    ) -> None:
        names = ("section_enabled", "gate_enabled")
        for section, gate in itertools.product((None, True, False), repeat=2):
            patch = {
                name: value
                for name, value in zip(names, (section, gate), strict=True)
                if value is not None
            }
            await change(admin, **dict(zip(names, start, strict=True)))
            response = await change(admin, **patch)
            wanted = {**dict(zip(names, start, strict=True)), **patch}
            allowed = wanted["section_enabled"] or not wanted["gate_enabled"]
            stored = (await admin.get(PORTAL)).json()
            assert response.status_code == (200 if allowed else 422), (start, patch)
            assert allowed or response.json()["code"] == "gate-requires-section"
            expected = wanted if allowed else dict(zip(names, start, strict=True))
            assert {name: stored[name] for name in names} == expected

    @pytest.mark.parametrize("value", [None, "on", 1, 0, "true", [], {}])
    async def test_non_boolean_switch_is_rejected(
        self, admin: httpx.AsyncClient, value: Any
    ) -> None:
        for name in SWITCHES:
            response = await change(admin, **{name: value})
            assert response.status_code == 422, name
            assert response.json()["errors"][0]["pointer"] == f"/{name}"

    async def test_unknown_member_has_pointer(self, admin: httpx.AsyncClient) -> None:
        introduction = {"format": "html", "source": "x", "html": "<script>"}
        response = await change(admin, nope=1, introduction=introduction)
        pointers = [error["pointer"] for error in response.json()["errors"]]
        assert response.status_code == 422
        assert sorted(pointers) == ["/introduction/html", "/nope"]

    @pytest.mark.req("R-070", "A-07")
    async def test_portal_switch_takes_effect_immediately(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        statuses = []
        for enabled in (False, True):
            await patch_portal(admin, section_enabled=enabled)
            statuses.append((await customer_of("c-1").get("/v1/customer/documents")).status_code)
        assert statuses == [403, 200]

    @pytest.mark.req("R-074", "R-075", "R-079")
    async def test_gate_switch_takes_effect_immediately(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        decisions = []
        for enabled in (False, True, False):
            await patch_portal(admin, gate_enabled=enabled)
            gate = (await admin.get("/v1/admin/customers/c-1/gate")).json()
            decisions.append((gate["decision"], gate["enforced"], gate["missing"]))
        off, on = ("open", False, ["t"]), ("blocked", True, ["t"])
        assert decisions == [off, on, off]


class TestIntroduction:
    """`introduction` of PATCH /v1/admin/settings/portal."""

    @pytest.mark.req("R-071", "A-23")
    async def test_html_keeps_its_formatting(self, admin: httpx.AsyncClient) -> None:
        source = '<h2>Hi</h2><p>We <b>need</b> <a href="https://example.org/">this</a></p>'
        html = await html_of(admin, source)
        assert "<h2>Hi</h2>" in html
        assert "<b>need</b>" in html
        assert 'href="https://example.org/"' in html

    @pytest.mark.req("R-071", "A-23")
    async def test_markdown_is_rendered(self, admin: httpx.AsyncClient) -> None:
        html = await html_of(admin, "# Hi\n\n- **one**\n- *two*", "markdown")
        assert "<h1>Hi</h1>" in html
        assert "<li><strong>one</strong></li>" in html
        assert "<li><em>two</em></li>" in html

    @pytest.mark.req("R-071")
    @pytest.mark.parametrize("format_", ["html", "markdown"])
    async def test_active_or_disguising_markup_is_removed(
        self, admin: httpx.AsyncClient, format_: str
    ) -> None:
        hostile = [
            "<p>a<script>alert(1)</script></p>",
            '<img src=x onerror="alert(1)">',
            '<b onclick="alert(1)">b</b>',
            '<a href="javascript:alert(1)">x</a>',
            '<a href="&#106;avascript:alert(1)">x</a>',
            '<a href="java\tscript:alert(1)">x</a>',
            '<a href="data:text/html,x">x</a>',
            '<p style="position:fixed">x</p>',
            "<style>p{}</style>",
            '<iframe src="https://example.org">',
            "<svg><script>alert(1)</script></svg>",
            "<math><mi//xlink:href='data:x'>",
            '<form action="https://example.org"><input name=x></form>',
            "<object data=x></object><embed src=x>",
            '<meta http-equiv="refresh" content="0">',
            '<base href="https://example.org">',
            "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        ]
        for source in hostile:
            markup = Markup(await html_of(admin, source, format_))
            assert markup.tags <= {"p", "b", "a"}, source
            assert markup.attributes <= {"rel"}, source

    @pytest.mark.req("R-071")
    @pytest.mark.parametrize(
        "source",
        [
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](data:text/html;base64,x)",
            "[x]: javascript:alert(1)\n\n[x]",
            "<javascript:alert(1)>",
        ],
    )
    async def test_markdown_links_are_safe(self, admin: httpx.AsyncClient, source: str) -> None:
        assert "href" not in await html_of(admin, source, "markdown")

    @pytest.mark.req("R-072")
    async def test_customer_gets_only_sanitized_html(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        html = await html_of(admin, "<b>Hi</b><script>alert(1)</script>")
        portal = (await customer_of("c-1").get("/v1/customer/portal")).json()
        assert portal["introduction"] == {"html": html} == {"html": "<b>Hi</b>"}

    async def test_null_clears_it(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        await html_of(admin, "Hi")
        assert (await change(admin, introduction=None)).json()["introduction"] is None
        portal = (await customer_of("c-1").get("/v1/customer/portal")).json()
        assert portal["introduction"] is None

    async def test_introduction_is_kept_when_absent_from_patch(
        self, admin: httpx.AsyncClient
    ) -> None:
        await html_of(admin, "Hi")
        assert (await change(admin, gate_enabled=True)).json()["introduction"]["source"] == "Hi"

    async def test_length_is_limited(self, admin: httpx.AsyncClient) -> None:
        assert len(await html_of(admin, "x" * 20_000)) == 20_000
        introduction = {"format": "html", "source": "x" * 20_001}
        response = await change(admin, introduction=introduction)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/introduction/source"

    async def test_longest_introduction_of_any_characters_fits(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert await html_of(admin, "🪪" * 20_000) == "🪪" * 20_000

    @pytest.mark.parametrize(
        "introduction",
        [{"source": "x"}, {"format": "html"}, {"format": "bbcode", "source": "x"}, "x", [],
         {"format": "html", "source": None}, {"format": "html", "source": "a\0b"}],
    )  # fmt: skip
    async def test_partial_introduction_is_rejected(
        self, admin: httpx.AsyncClient, introduction: Any
    ) -> None:
        response = await change(admin, introduction=introduction)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"].startswith("/introduction")
