"""A clock that tests set."""


class Clock:
    """Replaces the `time` module of a module under test."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        """Return the time set by the test, in seconds."""
        return self.now
