"""The introduction: formatting is kept, everything else is removed."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.domain.introductions import IntroductionFormat, render_introduction

HTML, MARKDOWN = IntroductionFormat.HTML, IntroductionFormat.MARKDOWN
FRAGMENTS = st.lists(
    st.sampled_from(
        ["<script>", "</script>", "<img src=x onerror=alert(1)>", "<a href='", "javascript:",
         "java\tscript:", "'>", "</a>", "<svg/onload=alert(1)>", "<style>", "</style>", "<!--",
         "-->", "<p style='x'>", "<iframe src=//x>", "<math><mi>", "<b onclick=x>", "&lt;script",
         "&#106;avascript:", "\0", "<", ">", '"', "`", "[x](", ")", "data:text/html,", "x", "\n",
         "# ", "<table><td background=javascript:x>", "<template>", "<noscript>", "<title>",
         '<a href=http:x title="', "]]>", "<?php", "<details open ontoggle=x>", "vbscript:"]
    ),
    max_size=12,
).map("".join)  # fmt: skip
DANGEROUS = {"script", "style", "iframe", "img", "svg", "math", "object", "embed", "form", "input",
             "meta", "base", "link", "template", "noscript", "title", "details"}  # fmt: skip


class Markup(HTMLParser):
    """The tags and attributes of a fragment of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


class TestRenderIntroduction:
    """`render_introduction`."""

    @pytest.mark.req("R-071")
    @pytest.mark.parametrize(
        "source",
        [
            "<p>a <b>b</b> <i>i</i> <u>u</u> <em>e</em> <strong>s</strong></p>",
            '<h1>1</h1><h2>2</h2><ul><li>a</li></ul><ol start="3"><li>b</li></ol>',
            "<blockquote>q</blockquote><pre><code>c</code></pre><hr>",
            "<table><tbody><tr><td>x</td></tr></tbody></table>",
        ],
    )
    def test_formatting_survives(self, source: str) -> None:
        assert render_introduction(HTML, source) == source

    @pytest.mark.req("R-071", "A-23")
    @pytest.mark.parametrize(
        ("source", "html"),
        [
            ("**a** *b* `c`", "<p><strong>a</strong> <em>b</em> <code>c</code></p>\n"),
            ("# T", "<h1>T</h1>\n"),
            ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
            ("a <b>b</b>", "<p>a &lt;b&gt;b&lt;/b&gt;</p>\n"),
        ],
    )
    def test_markdown_is_rendered(self, source: str, html: str) -> None:
        assert render_introduction(MARKDOWN, source) == html

    @pytest.mark.parametrize("scheme", ["https", "http", "mailto", "tel"])
    def test_links_get_noopener_and_noreferrer(self, scheme: str) -> None:
        html = render_introduction(HTML, f'<a href="{scheme}:x" target="_blank">x</a>')
        assert html == f'<a href="{scheme}:x" rel="noopener noreferrer nofollow">x</a>'

    @pytest.mark.req("R-071")
    @pytest.mark.parametrize(
        "source",
        [
            "<script>alert(1)</script>",
            "<style>p{}</style>",
            "<iframe src=x></iframe>",
            "<img src=x onerror=alert(1)>",
            "<svg onload=alert(1)></svg>",
        ],
    )
    def test_active_content_is_removed(self, source: str) -> None:
        assert render_introduction(HTML, source) == ""

    @pytest.mark.req("R-071")
    @given(FRAGMENTS, st.sampled_from(IntroductionFormat))
    def test_mixed_markup_is_sanitized(self, source: str, format_: IntroductionFormat) -> None:
        markup = Markup(render_introduction(format_, source))
        assert not markup.tags & DANGEROUS
        for name, value in markup.attributes:
            assert name in {"href", "title", "rel", "start"}
            scheme = value.strip().lower().partition(":")[0]
            assert name != "href" or scheme not in {"javascript", "data", "vbscript"}

    @given(FRAGMENTS)
    def test_sanitising_is_idempotent(self, source: str) -> None:
        once = render_introduction(HTML, source)
        assert render_introduction(HTML, once) == once

    @given(st.text(max_size=200), st.sampled_from(IntroductionFormat))
    def test_any_text_can_be_rendered(self, source: str, format_: IntroductionFormat) -> None:
        assert isinstance(render_introduction(format_, source), str)
