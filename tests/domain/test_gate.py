"""The gate."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.documents import document, documents

from docvault.domain.document_status import totals
from docvault.domain.document_types import DocumentField, UploadMode
from docvault.domain.documents import Document
from docvault.domain.gate import GateDecision, evaluate_gate

REQUIRED = UploadMode.REQUIRED


class TestEvaluateGate:
    """`evaluate_gate`."""

    @pytest.mark.req("R-078")
    @pytest.mark.parametrize("enforced", [True, False])
    def test_gate_is_open_without_required_documents(self, enforced: bool) -> None:
        gate = evaluate_gate([], enforced=enforced)
        assert (gate.decision, gate.enforced, gate.missing) == (GateDecision.OPEN, enforced, ())

    @pytest.mark.req("R-074")
    def test_every_required_document_is_needed(self) -> None:
        first = document(key="a", upload_mode=REQUIRED, filled=True)
        second = document(key="b", upload_mode=REQUIRED)
        gate = evaluate_gate([first, second], enforced=True)
        assert (gate.decision, gate.missing) == (GateDecision.BLOCKED, ("b",))
        filled = document(key="b", upload_mode=REQUIRED, filled=True)
        assert evaluate_gate([first, filled], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("R-077", "R-037", "A-05", "R-030")
    @pytest.mark.parametrize("mode", [UploadMode.OPTIONAL, UploadMode.ADMIN_ONLY])
    def test_other_modes_never_block(self, mode: UploadMode) -> None:
        gate = evaluate_gate([document(upload_mode=mode)], enforced=True)
        assert (gate.decision, gate.missing) == (GateDecision.OPEN, ())

    @pytest.mark.req("A-22")
    def test_archived_types_never_block(self) -> None:
        archived = document(upload_mode=REQUIRED, archived=True)
        assert evaluate_gate([archived], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("A-10")
    def test_incomplete_document_blocks(self) -> None:
        field = DocumentField("f", "F", required=True)
        members: dict[str, Any] = {
            "upload_mode": REQUIRED,
            "collects_fields": True,
            "fields": (field,),
        }
        lacking = document(filled=True, **members)
        complete = document(filled=True, values={"f": "x"}, **members)
        assert evaluate_gate([lacking], enforced=True).decision is GateDecision.BLOCKED
        assert evaluate_gate([complete], enforced=True).decision is GateDecision.OPEN

    @pytest.mark.req("R-075")
    @given(st.lists(documents))
    def test_gate_is_open_when_not_enforced(self, many: list[Document]) -> None:
        gate = evaluate_gate(many, enforced=False)
        assert (gate.decision, gate.enforced) == (GateDecision.OPEN, False)
        assert gate.missing == evaluate_gate(many, enforced=True).missing

    @given(st.lists(documents))
    def test_gate_blocks_exactly_when_required_document_is_missing(
        self, many: list[Document]
    ) -> None:
        gate = evaluate_gate(many, enforced=True)
        assert len(gate.missing) == totals(many).required_missing
        assert (gate.decision is GateDecision.BLOCKED) == bool(gate.missing)

    @given(st.lists(documents))
    def test_missing_documents_keep_order(self, many: list[Document]) -> None:
        keys = [one.type.key for one in many]
        positions = iter(keys)
        assert all(key in positions for key in evaluate_gate(many, enforced=True).missing)

    @given(st.lists(documents), documents)
    def test_additional_document_never_opens_gate(
        self, many: list[Document], more: Document
    ) -> None:
        if evaluate_gate(many, enforced=True).decision is GateDecision.BLOCKED:
            assert evaluate_gate([*many, more], enforced=True).decision is GateDecision.BLOCKED
