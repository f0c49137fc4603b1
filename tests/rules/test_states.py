"""The state of a slot, and counts over slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.slots import slot, slots

from docvault.rules.slots import FieldFacts, Slot, UploadMode
from docvault.rules.states import Status, UploadState, is_due, status, totals, upload_state

NEEDED = FieldFacts("f", "F", required=True)
WANTED = FieldFacts("g", "G", required=False)


class TestStatus:
    """`upload_state` and `status`."""

    def test_an_empty_slot_is_missing(self) -> None:
        empty = slot()
        assert (upload_state(empty), status(empty)) == (UploadState.MISSING, Status.MISSING)

    def test_a_file_makes_it_uploaded(self) -> None:
        filled = slot(filled=True)
        assert (upload_state(filled), status(filled)) == (UploadState.UPLOADED, Status.ACCEPTED)

    @pytest.mark.req("A-11")
    def test_values_without_a_file_are_nothing_yet(self) -> None:
        draft = slot(values={"f": "x"}, collects_fields=True, fields=(NEEDED,))
        assert (upload_state(draft), status(draft)) == (UploadState.MISSING, Status.MISSING)

    @pytest.mark.req("A-10")
    @pytest.mark.parametrize("value", [None, "", " ", "\t", "\r\n", " \t\r\n "])
    def test_a_required_field_without_a_value_leaves_it_incomplete(self, value: str | None) -> None:
        values = {} if value is None else {"f": value}
        filled = slot(filled=True, values=values, collects_fields=True, fields=(NEEDED,))
        assert status(filled) is Status.INCOMPLETE
        assert upload_state(filled) is UploadState.UPLOADED

    @pytest.mark.req("A-10")
    @pytest.mark.parametrize("value", ["x", " x ", "0", "\u00a0", "🪪"])
    def test_any_other_value_completes_it(self, value: str) -> None:
        fields = (NEEDED, WANTED)
        filled = slot(filled=True, values={"f": value}, collects_fields=True, fields=fields)
        assert status(filled) is Status.ACCEPTED

    @pytest.mark.req("R-019")
    def test_fields_that_are_not_asked_do_not_count(self) -> None:
        assert status(slot(filled=True, fields=(NEEDED,))) is Status.ACCEPTED

    @given(slots)
    def test_a_file_decides_the_state_alone(self, any_slot: Slot) -> None:
        assert (upload_state(any_slot) is UploadState.MISSING) == (any_slot.version is None)
        assert (status(any_slot) is Status.MISSING) == (any_slot.version is None)


class TestIsDue:
    """`is_due`."""

    @pytest.mark.req("R-031", "R-030", "R-037")
    @pytest.mark.parametrize("mode", list(UploadMode))
    def test_only_an_empty_required_slot_is_due(self, mode: UploadMode) -> None:
        assert is_due(slot(upload_mode=mode)) == (mode is UploadMode.REQUIRED)
        assert not is_due(slot(upload_mode=mode, filled=True))

    @given(slots)
    def test_what_is_due_is_required_and_not_accepted(self, any_slot: Slot) -> None:
        required = any_slot.type.upload_mode is UploadMode.REQUIRED
        assert is_due(any_slot) == (required and status(any_slot) is not Status.ACCEPTED)


class TestShownValues:
    """`Slot.shown_values`."""

    @pytest.mark.req("R-019", "A-13")
    @given(slots)
    def test_only_values_of_asked_fields_show(self, any_slot: Slot) -> None:
        asked = {field.key for field in any_slot.type.fields}
        if not any_slot.type.collects_fields:
            asked = set()
        expected = {k: v for k, v in any_slot.field_values.items() if k in asked}
        assert any_slot.shown_values == expected


class TestTotals:
    """`totals`."""

    def test_nothing_counts_as_nothing(self) -> None:
        counts = totals([])
        assert (counts.uploaded, counts.missing, counts.required_missing) == (0, 0, 0)

    @given(st.lists(slots))
    def test_every_active_slot_is_either_uploaded_or_missing(self, many: list[Slot]) -> None:
        counts = totals(many)
        active = [one for one in many if not one.type.archived]
        assert counts.uploaded + counts.missing == len(active)
        assert counts.uploaded == sum(one.version is not None for one in active)
        assert counts.required_missing == sum(map(is_due, active))

    @given(st.lists(slots))
    def test_the_order_does_not_matter(self, many: list[Slot]) -> None:
        assert totals(many) == totals(many[::-1]) == totals(iter(many))
