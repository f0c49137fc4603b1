"""Counting in windows of a minute."""

import pytest

from docvault.rules.rate_limits import WINDOW_SECONDS, Windows

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
def windows(clock: Clock) -> Windows:
    return Windows(max_windows=2, clock=clock)


class TestTake:
    """Windows.take."""

    def test_as_many_as_the_limit_are_counted_and_no_more(self, windows: Windows) -> None:
        assert [windows.take(A, 3) for _ in range(4)] == [0, 0, 0, WINDOW_SECONDS]

    def test_the_wait_is_what_is_left_of_the_window(self, windows: Windows, clock: Clock) -> None:
        windows.take(A, 1)
        clock.now += 45
        assert windows.take(A, 1) == WINDOW_SECONDS - 45

    def test_a_window_begins_with_its_first_count(self, windows: Windows, clock: Clock) -> None:
        windows.take(A, 1)
        clock.now += WINDOW_SECONDS - 1
        assert windows.take(A, 1) > 0
        clock.now += 1
        assert [windows.take(A, 1) for _ in range(2)] == [0, WINDOW_SECONDS]

    def test_a_refusal_does_not_make_the_window_longer(
        self, windows: Windows, clock: Clock
    ) -> None:
        windows.take(A, 1)
        for _ in range(WINDOW_SECONDS):
            assert windows.take(A, 1) > 0
            clock.now += 1
        assert windows.take(A, 1) == 0

    def test_ids_are_counted_apart(self, windows: Windows) -> None:
        assert [windows.take(A, 1), windows.take(B, 1)] == [0, 0]
        assert windows.take(A, 1) > 0
        assert windows.take(B, 1) > 0

    def test_of_too_many_the_one_that_began_first_is_forgotten(
        self, windows: Windows, clock: Clock
    ) -> None:
        for id_ in (A, B):
            windows.take(id_, 1)
        clock.now += WINDOW_SECONDS
        windows.take(A, 1)  # now B began first
        windows.take(C, 1)
        assert len(windows) == 2
        assert windows.take(A, 1) > 0
        assert windows.take(C, 1) > 0
        assert windows.take(B, 1) == 0
