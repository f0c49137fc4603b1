"""The sender and the receiver of a heartbeat."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from docvault.server import heartbeat
from docvault.server.heartbeat import (
    LONGEST_STEP_SECONDS,
    SILENCE_SECONDS,
    START_SECONDS,
    Pulse,
    send_heartbeats,
)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    pulse = Pulse()
    yield pulse
    pulse.close()
    os.close(pulse.write_end)


def checks_until_lost(pulse: Pulse, seconds: float) -> int:
    return next(number for number in range(1, 10_000) if pulse.is_lost(seconds))


def test_starting_process_has_longer_limit(pulse: Pulse) -> None:
    assert checks_until_lost(pulse, 0.2) == pytest.approx(START_SECONDS / 0.2, abs=2)


def test_silent_process_is_lost_after_limit(pulse: Pulse) -> None:
    os.write(pulse.write_end, b".")
    assert not pulse.is_lost(0.2)
    assert checks_until_lost(pulse, 0.2) == pytest.approx(SILENCE_SECONDS / 0.2, abs=2)


def test_beat_resets_count(pulse: Pulse) -> None:
    os.write(pulse.write_end, b".")
    for _ in range(10):
        for _ in range(int(SILENCE_SECONDS / 0.5)):
            assert not pulse.is_lost(0.5)
        os.write(pulse.write_end, b"..")


def test_suspension_counts_as_one_step(pulse: Pulse) -> None:
    os.write(pulse.write_end, b".")
    assert not pulse.is_lost(0.2)
    assert not pulse.is_lost(8 * 3600)
    assert pulse.silent_seconds == LONGEST_STEP_SECONDS


async def test_running_event_loop_beats(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    async with send_heartbeats(pulse.write_end):
        for _ in range(3):
            await asyncio.sleep(0.1)
            pulse.is_lost(0.5)
            assert pulse.silent_seconds == 0


async def test_full_pipe_does_not_stop_beating(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    os.set_blocking(pulse.write_end, False)
    # More than a pipe holds: only what fits is written.
    assert os.write(pulse.write_end, b"." * 10**6) < 10**6
    async with send_heartbeats(pulse.write_end):
        await asyncio.sleep(0.1)
        # Reads everything in the pipe.
        assert not pulse.is_lost(0.5)
        pulse.silent_seconds = 1.0
        await asyncio.sleep(0.1)
        pulse.is_lost(0.5)
        assert pulse.silent_seconds == 0
