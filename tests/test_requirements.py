"""The list of requirements, and the document it is made from."""

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
    def test_it_has_every_id_once_with_a_text(self):
        entries = parse(DOCUMENT.read_text(encoding="utf-8"))
        assert [entry.id for entry in entries] == [
            *ids("R", 3, REQUIREMENTS),
            *ids("A", 2, DECISIONS),
        ]
        assert Counter(entry.id[0] for entry in entries) == {"R": 89, "A": 33}
        assert len({entry.text for entry in entries}) == len(entries)
        assert all(entry.text for entry in entries)


class TestParse:
    def test_rows_become_entries_in_their_order(self):
        document = "| R-002 | It `closes`. |\n|---|---|\n|R-001|  It opens.  |\n"
        assert parse(document) == [Entry("R-002", "It `closes`."), Entry("R-001", "It opens.")]

    def test_a_decision_is_known_by_its_question(self):
        assert parse("| A-01 | Twice? | No. |\n") == [Entry("A-01", "Twice?")]

    def test_ids_in_a_sentence_or_a_later_cell_are_no_entries(self):
        assert parse("A test names R-001.\n| id | requirement |\n| word | R-001 |\n") == []

    def test_a_row_without_text_is_kept_so_that_it_can_be_found(self):
        assert parse("| R-001 |  |\n| R-002 | It closes. |\n")[0] == Entry("R-001", "")


class TestUntested:
    def test_a_requirement_that_no_test_names_is_reported(self):
        assert untested(ENTRIES, {"R-001": [TEST]}) == ["R-002"]

    def test_a_decision_needs_no_test(self):
        assert untested(ENTRIES, {"R-001": [TEST], "R-002": [TEST]}) == []


class TestUnknown:
    def test_an_id_that_the_document_lacks_is_reported(self):
        assert unknown(ENTRIES, {"R-01": [TEST], "A-02": [TEST]}) == ["A-02", "R-01"]

    def test_requirements_and_decisions_are_known(self):
        assert unknown(ENTRIES, {"R-001": [TEST], "A-01": [TEST]}) == []


class TestReport:
    def test_it_shows_every_requirement_and_the_decisions_that_have_tests(self):
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

    def test_a_decision_with_a_test_is_listed(self):
        assert f"A-01 Twice?\n    {TEST}\n" in report(ENTRIES, {"A-01": [TEST]})

    def test_a_wrong_id_is_told_with_the_tests_that_name_it(self):
        assert f"No such id: R-01, named by\n    {TEST}\n" in report(ENTRIES, {"R-01": [TEST]})
