"""The guarantees page, and the figures it is rendered from."""

import pytest
from tests.torture.figures import Size, record_name
from tests.torture.guarantees import DOCUMENT, RESULTS, Record, read, render

RECORD = Record(
    id="T99",
    promise="Nothing is lost.",
    tried="A door was slammed.",
    not_shown="Earthquakes.",
    case="",
    figures={"slams": 12345, "lost": 0, "noise": "some"},
    share=1.0,
    seconds=61,
    date="2026-01-02",
)


class TestDocument:
    def test_committed_document_matches_figures(self) -> None:
        assert DOCUMENT.read_text() == render(read(RESULTS))

    def test_promise_is_shown_with_figures_and_limits(self) -> None:
        text = render([RECORD])
        assert "## T99: Nothing is lost." in text
        assert "**Test.** A door was slammed." in text
        assert "**Not covered.** Earthquakes." in text
        for row in (
            "slams | 12,345",
            "lost | 0",
            "noise | some",
            "duration | 61 s",
            "date | 2026-",
        ):
            assert f"| {row}" in text
        assert "share" not in text

    def test_partial_run_shows_share(self) -> None:
        data = {name: getattr(RECORD, name) for name in Record.__slots__} | {"share": 0.25}
        assert "| share of the full size | 25% |" in render([Record(**data)])

    def test_cases_are_shown_side_by_side(self) -> None:
        data = {name: getattr(RECORD, name) for name in Record.__slots__}
        cases = [Record(**{**data, "case": case}) for case in ("files", "s3")]
        text = render(cases)
        assert text.count("## T99") == 1
        assert "|  | files | s3 |" in text
        assert "| slams | 12,345 | 12,345 |" in text


class TestSize:
    @pytest.mark.parametrize(
        ("share", "number"), [(None, 40), (1.0, 1000), (0.25, 250), (0.0001, 1)]
    )
    def test_size_depends_on_share(self, share: float | None, number: int) -> None:
        assert Size(share).of(ci=40, full=1000) == number


def test_each_test_has_own_record() -> None:
    assert record_name("T01", "test_kill_loses_nothing[s3]") == "t01-kill-loses-nothing-s3.json"
