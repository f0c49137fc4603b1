"""Keys and labels."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.errors import DuplicateLabel
from docvault.rules.document_types import (
    KEY_PATTERN,
    MAX_KEY_LENGTH,
    fold,
    parse_field_labels,
    slug,
)

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
    def test_a_name_becomes_ascii(self, name: str, key: str) -> None:
        assert slug(name, (), prefix="type") == key

    @given(st.text(max_size=200), st.sets(st.text("ab-1", max_size=4)))
    def test_every_name_gets_a_free_key_of_the_grammar(self, name: str, taken: set[str]) -> None:
        key = slug(name, taken, prefix="type")
        assert KEY.fullmatch(key)
        assert key not in taken

    @given(st.text(max_size=200), st.integers(2, 15))
    def test_the_same_name_again_and_again_gets_different_keys(self, name: str, n: int) -> None:
        taken: list[str] = []
        for _ in range(n):
            taken.append(slug(name, taken, prefix="type"))
        assert len(set(taken)) == n
        assert all(KEY.fullmatch(key) for key in taken)

    @pytest.mark.parametrize("name", ["", "護照", "🪪", "!?", "ß"])
    def test_nothing_left_becomes_prefix_and_random_characters(self, name: str) -> None:
        keys = {slug(name, (), prefix="field") for _ in range(20)}
        assert all(re.fullmatch(r"field-[0-9a-z]{8}", key) for key in keys)
        assert len(keys) == 20

    @pytest.mark.parametrize("count", [1, 9, 10, 99, 100])
    def test_a_long_key_makes_room_for_its_number(self, count: int) -> None:
        stem = "a" * MAX_KEY_LENGTH
        taken = {stem}
        for _ in range(count):
            taken.add(slug(stem, taken, prefix="type"))
        assert max(map(len, taken)) == MAX_KEY_LENGTH
        assert len(taken) == count + 1

    def test_no_hyphen_is_left_before_the_number(self) -> None:
        stem = "a" * 60 + "-bc"
        assert slug(stem, {stem}, prefix="type") == "a" * 60 + "-2"


class TestFold:
    """`fold`."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [("A", "a"), (" a ", "a"), ("ß", "SS"), ("é", "e\u0301"), ("ﬁ", "FI"), ("\uff21", "a")],
    )
    def test_names_that_look_alike_are_alike(self, one: str, other: str) -> None:
        assert fold(one) == fold(other)

    @pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a b", "ab"), ("e", "é"), ("1", "l")])
    def test_other_names_are_not(self, one: str, other: str) -> None:
        assert fold(one) != fold(other)

    @given(st.text(max_size=50))
    def test_case_and_blanks_never_matter(self, text: str) -> None:
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
    def test_commas_separate(self, text: str, labels: list[str]) -> None:
        assert parse_field_labels(text) == labels

    @pytest.mark.req("R-018")
    @pytest.mark.parametrize("text", [" A,,B , a", "a,a", "ß,ss", "a, b,\tA\t"])
    def test_duplicates_are_refused(self, text: str) -> None:
        with pytest.raises(DuplicateLabel) as caught:
            parse_field_labels(text)
        assert caught.value.errors[0].pointer == "/field_labels"

    @given(st.lists(SMALL_TEXT.map(lambda t: t.replace(",", "")), max_size=6))
    def test_what_comes_out_is_what_went_in(self, parts: list[str]) -> None:
        labels = [part.strip() for part in parts if part.strip()]
        if len({fold(label) for label in labels}) < len(labels):
            with pytest.raises(DuplicateLabel):
                parse_field_labels(",".join(parts))
        else:
            assert parse_field_labels(",".join(parts)) == labels
