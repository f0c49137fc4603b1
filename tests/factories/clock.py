"""A clock that tests set."""


class Clock:
    """What `time.monotonic` says inside a module whose `time` this is."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        """Return the time that was set, in seconds."""
        return self.now
