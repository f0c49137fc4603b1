"""If-Match and If-None-Match."""

import pytest

from docvault.domain.preconditions import UNCONDITIONAL, EntityTags, Preconditions
from docvault.errors import PreconditionFailed

TAG = '"a"'


@pytest.mark.parametrize("etag", [TAG, None])
def test_without_preconditions_everything_passes(etag: str | None) -> None:
    assert UNCONDITIONAL.are_absent
    UNCONDITIONAL.check(etag)


@pytest.mark.parametrize(
    ("tags", "etag", "matches"),
    [
        (frozenset({TAG, '"b"'}), TAG, True),
        (frozenset({'"b"'}), TAG, False),
        # Only weak tags were sent.
        (frozenset(), TAG, False),
        (frozenset({TAG}), None, False),
        ("*", TAG, True),
        ("*", None, False),
    ],
)
class TestCheck:
    """Preconditions.check()."""

    def test_if_match_requires_a_match(
        self, tags: EntityTags, etag: str | None, matches: bool
    ) -> None:
        expect(Preconditions(if_match=tags), etag, passes=matches)

    def test_if_none_match_requires_no_match(
        self, tags: EntityTags, etag: str | None, matches: bool
    ) -> None:
        expect(Preconditions(if_none_match=tags), etag, passes=not matches)


def test_both_preconditions_must_hold() -> None:
    expect(Preconditions("*", frozenset({'"b"'})), TAG, passes=True)
    expect(Preconditions("*", frozenset({TAG})), TAG, passes=False)


def expect(preconditions: Preconditions, etag: str | None, *, passes: bool) -> None:
    if passes:
        preconditions.check(etag)
        return
    with pytest.raises(PreconditionFailed):
        preconditions.check(etag)
