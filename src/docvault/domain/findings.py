"""What checks of a deployment find."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding matters."""

    OK = 0
    HINT = 1
    PROBLEM = 2
    # Nothing can be served.
    FATAL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: what is wrong, and what to do about it."""

    check: str
    problem: str = "ok"
    advice: str | None = None
    severity: Severity = Severity.PROBLEM

    def __str__(self) -> str:
        """Return the finding as one line."""
        hint = "hint: " if self.severity is Severity.HINT else ""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.check}: {hint}{self.problem}{advice}"


def passed(check: str) -> Finding:
    """Return the finding of a check that found nothing."""
    return Finding(check, severity=Severity.OK)
