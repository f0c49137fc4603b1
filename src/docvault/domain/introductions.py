"""The introduction of the documents section, sanitized when it is saved (R-071)."""

from enum import StrEnum
from typing import Final

import nh3
from markdown_it import MarkdownIt

MAX_SOURCE_LENGTH: Final = 20_000


class IntroductionFormat(StrEnum):
    """The format of the source."""

    HTML = "html"
    MARKDOWN = "markdown"


# Raw HTML in Markdown is shown as text: HTML is a format of its own.
_MARKDOWN = MarkdownIt("commonmark", {"html": False})

_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong",
    "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
}  # fmt: skip


def render_introduction(format_: IntroductionFormat, source: str) -> str:
    """Return safe HTML: text formatting, lists, tables and links; no scripts, styles or images."""
    html = _MARKDOWN.render(source) if format_ is IntroductionFormat.MARKDOWN else source
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href", "title"}, "abbr": {"title"}, "ol": {"start"}},
        url_schemes={"https", "http", "mailto", "tel"},
        link_rel="noopener noreferrer nofollow",
    )
