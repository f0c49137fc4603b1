"""Keys and labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.domain.document_types import (
    KEY_PATTERN,
    MAX_KEY_LENGTH,
    fold,
    parse_field_labels,
    slug,
)
from docvault.errors import DuplicateLabel

KEY = re.compile(KEY_PATTERN)
SMALL_TEXT = st.text("aA é-_ß1,", max_size=8)


class TestSlug:
    """`slug`."""

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("Identity card", "identity-card"),
            ("  Déjà vu!  ", "deja-vu"),
            ("ﬁle Ⅻ", "file-xii"),
            ("-a-", "a"),
            ("a" * 62 + " b", "a" * 62),
            ("Straße", "strae"),
        ],
    )
    def test_name_is_transliterated_to_ascii(self, name: str, key: str) -> None:
        assert slug(name, (), prefix="type") == key

    @given(st.text(max_size=200), st.sets(st.text("ab-1", max_size=4)))
    def test_slug_is_unique_and_valid(self, name: str, reserved: set[str]) -> None:
        key = slug(name, reserved, prefix="type")
        assert KEY.fullmatch(key)
        assert key not in reserved

    @given(st.text(max_size=200), st.integers(2, 15))
    def test_repeated_name_gets_distinct_keys(self, name: str, n: int) -> None:
        reserved: list[str] = []
        for _ in range(n):
            reserved.append(slug(name, reserved, prefix="type"))
        assert len(set(reserved)) == n
        assert all(KEY.fullmatch(key) for key in reserved)

    @pytest.mark.parametrize("name", ["", "護照", "🪪", "!?", "ß"])
    def test_unsluggable_name_gets_prefix_and_random_suffix(self, name: str) -> None:
        keys = {slug(name, (), prefix="field") for _ in range(20)}
        assert all(re.fullmatch(r"field-[0-9a-z]{8}", key) for key in keys)
        assert len(keys) == 20

    @pytest.mark.parametrize("count", [1, 9, 10, 99, 100])
    def test_long_key_is_shortened_for_number(self, count: int) -> None:
        stem = "a" * MAX_KEY_LENGTH
        reserved = {stem}
        for _ in range(count):
            reserved.add(slug(stem, reserved, prefix="type"))
        assert max(map(len, reserved)) == MAX_KEY_LENGTH
        assert len(reserved) == count + 1

    def test_hyphen_before_number_is_stripped(self) -> None:
        stem = "a" * 60 + "-bc"
        assert slug(stem, {stem}, prefix="type") == "a" * 60 + "-2"


class TestFold:
    """`fold`."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [("A", "a"), (" a ", "a"), ("ß", "SS"), ("é", "e\u0301"), ("ﬁ", "FI"), ("\uff21", "a")],
    )
    def test_similar_names_fold_equal(self, one: str, other: str) -> None:
        assert fold(one) == fold(other)

    @pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a b", "ab"), ("e", "é"), ("1", "l")])
    def test_different_names_fold_differently(self, one: str, other: str) -> None:
        assert fold(one) != fold(other)

    @given(st.text(max_size=50))
    def test_case_and_whitespace_are_ignored(self, text: str) -> None:
        assert fold(f"\t {text}\n") == fold(text)


class TestParseFieldLabels:
    """`parse_field_labels`."""

    @pytest.mark.req("R-017", "R-018")
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("Uitgiftedatum, Uitgifteplaats", ["Uitgiftedatum", "Uitgifteplaats"]),
            (" A,, B ", ["A", "B"]),
            ("", []),
            (" , ,\t", []),
            ("b,a", ["b", "a"]),
            ("a b;c", ["a b;c"]),
            ("a\u00a0,\u2003b", ["a", "b"]),
        ],
    )
    def test_labels_are_split_at_commas(self, text: str, labels: list[str]) -> None:
        assert parse_field_labels(text) == labels

    @pytest.mark.req("R-018")
    @pytest.mark.parametrize("text", [" A,,B , a", "a,a", "ß,ss", "a, b,\tA\t"])
    def test_duplicates_are_rejected(self, text: str) -> None:
        with pytest.raises(DuplicateLabel) as caught:
            parse_field_labels(text)
        assert caught.value.errors[0].pointer == "/field_labels"

    @given(st.lists(SMALL_TEXT.map(lambda t: t.replace(",", "")), max_size=6))
    def test_parsing_round_trips(self, parts: list[str]) -> None:
        labels = [part.strip() for part in parts if part.strip()]
        if len({fold(label) for label in labels}) < len(labels):
            with pytest.raises(DuplicateLabel):
                parse_field_labels(",".join(parts))
        else:
            assert parse_field_labels(",".join(parts)) == labels
