"""Keys derived from the one secret, and the files that hold secrets."""

import stat
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from docvault.auth.keyring import Keyring, read_or_create, secrets_dir
from docvault.settings import Settings, SettingsError

SECRET = b"0123456789abcdef" * 2


class TestKeyring:
    """Keyring()."""

    def test_each_purpose_has_a_key_of_its_own(self) -> None:
        keyring = Keyring(SECRET)
        derived = {keyring.api_key_pepper, keyring.cursor_key, SECRET}
        assert len(derived) == 3

    def test_the_same_secret_gives_the_same_keys(self) -> None:
        assert Keyring(SECRET).pseudonym("c-1") == Keyring(SECRET).pseudonym("c-1")
        assert Keyring(SECRET).api_key_pepper == Keyring(SECRET).api_key_pepper

    def test_another_secret_gives_other_pseudonyms(self) -> None:
        assert Keyring(SECRET).pseudonym("c-1") != Keyring(b"t" * 32).pseudonym("c-1")

    @pytest.mark.req("A-28")
    def test_a_pseudonym_does_not_hold_the_id(self) -> None:
        assert "jan@example.com" not in Keyring(SECRET).pseudonym("jan@example.com")

    @pytest.mark.parametrize("secret", [b"", b"short", b"s" * 31])
    def test_a_short_secret_is_refused(self, secret: bytes) -> None:
        with pytest.raises(SettingsError, match="32 bytes"):
            Keyring(secret)

    def test_idempotency_ids_differ_in_every_part(self) -> None:
        keyring = Keyring(SECRET)
        parts = ["customer", "c-1", "PUT", "/v1/x", "key"]
        ids = {keyring.idempotency_id(*parts)}
        for place in range(len(parts)):
            ids.add(keyring.idempotency_id(*parts[:place], parts[place] + "2", *parts[place + 1 :]))
        assert len(ids) == 6

    def test_moving_text_between_parts_changes_the_idempotency_id(self) -> None:
        keyring = Keyring(SECRET)
        assert keyring.idempotency_id("ab", "c") != keyring.idempotency_id("a", "bc")


class TestFromSettings:
    """Keyring.from_settings()."""

    def test_the_configured_secret_is_taken(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data", secret_key=SecretStr(SECRET.decode()))
        assert Keyring.from_settings(settings).cursor_key == Keyring(SECRET).cursor_key
        assert not (tmp_path / "data").exists()

    def test_a_secret_is_made_at_first_start_and_kept(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data")
        first = Keyring.from_settings(settings)
        assert Keyring.from_settings(settings).cursor_key == first.cursor_key

    def test_two_deployments_have_different_secrets(self, tmp_path: Path) -> None:
        one, two = (Keyring.from_settings(Settings(data_dir=tmp_path / name)) for name in "ab")
        assert one.cursor_key != two.cursor_key


class TestReadOrCreate:
    """read_or_create()."""

    def test_secrets_are_for_their_owner_alone(self, tmp_path: Path) -> None:
        folder = secrets_dir(tmp_path / "data")
        read_or_create(folder / "key", lambda: "secret")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600

    def test_an_existing_secret_is_never_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        assert read_or_create(path, lambda: "first") == "first"
        assert read_or_create(path, lambda: "second") == "first"

    def test_two_at_once_agree(self, tmp_path: Path) -> None:
        barrier = threading.Barrier(8)
        seen = []

        def create(name: str) -> None:
            barrier.wait()
            seen.append(read_or_create(tmp_path / "key", lambda: name))

        threads = [threading.Thread(target=create, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert len(set(seen)) == 1

    def test_no_draft_is_left(self, tmp_path: Path) -> None:
        read_or_create(tmp_path / "key", lambda: "secret")
        assert [path.name for path in tmp_path.iterdir()] == ["key"]


class TestUploadTokens:
    """Keyring.upload_token() and session_of()."""

    def test_a_token_leads_to_its_session(self) -> None:
        keyring, session_id = Keyring(b"s" * 32), uuid4()
        assert keyring.session_of(keyring.upload_token(session_id)) == session_id

    def test_no_character_can_be_changed(self) -> None:
        keyring = Keyring(b"s" * 32)
        token = keyring.upload_token(uuid4())
        for place in range(len(token)):
            other = "0" if token[place] != "0" else "1"
            assert keyring.session_of(token[:place] + other + token[place + 1 :]) is None

    def test_those_of_another_secret_and_what_is_no_token_are_refused(self) -> None:
        keyring, token = Keyring(b"s" * 32), Keyring(b"t" * 32).upload_token(uuid4())
        for text in (token, "", token.upper(), token + "0", "é" * 96, "\u0660" * 96):
            assert keyring.session_of(text) is None
