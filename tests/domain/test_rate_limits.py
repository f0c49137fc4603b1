"""Counting in windows of a minute."""

import pytest

from docvault.domain.rate_limits import WINDOW_SECONDS, FixedWindowCounter

A, B, C = b"a", b"b", b"c"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> FixedWindowCounter:
    return FixedWindowCounter(max_windows=2, clock=clock)


class TestHit:
    """FixedWindowCounter.hit()."""

    def test_requests_up_to_limit_are_counted(self, windows: FixedWindowCounter) -> None:
        assert [windows.hit(A, 3) for _ in range(4)] == [0, 0, 0, WINDOW_SECONDS]

    def test_wait_is_rest_of_window(self, windows: FixedWindowCounter, clock: Clock) -> None:
        windows.hit(A, 1)
        clock.now += 45
        assert windows.hit(A, 1) == WINDOW_SECONDS - 45

    def test_window_starts_with_first_count(
        self, windows: FixedWindowCounter, clock: Clock
    ) -> None:
        windows.hit(A, 1)
        clock.now += WINDOW_SECONDS - 1
        assert windows.hit(A, 1) > 0
        clock.now += 1
        assert [windows.hit(A, 1) for _ in range(2)] == [0, WINDOW_SECONDS]

    def test_rejection_does_not_extend_window(
        self, windows: FixedWindowCounter, clock: Clock
    ) -> None:
        windows.hit(A, 1)
        for _ in range(WINDOW_SECONDS):
            assert windows.hit(A, 1) > 0
            clock.now += 1
        assert windows.hit(A, 1) == 0

    def test_ids_are_counted_separately(self, windows: FixedWindowCounter) -> None:
        assert [windows.hit(A, 1), windows.hit(B, 1)] == [0, 0]
        assert windows.hit(A, 1) > 0
        assert windows.hit(B, 1) > 0

    def test_oldest_window_is_evicted(self, windows: FixedWindowCounter, clock: Clock) -> None:
        for id_ in (A, B):
            windows.hit(id_, 1)
        clock.now += WINDOW_SECONDS
        windows.hit(A, 1)  # now B's window is the oldest
        windows.hit(C, 1)
        assert len(windows) == 2
        assert windows.hit(A, 1) > 0
        assert windows.hit(C, 1) > 0
        assert windows.hit(B, 1) == 0


def test_hits_are_known_until_their_window_ends(windows: FixedWindowCounter, clock: Clock) -> None:
    assert not windows.has_hits(A)
    windows.hit(A, 1)
    assert windows.has_hits(A)
    clock.now += WINDOW_SECONDS
    assert not windows.has_hits(A)
