"""Every id, link and file that code and documentation refer to exists."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY_DESIGN = ROOT / "docs" / "explanation" / "security-design.md"
DECISIONS = ROOT / "docs" / "decisions"

# An id of the security design, as in "D13", "(T08)" and "D9b". A letter and a number that are part
# of something longer do not match: "/F1" in a PDF, "%F0%9F", "A-14", "c-1%0A".
ID = re.compile(r"(?<![\w/%#\\+.-])[DFTX]\d{1,2}b?(?![\w%-])")
# A row or an item that defines an id: an anchor, and the same id in bold.
EXPLANATION = re.compile(r'<a id="([dftx]\d{1,2}b?)"></a>\*\*(\w+)\*\*')
# Used only by the test of docs/guarantees.md.
EXAMPLE_ID = "T99"
DECISION = re.compile(r"\bdecisions? (\d{1,4})\b", re.IGNORECASE)
TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
SOURCE = ROOT / "src" / "docvault"
PACKAGES = "|".join(path.name for path in SOURCE.iterdir() if path.is_dir())
SOURCE_FILE = re.compile(rf"`((?:{PACKAGES})/[\w/]*(?:\.py|/))`")
MAKE_TARGET = re.compile(r"(?:^|`)make ([a-z-]+)")

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)">')
SCHEME = re.compile(r"[a-z]+:")


def texts(*folders: str) -> Iterator[Path]:
    """Return the text files to check: code, SQL and documentation; not what npm has installed."""
    for folder in folders:
        for suffix in ("md", "py", "sql"):
            for path in sorted((ROOT / folder).rglob(f"*.{suffix}")):
                if "node_modules" not in path.parts:
                    yield path


def pages() -> list[Path]:
    """Return every page of documentation."""
    written = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")]
    return sorted(
        {*written, *(p for p in texts("docs", "tests", "bench", "clients") if p.suffix == ".md")}
    )


def located(pattern: re.Pattern[str], path: Path) -> Iterator[tuple[str, str]]:
    """Return the matches in a file, each with its location."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        for match in pattern.finditer(line):
            yield match[match.re.groups], f"{path.relative_to(ROOT)}:{number}"


def slug(heading: str) -> str:
    """Return the anchor that GitHub generates for a heading."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    """Return every anchor of a page."""
    text = page.read_text()
    return set(ANCHOR.findall(text)) | {slug(h) for h in HEADING.findall(FENCE.sub("", text))}


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether the file of a relative link exists, and its anchor if it has one."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


def test_every_security_design_id_is_explained() -> None:
    explained = {name for _, name in EXPLANATION.findall(SECURITY_DESIGN.read_text())}
    folders = ("src", "tests", "docs", "migrations", "bench", "deploy")
    dangling = [
        f"{place}: {name}"
        for path in texts(*folders)
        for name, place in located(ID, path)
        if name not in explained | {EXAMPLE_ID}
    ]
    assert dangling == []


def test_each_id_has_one_explanation_and_anchor() -> None:
    explanations = EXPLANATION.findall(SECURITY_DESIGN.read_text())
    assert [name for anchor, name in explanations if anchor != name.lower()] == []
    names = [name for _, name in explanations]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("the reaper (D6)", ["D6"]),
        ("rules D1 to D9b, T08.", ["D1", "D9b", "T08"]),
        ("SECURITY F28;", ["F28"]),
        ("BT/F1 24 Tf", []),
        ("%F0%9F %0A", []),
        ("A-14, 2026-11-24T05:00, 0xD9", []),
    ],
)
def test_ids_are_distinguished_from_similar_text(text: str, ids: list[str]) -> None:
    assert ID.findall(text) == ids


def test_relative_links_resolve() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages()
        for link in LINK.findall(FENCE.sub("", page.read_text()))
        if not SCHEME.match(link) and not leads_somewhere(page, link)
    ]
    assert broken == []


def test_broken_link_is_detected() -> None:
    assert leads_somewhere(SECURITY_DESIGN, "#d13")
    assert leads_somewhere(SECURITY_DESIGN, "../../SECURITY.md#reporting")
    assert not leads_somewhere(SECURITY_DESIGN, "#d99")
    assert not leads_somewhere(SECURITY_DESIGN, "missing.md")
    assert not leads_somewhere(SECURITY_DESIGN, "../../SECURITY.md#missing")


def test_named_decisions_exist() -> None:
    numbers = {int(path.name[:4]) for path in DECISIONS.glob("[0-9]*.md")}
    missing = [
        f"{place}: {number}"
        for path in texts("src", "tests", "docs", "migrations", "bench")
        for number, place in located(DECISION, path)
        if int(number) not in numbers
    ]
    assert missing == []


def test_named_test_files_exist() -> None:
    missing = [
        f"{place}: {name}"
        for page in pages()
        for name, place in located(TEST_FILE, page)
        if not (ROOT / name).is_file()
    ]
    assert missing == []


def test_named_source_files_exist() -> None:
    missing = [
        f"{place}: {name}"
        for page in pages()
        for name, place in located(SOURCE_FILE, page)
        if not (SOURCE / name).exists()
    ]
    assert missing == []


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = [
        f"{place}: {name}"
        for page in pages()
        for name, place in located(MAKE_TARGET, page)
        if name not in targets
    ]
    assert missing == []


def test_documentation_map_links_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in LINK.findall(index.read_text())
    }
    written = set(index.parent.rglob("*.md")) - set(DECISIONS.glob("[0-9]*.md")) - {index}
    assert sorted(written - linked) == []
