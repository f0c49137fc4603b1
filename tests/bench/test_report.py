"""The report of the bench: a page and charts from the results of the scenarios."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench.measure import Check, Plot, Result
from bench.scenarios import scenarios

from bench import report

MACHINE = {
    "date": "2026-11-24T12:00:00+00:00",
    "revision": "abc1234",
    "load_before": 0.1,
    "processor": "A processor",
    "peers": {"directus": "12.4.0"},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return tmp_path / "docs" / "benchmarks.md"


def upload_result() -> Result:
    result = Result("P1", "Uploads", "at least 5 times Directus", "per_second")
    result.rounds = {
        "docvault": [{"per_second": 100.0}, {"per_second": 300.0}, {"per_second": 200.0}],
        "tus-server": [{"per_second": 400.0}, {"per_second": 400.0}, {"per_second": 400.0}],
    }
    result.missing["directus"] = "npm is not installed"
    result.check_ratio("docvault", "directus", "per_second", at_least=(5, 10))
    result.check_ratio("docvault", "tus-server", "per_second", at_least=(0.4, 0.75))
    result.checks.append(Check("memory", 1234.5, 200, "lower", unit=" MiB"))
    return result


def keep(folder: Path, name: str, result: Result, *, quick: bool = False) -> None:
    whole: dict[str, Any] = {**result.as_json(), "machine": MACHINE, "quick": quick}
    (folder / f"{name}.json").write_text(json.dumps({**whole, "took_seconds": 12.3}))


def line_with(page: str, *texts: str) -> str:
    (line,) = (line for line in page.splitlines() if all(text in line for text in texts))
    return line


def test_page_shows_figures_beside_targets(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result())
    report.write(results, document)
    page = document.read_text()
    reached = line_with(page, "| P1 |", "docvault / tus-server")
    assert reached.endswith("| 0.5 | ≥ 0.4 | ≥ 0.75 | yes |")
    assert line_with(page, "| P1 |", "memory").endswith("| 1,234 MiB | ≤ 200 MiB |  | **no** |")


def test_page_says_above_the_table_what_is_missed_and_why(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result())
    report.write(results, document)
    before, table, _ = document.read_text().partition("| row | what |")
    assert table
    why = scenarios()["p1"].LIMITED_BY
    assert line_with(before, "**P1**") == f"- **P1**: memory 1,234 MiB instead of 200 MiB. {why}"


def test_page_without_missed_targets_says_so(results: Path, document: Path) -> None:
    report.write(results, document)
    assert "No measured target is missed." in document.read_text()


def test_page_explains_missing_comparisons(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result())
    report.write(results, document)
    page = document.read_text()
    unknown = line_with(page, "| P1 |", "docvault / directus")
    assert unknown.endswith("|  | ≥ 5 | ≥ 10 | peer missing |")
    assert "Without directus: npm is not installed" in page


def test_page_has_row_for_unmeasured_scenario(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result())
    report.write(results, document)
    assert line_with(document.read_text(), "| P7 |").endswith("| not measured |")


def test_page_states_date_machine_and_versions(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result())
    report.write(results, document)
    page = document.read_text()
    assert "Measured 2026-11-24 at commit abc1234" in page
    assert "- processor: A processor" in page
    assert "- peers: directus 12.4.0" in page


def test_quick_run_is_marked(results: Path, document: Path) -> None:
    keep(results, "p1", upload_result(), quick=True)
    report.write(results, document)
    assert "A quick run" in document.read_text()


def test_charts_are_static_and_old_ones_are_deleted(results: Path, document: Path) -> None:
    result = upload_result()
    points = [(1.0, 2.0), (10.0, 4.0)]
    result.plots.append(Plot("Growth", "MiB", "ms", {"upload": points}, logarithmic=True))
    keep(results, "p1", result)
    old = document.with_suffix("") / "p1-9.svg"
    old.parent.mkdir(parents=True)
    old.touch()
    report.write(results, document)
    pictures = sorted(old.parent.iterdir())
    assert [picture.name for picture in pictures] == ["p1-1.svg", "p1.svg"]
    for picture in pictures:
        assert f"(benchmarks/{picture.name})" in document.read_text()
        tags = [node.tag for node in ElementTree.parse(picture).iter()]
        assert tags[0].endswith("svg")
        assert not [tag for tag in tags if tag.endswith("script")]


def test_long_tables_are_truncated(results: Path, document: Path) -> None:
    result = upload_result()
    result.tables["Queries"] = [{"query": f"q{number}", "p95_ms": 1.0} for number in range(50)]
    keep(results, "p1", result)
    report.write(results, document)
    page = document.read_text()
    assert "Queries (10 of 50):" in page
    assert "| q9 | 1 |" in page
    assert "q10" not in page


def test_every_target_has_scenario() -> None:
    found = scenarios()
    assert list(found)[:10] == [f"p{number}" for number in range(1, 11)]
    for module in found.values():
        assert module.TITLE
        assert module.TARGET
        assert callable(module.measure)
