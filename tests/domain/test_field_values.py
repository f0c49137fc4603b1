"""Merging field values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.documents import to_document_type

from docvault.domain.document_types import DocumentField
from docvault.domain.field_values import merge_values
from docvault.errors import FieldsNotEnabled, UnknownField

FIELDS = tuple(DocumentField(key, key.upper(), required=False) for key in "fgh")
TYPE = to_document_type(collects_fields=True, fields=FIELDS)
CHANGES = st.dictionaries(st.sampled_from("fgh"), st.none() | st.text(max_size=5))
CURRENT = st.dictionaries(st.sampled_from(["f", "g", "h", "retired"]), st.text(max_size=5))


class TestMergeValues:
    """`merge_values`."""

    def test_null_clears_and_absent_value_is_kept(self) -> None:
        merged = merge_values(TYPE, {"f": "1", "g": "2"}, {"f": None, "h": "3"})
        assert merged == {"g": "2", "h": "3"}

    @pytest.mark.req("R-041")
    @given(st.text())
    def test_any_text_is_kept_unchanged(self, text: str) -> None:
        assert merge_values(TYPE, {}, {"f": text}) == {"f": text}

    @given(CURRENT, CHANGES)
    def test_merge_follows_merge_patch(
        self, current: dict[str, str], changes: dict[str, str | None]
    ) -> None:
        merged = merge_values(TYPE, current, changes)
        for key in {*current, *changes}:
            assert merged.get(key) == changes.get(key, current.get(key))
            assert key in merged or merged.get(key) is None
        assert None not in merged.values()

    @given(CURRENT, CHANGES)
    def test_merge_is_idempotent(
        self, current: dict[str, str], changes: dict[str, str | None]
    ) -> None:
        once = merge_values(TYPE, current, changes)
        assert merge_values(TYPE, once, changes) == once

    def test_input_is_not_modified(self) -> None:
        current = {"f": "1"}
        merge_values(TYPE, current, {"f": None})
        assert current == {"f": "1"}

    @pytest.mark.req("A-13")
    def test_values_of_retired_fields_are_kept(self) -> None:
        assert merge_values(TYPE, {"retired": "x"}, {"f": "1"}) == {"retired": "x", "f": "1"}

    @pytest.mark.req("R-046")
    @pytest.mark.parametrize("value", ["x", None])
    def test_unknown_keys_are_rejected_with_pointers(self, value: str | None) -> None:
        with pytest.raises(UnknownField) as caught:
            merge_values(TYPE, {"retired": "x"}, {"f": "1", "a/b": value, "~": "x", "retired": "y"})
        pointers = [error.pointer for error in caught.value.errors]
        assert pointers == ["/field_values/a~1b", "/field_values/~0", "/field_values/retired"]

    @pytest.mark.req("R-046")
    def test_values_are_rejected_when_fields_are_not_collected(self) -> None:
        off = to_document_type(fields=FIELDS)
        with pytest.raises(FieldsNotEnabled) as caught:
            merge_values(off, {}, {"f": "1"})
        assert caught.value.errors[0].pointer == "/field_values"

    @pytest.mark.req("R-020")
    def test_empty_change_is_accepted_when_fields_are_not_collected(self) -> None:
        off = to_document_type(fields=FIELDS)
        assert merge_values(off, {"f": "1"}, {}) == {"f": "1"}
