"""Verdicts of malware scans, and quarantine (D25)."""

from dataclasses import dataclass
from enum import StrEnum


class ScanState(StrEnum):
    """The outcome of the last malware scan of a file.

    `error`: the scan failed, and an earlier verdict no longer holds, except that an infected file
    stays infected. `not_configured`: there was no scanner.
    """

    CLEAN = "clean"
    INFECTED = "infected"
    ERROR = "error"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """The outcome of a scan, and the versions of the scanner and its signatures."""

    state: ScanState
    scanned_with: str | None


NOT_SCANNED = ScanVerdict(ScanState.NOT_CONFIGURED, None)


def is_quarantined(state: ScanState) -> bool:
    """Return whether the bytes of a file may not be read by anyone."""
    return state == ScanState.INFECTED


def state_after_failure(state: ScanState) -> ScanState:
    """Return the state after a scan without a verdict, which never lifts a quarantine."""
    return state if is_quarantined(state) else ScanState.ERROR
