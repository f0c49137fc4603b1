"""The gate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.slots import slot, slots

from docvault.rules.gate import GateDecision, evaluate_gate
from docvault.rules.slots import FieldFacts, Slot, UploadMode
from docvault.rules.states import totals

REQUIRED = UploadMode.REQUIRED


class TestEvaluateGate:
    """`evaluate_gate`."""

    @pytest.mark.req("R-078")
    @pytest.mark.parametrize("enforced", [True, False])
    def test_nothing_required_is_open(self, enforced: bool) -> None:
        gate = evaluate_gate([], enforced=enforced)
        assert (gate.decision, gate.enforced, gate.missing) == (GateDecision.OPEN, enforced, ())

    @pytest.mark.req("R-074")
    def test_each_required_document_is_needed(self) -> None:
        first = slot(key="a", upload_mode=REQUIRED, filled=True)
        second = slot(key="b", upload_mode=REQUIRED)
        gate = evaluate_gate([first, second], enforced=True)
        assert (gate.decision, gate.missing) == (GateDecision.BLOCKED, ("b",))
        filled = slot(key="b", upload_mode=REQUIRED, filled=True)
        assert evaluate_gate([first, filled], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("R-077", "R-037", "A-05", "R-030")
    @pytest.mark.parametrize("mode", [UploadMode.OPTIONAL, UploadMode.ADMIN_ONLY])
    def test_other_modes_never_block(self, mode: UploadMode) -> None:
        gate = evaluate_gate([slot(upload_mode=mode)], enforced=True)
        assert (gate.decision, gate.missing) == (GateDecision.OPEN, ())

    @pytest.mark.req("A-22")
    def test_archived_types_never_block(self) -> None:
        archived = slot(upload_mode=REQUIRED, archived=True)
        assert evaluate_gate([archived], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("A-10")
    def test_an_incomplete_document_blocks(self) -> None:
        field = FieldFacts("f", "F", required=True)
        members = {"upload_mode": REQUIRED, "collects_fields": True, "fields": (field,)}
        lacking = slot(filled=True, **members)
        complete = slot(filled=True, values={"f": "x"}, **members)
        assert evaluate_gate([lacking], enforced=True).decision is GateDecision.BLOCKED
        assert evaluate_gate([complete], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("R-075")
    @given(st.lists(slots))
    def test_it_is_open_whatever_is_missing_while_not_enforced(self, many: list[Slot]) -> None:
        gate = evaluate_gate(many, enforced=False)
        assert (gate.decision, gate.enforced) == (GateDecision.OPEN, False)
        assert gate.missing == evaluate_gate(many, enforced=True).missing

    @given(st.lists(slots))
    def test_it_blocks_exactly_when_something_required_is_missing(self, many: list[Slot]) -> None:
        gate = evaluate_gate(many, enforced=True)
        assert len(gate.missing) == totals(many).required_missing
        assert (gate.decision is GateDecision.BLOCKED) == bool(gate.missing)

    @given(st.lists(slots))
    def test_what_is_missing_keeps_the_order(self, many: list[Slot]) -> None:
        keys = [one.type.key for one in many]
        positions = iter(keys)
        assert all(key in positions for key in evaluate_gate(many, enforced=True).missing)

    @given(st.lists(slots), slots)
    def test_another_slot_never_opens_it(self, many: list[Slot], more: Slot) -> None:
        if evaluate_gate(many, enforced=True).decision is GateDecision.BLOCKED:
            assert evaluate_gate([*many, more], enforced=True).decision is GateDecision.BLOCKED
