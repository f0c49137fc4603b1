"""The list of requirements, and the document it is read from."""

from collections import Counter

from tests.requirements import DOCUMENT, Entry, parse, report, unknown, untested

# First and last number of each topic.
REQUIREMENTS = [
    (1, 9), (10, 23), (30, 37), (40, 47), (50, 58),
    (60, 65), (70, 80), (90, 97), (100, 107), (110, 117),
]  # fmt: skip
DECISIONS = [(1, 33)]

ENTRIES = [Entry("R-001", "It opens."), Entry("R-002", "It closes."), Entry("A-01", "Twice?")]
TEST = "tests/test_door.py::TestDoor::test_it_opens"


def ids(letter: str, width: int, ranges: list[tuple[int, int]]) -> list[str]:
    return [f"{letter}-{n:0{width}}" for first, last in ranges for n in range(first, last + 1)]


class TestDocument:
    def test_document_has_every_id_once_with_text(self) -> None:
        entries = parse(DOCUMENT.read_text(encoding="utf-8"))
        documented = [entry.id for entry in entries if entry.id[0] != "B"]
        assert documented == [*ids("R", 3, REQUIREMENTS), *ids("A", 2, DECISIONS)]
        assert Counter(entry_id[0] for entry_id in documented) == {"R": 89, "A": 33}
        assert len({entry.id for entry in entries}) == len(entries)
        assert len({entry.text for entry in entries}) == len(entries)
        assert all(entry.text for entry in entries)


class TestParse:
    def test_rows_become_entries_in_order(self) -> None:
        document = "| R-002 | It `closes`. |\n|---|---|\n|R-001|  It opens.  |\n"
        assert parse(document) == [Entry("R-002", "It `closes`."), Entry("R-001", "It opens.")]

    def test_decision_is_recognised_by_question(self) -> None:
        assert parse("| A-01 | Twice? | No. |\n") == [Entry("A-01", "Twice?")]

    def test_ids_in_text_or_later_cells_are_not_entries(self) -> None:
        assert parse("A test names R-001.\n| id | requirement |\n| word | R-001 |\n") == []

    def test_row_without_text_is_kept(self) -> None:
        assert parse("| R-001 |  |\n| R-002 | It closes. |\n")[0] == Entry("R-001", "")


class TestUntested:
    def test_untested_requirement_is_reported(self) -> None:
        assert untested(ENTRIES, {"R-001": [TEST]}) == ["R-002"]

    def test_decision_needs_no_test(self) -> None:
        assert untested(ENTRIES, {"R-001": [TEST], "R-002": [TEST]}) == []


class TestUnknown:
    def test_unknown_id_is_reported(self) -> None:
        assert unknown(ENTRIES, {"R-01": [TEST], "A-02": [TEST]}) == ["A-02", "R-01"]

    def test_requirements_and_decisions_are_known(self) -> None:
        assert unknown(ENTRIES, {"R-001": [TEST], "A-01": [TEST]}) == []


class TestReport:
    def test_report_lists_all_requirements_and_tested_decisions(self) -> None:
        assert report(ENTRIES, {"R-001": [TEST, f"{TEST}_again"]}) == (
            "R-001 It opens.\n"
            f"    {TEST}\n"
            f"    {TEST}_again\n"
            "\n"
            "R-002 It closes.\n"
            "    no test\n"
            "\n"
            "1 of 2 requirements are shown by a test.\n"
            "Without a test: R-002\n"
        )

    def test_decision_with_a_test_is_listed(self) -> None:
        assert f"A-01 Twice?\n    {TEST}\n" in report(ENTRIES, {"A-01": [TEST]})

    def test_unknown_id_is_reported_with_its_tests(self) -> None:
        assert f"No such id: R-01, named by\n    {TEST}\n" in report(ENTRIES, {"R-01": [TEST]})
