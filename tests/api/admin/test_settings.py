"""The settings of the customers' personal area."""

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
    """Send PATCH whatever the present ETag is."""
    return await admin.patch(PORTAL, json=members, headers={"If-Match": "*"})


async def html_of(admin: httpx.AsyncClient, source: str, format_: str = "html") -> str:
    """Set an introduction and return its safe HTML."""
    introduction = {"format": format_, "source": source}
    answer = await change(admin, introduction=introduction)
    assert answer.status_code == 200, answer.text
    assert answer.json()["introduction"]["source"] == source
    html: str = answer.json()["introduction"]["html"]
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


class TestRead:
    """GET /v1/admin/settings/portal."""

    @pytest.mark.req("R-070", "R-073", "A-19")
    async def test_the_section_is_on_and_the_rest_off_at_first(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert (await admin.get(PORTAL)).json() == {
            "section_enabled": True,
            "gate_enabled": False,
            "customer_may_delete": False,
            "introduction": None,
        }

    async def test_an_unchanged_etag_is_not_sent_again(self, admin: httpx.AsyncClient) -> None:
        etag = (await admin.get(PORTAL)).headers["etag"]
        answer = await admin.get(PORTAL, headers={"If-None-Match": etag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag

    @pytest.mark.req("R-080")
    async def test_a_change_of_the_types_does_not_touch_the_settings(
        self, admin: httpx.AsyncClient
    ) -> None:
        etag = (await admin.get(PORTAL)).headers["etag"]
        await make_type(admin, "T", upload_mode="required")
        assert (await admin.get(PORTAL)).headers["etag"] == etag


class TestUpdate:
    """PATCH /v1/admin/settings/portal."""

    async def test_if_match_is_required(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.patch(PORTAL, json={"gate_enabled": True})
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition-required")
        assert (await admin.get(PORTAL)).json()["gate_enabled"] is False

    async def test_the_etag_of_before_a_change_fails(self, admin: httpx.AsyncClient) -> None:
        old = (await admin.get(PORTAL)).headers["etag"]
        await patch_portal(admin, customer_may_delete=True)
        headers = {"If-Match": old}
        answer = await admin.patch(PORTAL, json={"gate_enabled": True}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
        assert (await admin.get(PORTAL)).json()["gate_enabled"] is False

    async def test_the_answer_has_the_new_etag(self, admin: httpx.AsyncClient) -> None:
        answer = await change(admin, gate_enabled=True)
        read = await admin.get(PORTAL)
        assert (read.json(), read.headers["etag"]) == (answer.json(), answer.headers["etag"])

    async def test_an_empty_patch_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        before = (await admin.get(PORTAL)).headers["etag"]
        answer = await change(admin)
        assert (answer.status_code, answer.headers["etag"]) == (200, before)

    @pytest.mark.req("A-08")
    @pytest.mark.parametrize("start", [(True, False), (True, True), (False, False)])
    async def test_the_gate_needs_the_section_in_every_combination(
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
            answer = await change(admin, **patch)
            wanted = {**dict(zip(names, start, strict=True)), **patch}
            allowed = wanted["section_enabled"] or not wanted["gate_enabled"]
            stored = (await admin.get(PORTAL)).json()
            assert answer.status_code == (200 if allowed else 422), (start, patch)
            assert allowed or answer.json()["code"] == "gate-requires-section"
            expected = wanted if allowed else dict(zip(names, start, strict=True))
            assert {name: stored[name] for name in names} == expected

    @pytest.mark.parametrize("value", [None, "on", 1, 0, "true", [], {}])
    async def test_a_switch_is_true_or_false(self, admin: httpx.AsyncClient, value: Any) -> None:
        for name in SWITCHES:
            answer = await change(admin, **{name: value})
            assert answer.status_code == 422, name
            assert answer.json()["errors"][0]["pointer"] == f"/{name}"

    async def test_an_unknown_member_is_pointed_at(self, admin: httpx.AsyncClient) -> None:
        introduction = {"format": "html", "source": "x", "html": "<script>"}
        answer = await change(admin, nope=1, introduction=introduction)
        pointers = [error["pointer"] for error in answer.json()["errors"]]
        assert answer.status_code == 422
        assert sorted(pointers) == ["/introduction/html", "/nope"]

    @pytest.mark.req("R-070", "A-07")
    async def test_switching_the_section_closes_and_opens_it_at_once(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        statuses = []
        for enabled in (False, True):
            await patch_portal(admin, section_enabled=enabled)
            statuses.append((await customer_of("c-1").get("/v1/customer/documents")).status_code)
        assert statuses == [403, 200]

    @pytest.mark.req("R-074", "R-075", "R-079")
    async def test_switching_the_gate_changes_verdicts_at_once(
        self, admin: httpx.AsyncClient
    ) -> None:
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
    async def test_what_could_run_or_disguise_is_removed(
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
    async def test_markdown_links_run_nothing(self, admin: httpx.AsyncClient, source: str) -> None:
        assert "href" not in await html_of(admin, source, "markdown")

    @pytest.mark.req("R-072")
    async def test_the_customer_gets_the_safe_html_alone(
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

    async def test_it_stays_when_the_patch_does_not_name_it(self, admin: httpx.AsyncClient) -> None:
        await html_of(admin, "Hi")
        assert (await change(admin, gate_enabled=True)).json()["introduction"]["source"] == "Hi"

    async def test_its_length_is_bounded(self, admin: httpx.AsyncClient) -> None:
        assert len(await html_of(admin, "x" * 20_000)) == 20_000
        introduction = {"format": "html", "source": "x" * 20_001}
        answer = await change(admin, introduction=introduction)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/introduction/source"

    async def test_the_longest_one_fits_whatever_its_characters(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert await html_of(admin, "🪪" * 20_000) == "🪪" * 20_000

    @pytest.mark.parametrize(
        "introduction",
        [{"source": "x"}, {"format": "html"}, {"format": "bbcode", "source": "x"}, "x", [],
         {"format": "html", "source": None}, {"format": "html", "source": "a\0b"}],
    )  # fmt: skip
    async def test_half_of_it_is_refused(self, admin: httpx.AsyncClient, introduction: Any) -> None:
        answer = await change(admin, introduction=introduction)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"].startswith("/introduction")
