"""What a malware scan says about a file, and what follows from it (D25)."""

from dataclasses import dataclass
from enum import StrEnum


class ScanState(StrEnum):
    """How the last scan of a file ended.

    `error`: it gave no verdict, so that the verdict of the one before is not known any more; an
    infected file stays infected. `not_configured`: there was no scanner.
    """

    CLEAN = "clean"
    INFECTED = "infected"
    ERROR = "error"
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """How a scan ended, and with which versions of the scanner and its signatures."""

    state: ScanState
    scanned_with: str | None


NOT_SCANNED = ScanVerdict(ScanState.NOT_CONFIGURED, None)


def is_quarantined(state: ScanState) -> bool:
    """Return whether the bytes of a file are given to nobody."""
    return state == ScanState.INFECTED


def state_after_failure(state: ScanState) -> ScanState:
    """Return the state of a file whose scan gave no verdict: that never lifts a quarantine."""
    return state if is_quarantined(state) else ScanState.ERROR
