"""The breaker before a backend: when it opens, who may try, and when it closes."""

import pytest
from tests.factories.clock import Clock

from docvault import breaker
from docvault.breaker import FAILURES, OPEN_SECONDS, Breaker
from docvault.errors import StorageUnavailable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    return clock


@pytest.fixture
def open_breaker(clock: Clock) -> Breaker:
    del clock
    opened = Breaker(StorageUnavailable)
    for _ in range(FAILURES):
        opened.admit()
        opened.failed()
    return opened


def is_admitted(asked: Breaker) -> bool:
    try:
        asked.admit()
    except StorageUnavailable:
        return False
    return True


class TestBreaker:
    """Breaker."""

    def test_fewer_failures_let_everybody_in(self) -> None:
        closed = Breaker(StorageUnavailable)
        for _ in range(FAILURES - 1):
            closed.failed()
        assert is_admitted(closed)

    def test_failures_count_only_in_a_row(self) -> None:
        closed = Breaker(StorageUnavailable)
        for _ in range(3 * FAILURES):
            closed.failed()
            closed.failed()
            closed.succeeded()
        assert is_admitted(closed)

    def test_after_several_failures_callers_are_told_when_to_come_back(
        self, open_breaker: Breaker, clock: Clock
    ) -> None:
        clock.now += 1.5
        with pytest.raises(StorageUnavailable) as refusal:
            open_breaker.admit()
        assert refusal.value.headers["Retry-After"] == "4"

    def test_one_caller_tries_for_all(self, open_breaker: Breaker, clock: Clock) -> None:
        clock.now += OPEN_SECONDS
        assert [is_admitted(open_breaker) for _ in range(4)] == [True, False, False, False]

    def test_a_try_that_never_ends_gives_way_to_the_next(
        self, open_breaker: Breaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        assert is_admitted(open_breaker)
        clock.now += OPEN_SECONDS
        assert is_admitted(open_breaker)

    def test_a_failed_try_keeps_it_open(self, open_breaker: Breaker, clock: Clock) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.admit()
        clock.now += 2
        open_breaker.failed()
        clock.now += OPEN_SECONDS - 0.1
        assert not is_admitted(open_breaker)

    def test_a_success_lets_everybody_in(self, open_breaker: Breaker, clock: Clock) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.admit()
        open_breaker.succeeded()
        assert [is_admitted(open_breaker) for _ in range(3)] == [True] * 3
