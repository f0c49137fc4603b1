"""API keys: form, checksum and comparison; no HTTP, no database."""

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.auth.api_keys import ALPHABET, generate_key, hash_secret, parse_key, secret_matches

FORM = re.compile(r"dv_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")
PEPPER = b"p" * 32


class TestGenerateKey:
    """generate_key()."""

    def test_keys_have_the_published_form(self) -> None:
        assert all(FORM.fullmatch(generate_key()[0]) for _ in range(200))

    def test_keys_and_their_ids_are_unique(self) -> None:
        made = [generate_key() for _ in range(2000)]
        assert len({text for text, _ in made}) == 2000
        assert len({parts.public_id for _, parts in made}) == 2000

    def test_key_parses_to_its_parts(self) -> None:
        text, parts = generate_key()
        assert parse_key(text) == parts
        assert parts.secret in text

    def test_secret_uses_the_whole_alphabet(self) -> None:
        seen = {char for _ in range(200) for char in generate_key()[1].secret}
        assert seen == set(string.ascii_letters + string.digits)


class TestParseKey:
    """parse_key()."""

    def test_single_character_typo_is_detected(self) -> None:
        text, _ = generate_key()
        for place in range(len(text)):
            for char in "0Az_-":
                typo = text[:place] + char + text[place + 1 :]
                assert typo == text or parse_key(typo) is None

    @given(st.integers(0, 2**32), st.sampled_from(ALPHABET))
    def test_replaced_character_is_detected(self, seed: int, char: str) -> None:
        text, _ = generate_key()
        place = seed % len(text)
        typo = text[:place] + char + text[place + 1 :]
        assert typo == text or parse_key(typo) is None

    def test_swapped_neighbours_are_detected(self) -> None:
        text, _ = generate_key()
        for place in range(len(text) - 1):
            swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
            assert swapped == text or parse_key(swapped) is None

    @pytest.mark.parametrize(
        "change",
        [
            lambda key: key[:0],
            lambda key: key[:-1],
            lambda key: key + "0",
            lambda key: " " + key,
            lambda key: key + "\n",
            lambda key: key.upper(),
            lambda key: key.replace("live", "test"),
            lambda key: key.replace("dv_", "dx_"),
            lambda key: key + key,
            lambda key: key.replace(key[-1], "é"),
            lambda key: key.replace(key[20], "\u0661"),  # ARABIC-INDIC DIGIT ONE
            lambda key: re.sub("[0-9A-Za-z]{20,}", "0" * 49, key),
        ],
    )
    def test_other_format_is_not_a_key(self, change: Callable[[str], str]) -> None:
        assert parse_key(change(generate_key()[0])) is None

    @given(st.text(max_size=100))
    def test_arbitrary_text_does_not_raise(self, text: str) -> None:
        assert parse_key(text) is None


class TestSecretMatches:
    """secret_matches()."""

    def test_correct_secret_matches(self) -> None:
        assert secret_matches(PEPPER, "secret", hash_secret(PEPPER, "secret"))

    @pytest.mark.parametrize("stored", [b"", bytes(32), hash_secret(PEPPER, "other")])
    def test_wrong_secret_does_not_match(self, stored: bytes) -> None:
        assert not secret_matches(PEPPER, "secret", stored)

    def test_different_pepper_does_not_match(self) -> None:
        assert not secret_matches(b"q" * 32, "secret", hash_secret(PEPPER, "secret"))

    def test_hash_does_not_contain_secret(self) -> None:
        _, parts = generate_key()
        assert parts.secret.encode() not in hash_secret(PEPPER, parts.secret)
