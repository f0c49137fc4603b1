"""DOCVAULT_ISSUERS: what it may be, and how a mistake is reported."""

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from docvault.issuers import parse_issuers
from docvault.settings import Settings

PUBLIC = ECKey.generate_key("P-256").as_dict(private=False)


def issuer(**members: Any) -> dict[str, Any]:
    """Return a valid issuer; a member of `...` is left out."""
    given = {
        "name": "workforce",
        "issuer": "https://id.example.org",
        "jwks_url": "https://id.example.org/jwks",
        "audience": "docvault",
        "staff": {"claim": "roles", "admin": ["admin"]},
    } | members
    return {name: value for name, value in given.items() if value is not ...}


def refusal(*issuers: object) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_issuers(json.dumps(issuers))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.req("B-110")
class TestParseIssuers:
    """parse_issuers()."""

    def test_texts_stand_for_lists_of_one(self) -> None:
        (one,) = parse_issuers(json.dumps([issuer()]))
        assert (one.audience, one.staff and one.staff.claim) == (("docvault",), ("roles",))
        assert (one.types, one.audience_claim) == (("at+jwt",), "aud")

    def test_key_set_may_be_inline(self) -> None:
        (one,) = parse_issuers(json.dumps([issuer(jwks_url=..., jwks={"keys": [PUBLIC]})]))
        assert one.jwks == {"keys": [PUBLIC]}

    @pytest.mark.parametrize("name", ["RS384", "RS512", "PS384", "PS512", "ES384", "ES512"])
    def test_asymmetric_algorithm_may_be_allowed(self, name: str) -> None:
        assert parse_issuers(json.dumps([issuer(algorithms=[name])]))

    @pytest.mark.parametrize(
        ("members", "place", "expected"),
        [
            ({"issuer": "https://a,https://b"}, "[0].issuer of workforce", "one issuer"),
            ({"issuer": "https://a https://b"}, "[0].issuer", "one issuer"),
            ({"issuer": ""}, "[0].issuer", "at least 1"),
            ({"jwks_url": "https://a/k,https://b/k"}, "[0].jwks_url", "one URL"),
            ({"jwks_url": "http://id.example.org/k"}, "[0].jwks_url", "https://"),
            ({"jwks_url": "https://id.example.org:x/k"}, "[0].jwks_url", "https://"),
            ({"jwks_url": "https://u:p@id.example.org/k"}, "[0].jwks_url", "password"),
            ({"jwks": {"keys": [PUBLIC]}}, "[0] of workforce", "either jwks_url or jwks"),
            ({"jwks_url": ...}, "[0] of workforce", "either jwks_url or jwks"),
            ({"jwks_url": ..., "jwks": {}}, "[0].jwks", "key set"),
            ({"audience": []}, "[0].audience", "at least 1"),
            ({"audience": ...}, "[0].audience", "required"),
            ({"audience": 7}, "[0].audience", "tuple"),
            ({"audience_claim": "sub"}, "[0].audience_claim", "'aud' or 'client_id'"),
            ({"algorithms": ["HS256"]}, "[0].algorithms", "RS256"),
            ({"algorithms": ["none"]}, "[0].algorithms", "RS256"),
            ({"algorithms": []}, "[0].algorithms", "at least 1"),
            ({"types": []}, "[0] of workforce", "access_token_claim"),
            ({"staff": ...}, "[0] of workforce", "staff, customers or both"),
            ({"staff": {"claim": "roles"}}, "[0].staff", "needs admin, auditor or both"),
            ({"staff": {"claim": "a..b", "admin": "x"}}, "[0].staff.claim.0", "a path like"),
            ({"staff": {"claim": ".".join("a" * 9), "admin": "x"}}, "[0].staff.claim.0", "path"),
            ({"customers": {}}, "[0] of workforce", "claim and values"),
            ({"customers": {"claim": "scp"}}, "[0].customers", "require each other"),
            ({"names": "x"}, "[0].names", "not permitted"),
            ({"name": "Work Force"}, "[0].name", "match pattern"),
            ({"name": "default"}, "name", "reserved"),
        ],
    )
    def test_mistake_is_told_with_its_place(
        self, members: dict[str, Any], place: str, expected: str
    ) -> None:
        message = refusal(issuer(**members))
        assert message.startswith(place)
        assert expected in message

    def test_mistake_in_the_second_issuer_names_it(self) -> None:
        assert refusal(issuer(), issuer(name="b", audience=...)).startswith("[1].audience of b")

    @pytest.mark.parametrize("member", ["name", "issuer"])
    def test_two_of_the_same_are_refused(self, member: str) -> None:
        other = {"name": "b", "issuer": "https://b.example"} | {member: issuer()[member]}
        assert f"{member}: {issuer()[member]} appears twice" in refusal(issuer(), issuer(**other))

    @pytest.mark.parametrize("text", ["", "{}", "[]", "[", "7", "[1]", "[" * 100_000])
    def test_text_that_is_no_list_of_issuers_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"JSON|list|dictionary"):
            parse_issuers(text)

    def test_private_key_is_refused_and_not_shown(self) -> None:
        private = ECKey.generate_key("P-256").as_dict(private=True)
        message = refusal(issuer(jwks_url=..., jwks={"keys": [private]}))
        assert "public keys only" in message
        assert str(private["d"]) not in message


class TestSettings:
    """Settings.issuers."""

    def test_json_and_path_are_accepted(self, tmp_path: Path) -> None:
        text = json.dumps([issuer()])
        (tmp_path / "issuers.json").write_text(text)
        from_file = Settings(issuers=str(tmp_path / "issuers.json"))
        assert from_file.issuers == Settings(issuers=text).issuers
        assert from_file.has_identity_provider

    def test_file_in_another_encoding_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "issuers.json").write_text(json.dumps([issuer()]), encoding="utf-16")
        with pytest.raises(ValueError, match="not UTF-8"):
            Settings(issuers=str(tmp_path / "issuers.json"))

    def test_environment_variable_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCVAULT_ISSUERS", json.dumps([issuer()]))
        assert [one.name for one in Settings().issuers] == ["workforce"]

    def test_mounted_secret_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "docvault_issuers").write_text(json.dumps([issuer()]) + "\n")
        monkeypatch.setitem(Settings.model_config, "secrets_dir", tmp_path)
        assert [one.name for one in Settings().issuers] == ["workforce"]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"issuers": "/nowhere/issuers.json"}, "No such file"),
            ({"issuers": "/"}, "Is a directory"),
            ({"jwt_issuer": "https://a,https://b"}, "one issuer"),
            (
                {"jwt_issuer": "https://a", "jwt_jwks_url": "https://a/k,https://b/k"},
                "one URL",
            ),
            ({"jwt_customer_claim": "a..b"}, "a path like"),
            ({"issuers": json.dumps([issuer()]), "jwt_audience": "x"}, "has no effect"),
            (
                {
                    "issuers": json.dumps([issuer()]),
                    "jwt_issuer": "https://id.example.org",
                    "jwt_jwks_url": "https://id.example.org/k",
                },
                "must not be one of",
            ),
        ],
    )
    def test_mistake_is_refused(self, settings: dict[str, Any], expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            Settings(**settings)
