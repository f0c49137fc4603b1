"""Keys derived from the secret, and files with secrets."""

import os
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

    def test_each_purpose_has_own_key(self) -> None:
        keyring = Keyring(SECRET)
        derived = {keyring.api_key_pepper, keyring.cursor_key, SECRET}
        assert len(derived) == 3

    def test_keys_are_deterministic(self) -> None:
        assert Keyring(SECRET).pseudonym("c-1") == Keyring(SECRET).pseudonym("c-1")
        assert Keyring(SECRET).api_key_pepper == Keyring(SECRET).api_key_pepper

    def test_different_secret_gives_different_pseudonyms(self) -> None:
        assert Keyring(SECRET).pseudonym("c-1") != Keyring(b"t" * 32).pseudonym("c-1")

    @pytest.mark.req("A-28")
    def test_pseudonym_does_not_contain_id(self) -> None:
        assert "jan@example.com" not in Keyring(SECRET).pseudonym("jan@example.com")

    @pytest.mark.parametrize("secret", [b"", b"short", b"s" * 31])
    def test_short_secret_is_rejected(self, secret: bytes) -> None:
        with pytest.raises(SettingsError, match="32 bytes"):
            Keyring(secret)

    def test_idempotency_id_depends_on_every_part(self) -> None:
        keyring = Keyring(SECRET)
        parts = ["customer", "c-1", "PUT", "/v1/x", "key"]
        ids = {keyring.idempotency_id(*parts)}
        for place in range(len(parts)):
            ids.add(keyring.idempotency_id(*parts[:place], parts[place] + "2", *parts[place + 1 :]))
        assert len(ids) == 6

    def test_idempotency_id_depends_on_part_boundaries(self) -> None:
        keyring = Keyring(SECRET)
        assert keyring.idempotency_id("ab", "c") != keyring.idempotency_id("a", "bc")


@pytest.mark.req("B-113")
class TestTwoSecrets:
    """Keyring() with the key of before."""

    def test_new_values_use_the_first_secret(self) -> None:
        both, new = Keyring(SECRET, b"t" * 32), Keyring(SECRET)
        session_id = uuid4()
        assert both.pseudonym("c-1") == new.pseudonym("c-1")
        assert both.cursor_key == new.cursor_key
        assert both.api_key_pepper == new.api_key_pepper
        assert both.idempotency_id("k") == new.idempotency_id("k")
        assert both.upload_token(session_id) == new.upload_token(session_id)

    def test_values_of_either_secret_are_found(self) -> None:
        both, old = Keyring(SECRET, b"t" * 32), Keyring(b"t" * 32)
        session_id = uuid4()
        assert both.pseudonyms("c-1") == (both.pseudonym("c-1"), old.pseudonym("c-1"))
        assert both.idempotency_ids("k") == (both.idempotency_id("k"), old.idempotency_id("k"))
        assert both.session_of(old.upload_token(session_id)) == session_id
        assert both.session_of(both.upload_token(session_id)) == session_id
        assert both.session_of(Keyring(b"u" * 32).upload_token(session_id)) is None


class TestFromSettings:
    """Keyring.from_settings()."""

    def test_configured_secret_is_used(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data", secret_key=SecretStr(SECRET.decode()))
        assert Keyring.from_settings(settings).cursor_key == Keyring(SECRET).cursor_key
        assert not (tmp_path / "data").exists()

    def test_secret_is_generated_at_first_start_and_kept(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data")
        first = Keyring.from_settings(settings)
        assert Keyring.from_settings(settings).cursor_key == first.cursor_key

    def test_two_deployments_have_different_secrets(self, tmp_path: Path) -> None:
        one, two = (Keyring.from_settings(Settings(data_dir=tmp_path / name)) for name in "ab")
        assert one.cursor_key != two.cursor_key


class TestReadOrCreate:
    """read_or_create()."""

    def test_secrets_are_readable_only_by_owner(self, tmp_path: Path) -> None:
        folder = secrets_dir(tmp_path / "data")
        read_or_create(folder / "key", lambda: "secret")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600

    def test_existing_secret_is_never_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        assert read_or_create(path, lambda: "first") == "first"
        assert read_or_create(path, lambda: "second") == "first"

    def test_concurrent_creators_agree(self, tmp_path: Path) -> None:
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

    def test_secret_is_flushed_before_it_is_linked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = []
        fsync, hardlink_to = os.fsync, Path.hardlink_to

        def noted_fsync(descriptor: int) -> None:
            steps.append(("fsync", os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
            fsync(descriptor)

        def noted_link(path: Path, target: Path) -> None:
            steps.append(("link", target.stat().st_ino, target.stat().st_size))
            hardlink_to(path, target)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(Path, "hardlink_to", noted_link)
        path = tmp_path / "key"
        read_or_create(path, lambda: "secret")
        inode = path.stat().st_ino
        assert steps == [("fsync", inode, len("secret")), ("link", inode, len("secret"))]

    def test_no_temporary_file_is_left(self, tmp_path: Path) -> None:
        read_or_create(tmp_path / "key", lambda: "secret")
        assert [path.name for path in tmp_path.iterdir()] == ["key"]


class TestUploadTokens:
    """Keyring.upload_token() and session_of()."""

    def test_token_identifies_its_session(self) -> None:
        keyring, session_id = Keyring(b"s" * 32), uuid4()
        assert keyring.session_of(keyring.upload_token(session_id)) == session_id

    def test_modified_token_is_rejected(self) -> None:
        keyring = Keyring(b"s" * 32)
        token = keyring.upload_token(uuid4())
        for place in range(len(token)):
            other = "0" if token[place] != "0" else "1"
            assert keyring.session_of(token[:place] + other + token[place + 1 :]) is None

    def test_foreign_or_malformed_token_is_rejected(self) -> None:
        keyring, token = Keyring(b"s" * 32), Keyring(b"t" * 32).upload_token(uuid4())
        for text in (token, "", token.upper(), token + "0", "é" * 96, "\u0660" * 96):
            assert keyring.session_of(text) is None
