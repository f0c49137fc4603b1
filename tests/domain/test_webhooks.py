"""When a delivery is tried again, and when a webhook is disabled."""

from datetime import timedelta

import pytest

from docvault.domain.webhooks import MAX_ATTEMPTS, Failures, wait_after

HOUR = timedelta(hours=1)
SCHEDULE = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
]


@pytest.mark.req("B-241")
class TestWaitAfter:
    """wait_after()."""

    def test_waits_are_those_of_standard_webhooks(self) -> None:
        waits = [wait_after(attempts, None, 0.5) for attempts in range(1, MAX_ATTEMPTS + 1)]
        assert waits == [*SCHEDULE, None]

    @pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (1.0, 1.2)])
    def test_chance_changes_them_by_a_fifth(self, chance: float, share: float) -> None:
        assert wait_after(3, None, chance) == timedelta(minutes=30) * share

    @pytest.mark.parametrize(
        ("asked", "wait"),
        [
            (timedelta(seconds=1), timedelta(minutes=5)),
            (timedelta(hours=3), timedelta(hours=3)),
            (timedelta(days=3), timedelta(hours=24)),
        ],
    )
    def test_receiver_can_ask_for_a_longer_wait_of_up_to_a_day(
        self, asked: timedelta, wait: timedelta
    ) -> None:
        assert wait_after(2, asked, 0.5) == wait

    def test_no_attempt_follows_the_tenth_whatever_the_receiver_asks(self) -> None:
        assert wait_after(10, HOUR, 0.5) is None


@pytest.mark.req("B-242")
class TestFailures:
    """Failures."""

    @pytest.mark.parametrize(
        ("number", "days", "too_many"), [(20, 5, True), (19, 50, False), (200, 4.9, False)]
    )
    def test_webhook_is_disabled_after_five_days_and_twenty_failures(
        self, number: int, days: float, too_many: bool
    ) -> None:
        assert Failures(number, timedelta(days=days)).is_too_many == too_many
