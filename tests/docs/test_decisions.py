"""Decision pages have a common format and are all in the index."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))

HEADER = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"Status: (?P<status>accepted|superseded(?: in part)? by .+) · Date: (?P<date>[\d-]+)\n\n"
)
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives"]


def header(page: Path) -> re.Match[str]:
    """Return title, status and date of a page."""
    match = HEADER.match(page.read_text())
    assert match is not None, f"{page.name} has no title, status and date"
    return match


def index_rows() -> Iterator[list[str]]:
    """Return the cells of each row of the index."""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("| ["):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestPage:
    def test_filename_is_number_and_title(self, page: Path) -> None:
        found = header(page)
        title = re.sub(r"[^a-z0-9]+", "-", found["title"].lower()).strip("-")
        assert page.name == f"{int(found['number']):04}-{title}.md"

    def test_has_a_date(self, page: Path) -> None:
        assert date.fromisoformat(header(page)["date"])

    def test_has_its_sections_in_order(self, page: Path) -> None:
        assert re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(), re.MULTILINE) == SECTIONS


def test_index_lists_every_page_with_title_date_and_status() -> None:
    expected = []
    for page in PAGES:
        found = header(page)
        link = f"[{page.name[:4]}]({page.name})"
        expected.append([link, found["title"], found["date"], found["status"]])
    assert list(index_rows()) == expected
