"""What an audit event records of a change."""

from typing import Any

import pytest

from docvault.domain.audit import difference


@pytest.mark.parametrize(
    ("old", "new", "recorded"),
    [
        ({"name": "A", "email": "e"}, {"name": "B", "email": "e"}, {"old": "A", "new": "B"}),
        ({"name": "A"}, {}, {"old": "A", "new": None}),
        ({"name": {"a": "1", "b": "2"}}, {"name": {"a": "1", "b": "3"}},
         {"old": {"b": "2"}, "new": {"b": "3"}}),
        ({"name": {"a": "1"}}, {"name": {"a": "1", "b": "2"}}, {"old": {}, "new": {"b": "2"}}),
        ({"name": {"a": "1", "b": "2"}}, {"name": {"a": "1"}}, {"old": {"b": "2"}, "new": {}}),
        ({"name": ("x", "y")}, {"name": ["x", "z"]}, {"old": ["y"], "new": ["z"]}),
        ({"name": ["x", "y"]}, {"name": ["y", "x"]}, {"old": ["x", "y"], "new": ["y", "x"]}),
        ({"name": None}, {"name": {"a": "1"}}, {"old": None, "new": {"a": "1"}}),
    ],
    ids=["text", "absent", "value", "new value", "cleared value", "list", "order", "from null"],
)  # fmt: skip
def test_only_differences_are_recorded(
    old: dict[str, Any], new: dict[str, Any], recorded: dict[str, Any]
) -> None:
    assert difference(old, new) == {"name": recorded}


def test_no_difference_records_nothing() -> None:
    assert difference({"name": {"a": "1"}}, {"name": {"a": "1"}}) is None
