"""The status of a document, and counts of documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.documents import document, documents

from docvault.domain.document_status import (
    Status,
    UploadState,
    is_due,
    status,
    totals,
    upload_state,
)
from docvault.domain.document_types import DocumentField, UploadMode
from docvault.domain.documents import Document

NEEDED = DocumentField("f", "F", required=True)
WANTED = DocumentField("g", "G", required=False)


class TestStatus:
    """`upload_state` and `status`."""

    def test_document_without_file_is_missing(self) -> None:
        empty = document()
        assert (upload_state(empty), status(empty)) == (UploadState.MISSING, Status.MISSING)

    def test_document_with_file_is_uploaded(self) -> None:
        filled = document(filled=True)
        assert (upload_state(filled), status(filled)) == (UploadState.UPLOADED, Status.ACCEPTED)

    @pytest.mark.req("A-11")
    def test_values_without_file_are_missing(self) -> None:
        draft = document(values={"f": "x"}, collects_fields=True, fields=(NEEDED,))
        assert (upload_state(draft), status(draft)) == (UploadState.MISSING, Status.MISSING)

    @pytest.mark.req("A-10")
    @pytest.mark.parametrize("value", [None, "", " ", "\t", "\r\n", " \t\r\n "])
    def test_missing_required_value_is_incomplete(self, value: str | None) -> None:
        values = {} if value is None else {"f": value}
        filled = document(filled=True, values=values, collects_fields=True, fields=(NEEDED,))
        assert status(filled) is Status.INCOMPLETE
        assert upload_state(filled) is UploadState.UPLOADED

    @pytest.mark.req("A-10")
    @pytest.mark.parametrize("value", ["x", " x ", "0", "\u00a0", "🪪"])
    def test_non_blank_value_completes_document(self, value: str) -> None:
        fields = (NEEDED, WANTED)
        filled = document(filled=True, values={"f": value}, collects_fields=True, fields=fields)
        assert status(filled) is Status.ACCEPTED

    @pytest.mark.req("R-019")
    def test_uncollected_fields_do_not_count(self) -> None:
        assert status(document(filled=True, fields=(NEEDED,))) is Status.ACCEPTED

    @given(documents)
    def test_missing_depends_on_file_alone(self, any_document: Document) -> None:
        assert (upload_state(any_document) is UploadState.MISSING) == (any_document.version is None)
        assert (status(any_document) is Status.MISSING) == (any_document.version is None)


class TestIsDue:
    """`is_due`."""

    @pytest.mark.req("R-031", "R-030", "R-037")
    @pytest.mark.parametrize("mode", list(UploadMode))
    def test_only_missing_required_document_is_due(self, mode: UploadMode) -> None:
        assert is_due(document(upload_mode=mode)) == (mode is UploadMode.REQUIRED)
        assert not is_due(document(upload_mode=mode, filled=True))

    @given(documents)
    def test_due_documents_are_required_and_not_accepted(self, any_document: Document) -> None:
        required = any_document.type.upload_mode is UploadMode.REQUIRED
        assert is_due(any_document) == (required and status(any_document) is not Status.ACCEPTED)


class TestShownValues:
    """`Document.shown_values`."""

    @pytest.mark.req("R-019", "A-13")
    @given(documents)
    def test_only_values_of_collected_fields_are_shown(self, any_document: Document) -> None:
        keys = {field.key for field in any_document.type.fields}
        if not any_document.type.collects_fields:
            keys = set()
        expected = {k: v for k, v in any_document.field_values.items() if k in keys}
        assert any_document.shown_values == expected


class TestTotals:
    """`totals`."""

    def test_totals_of_nothing_are_zero(self) -> None:
        counts = totals([])
        assert (counts.uploaded, counts.missing, counts.required_missing) == (0, 0, 0)

    @given(st.lists(documents))
    def test_every_active_document_is_either_uploaded_or_missing(
        self, many: list[Document]
    ) -> None:
        counts = totals(many)
        active = [one for one in many if not one.type.archived]
        assert counts.uploaded + counts.missing == len(active)
        assert counts.uploaded == sum(one.version is not None for one in active)
        assert counts.required_missing == sum(map(is_due, active))

    @given(st.lists(documents))
    def test_totals_are_independent_of_order(self, many: list[Document]) -> None:
        assert totals(many) == totals(many[::-1]) == totals(iter(many))
