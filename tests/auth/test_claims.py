"""Reading claims of any shape."""

from typing import Any

import pytest

from docvault.auth.claims import has_any, read_seconds, read_subject, read_values
from docvault.errors import InvalidToken


@pytest.mark.req("B-111")
class TestReadValues:
    """read_values()."""

    @pytest.mark.parametrize(
        ("claims", "path", "expected"),
        [
            ({"roles": ["a", "b c"]}, "roles", {"a", "b c"}),
            ({"role": "a b"}, "role", {"a b"}),
            ({"scope": "a b"}, "scope", {"a", "b"}),
            ({"scp": "a b"}, "scp", {"a", "b"}),
            ({"scp": ["a b", "c"]}, "scp", {"a b", "c"}),
            ({"access": {"docvault": {"roles": ["a"]}}}, "access.docvault.roles", {"a"}),
            ({"https://example.org/roles": ["a"]}, "https://example.org/roles", {"a"}),
            ({"access": {"my.client": ["a"]}}, r"access.my\.client", {"a"}),
            ({"cognito:groups": ["a"]}, "cognito:groups", {"a"}),
            ({"roles": {"a": {"1": "x"}, "b": {}}}, "roles", {"a"}),
        ],
    )
    def test_values_are_found(self, claims: dict[str, Any], path: str, expected: set[str]) -> None:
        assert read_values(claims, path) == expected

    @pytest.mark.parametrize(
        ("claims", "path"),
        [
            ({}, "roles"),
            ({"roles": None}, "roles"),
            ({"roles": True}, "roles"),
            ({"roles": 7}, "roles"),
            ({"roles": [["admin"], {"admin": 1}, 7, None, True]}, "roles"),
            ({"roles": {"admin": False}}, "roles"),
            ({"roles": {"admin": True}}, "roles"),
            ({"roles": {"admin": "no"}}, "roles"),
            ({"a": [{"roles": ["admin"]}]}, "a.roles"),
            ({"a": "admin"}, "a.roles"),
            ({"a.roles": ["admin"]}, "a.roles"),
            ({"a": {"roles": ["admin"]}}, r"a\.roles"),
            ({"https://example": {"org/roles": ["admin"]}}, "https://example.org/roles"),
            ({"Roles": ["admin"]}, "roles"),
        ],
    )
    def test_other_shapes_have_no_value(self, claims: dict[str, Any], path: str) -> None:
        assert read_values(claims, path) == frozenset()

    def test_value_is_compared_as_a_whole(self) -> None:
        claims = {"roles": ["administrator", "Admin", "not admin"], "title": "admin of rooms"}
        assert not has_any(claims, ["roles", "title"], ["admin"])

    def test_one_of_several_claims_is_enough(self) -> None:
        assert has_any({"scp": ["x", "a"]}, ["scope", "scp"], ["a", "b"])


class TestReadSubject:
    """read_subject()."""

    def test_subject_may_be_below_another_claim(self) -> None:
        assert read_subject({"a": {"id": "c-1"}}, "a.id") == "c-1"

    @pytest.mark.parametrize(
        "value", [None, "", 7, True, ["c-1"], {"c-1": {}}, "c" * 256, "c\x00", "c\n", "\u202ec"]
    )
    def test_other_value_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidToken):
            read_subject({"id": value}, "id")


class TestReadSeconds:
    """read_seconds()."""

    @pytest.mark.req("B-111")
    @pytest.mark.parametrize("value", [0, 1, 1700000000, 1700000000.75])
    def test_date_may_have_fractions(self, value: float) -> None:
        assert read_seconds({"iat": value}, "iat") == value

    @pytest.mark.parametrize(
        "value",
        [None, True, "1", [1], -1, -0.5, 2**37, 10**400, float("inf"), float("-inf"), float("nan")],
    )
    def test_other_value_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidToken):
            read_seconds({"iat": value}, "iat")
