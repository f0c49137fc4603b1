"""The circuit breaker: when it opens, which call may retry, and when it closes."""

import pytest
from tests.factories.clock import Clock

from docvault import circuit_breaker
from docvault.circuit_breaker import FAILURES, FIRST_PAUSE_SECONDS, OPEN_SECONDS, CircuitBreaker
from docvault.errors import StorageUnavailable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    return clock


@pytest.fixture
def open_breaker(clock: Clock) -> CircuitBreaker:
    del clock
    opened = CircuitBreaker(StorageUnavailable)
    for _ in range(FAILURES):
        opened.check()
        opened.record_failure("refused")
    return opened


def is_admitted(breaker: CircuitBreaker) -> bool:
    try:
        breaker.check()
    except StorageUnavailable:
        return False
    return True


class TestCircuitBreaker:
    """CircuitBreaker."""

    def test_circuit_stays_closed_below_threshold(self) -> None:
        closed = CircuitBreaker(StorageUnavailable)
        for _ in range(FAILURES - 1):
            closed.record_failure("refused")
        assert is_admitted(closed)

    def test_only_consecutive_failures_count(self) -> None:
        closed = CircuitBreaker(StorageUnavailable)
        for _ in range(3 * FAILURES):
            closed.record_failure("refused")
            closed.record_failure("refused")
            closed.record_success()
        assert is_admitted(closed)

    def test_open_circuit_reports_retry_time(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.check()
        clock.now += 0.5
        with pytest.raises(StorageUnavailable) as refusal:
            open_breaker.check()
        assert refusal.value.headers["Retry-After"] == "2"

    @pytest.mark.req("B-291")
    def test_pauses_between_probes_grow_to_five_seconds(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        pauses = []
        for _ in range(5):
            began = clock.now
            while not is_admitted(open_breaker):
                clock.now += 0.25
            pauses.append(clock.now - began)
            open_breaker.record_failure("refused")
        assert pauses == [FIRST_PAUSE_SECONDS, 2, 4, OPEN_SECONDS, OPEN_SECONDS]

    def test_success_shortens_the_pause_again(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.check()
        open_breaker.record_success()
        for _ in range(FAILURES):
            open_breaker.record_failure("refused")
        clock.now += FIRST_PAUSE_SECONDS
        assert is_admitted(open_breaker)

    def test_one_caller_probes_half_open_circuit(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        assert [is_admitted(open_breaker) for _ in range(4)] == [True, False, False, False]

    def test_unfinished_probe_expires(self, open_breaker: CircuitBreaker, clock: Clock) -> None:
        clock.now += OPEN_SECONDS
        assert is_admitted(open_breaker)
        clock.now += OPEN_SECONDS
        assert is_admitted(open_breaker)

    def test_failed_probe_keeps_circuit_open(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.check()
        open_breaker.record_failure("refused")
        clock.now += 2 * FIRST_PAUSE_SECONDS - 0.1
        assert not is_admitted(open_breaker)

    def test_successful_probe_closes_circuit(
        self, open_breaker: CircuitBreaker, clock: Clock
    ) -> None:
        clock.now += OPEN_SECONDS
        open_breaker.check()
        open_breaker.record_success()
        assert [is_admitted(open_breaker) for _ in range(3)] == [True] * 3
