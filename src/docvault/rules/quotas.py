"""How much may be stored for one customer (D18)."""

from dataclasses import dataclass
from enum import StrEnum


class Measure(StrEnum):
    """What a quota counts."""

    FILES = "files"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Volume:
    """A number of files and their bytes together."""

    files: int
    size_bytes: int

    def of(self, measure: Measure) -> int:
        """Return one of the two."""
        return self.files if measure is Measure.FILES else self.size_bytes


NO_QUOTA = Volume(0, 0)


def exceeded(quota: Volume, used: Volume, more: Volume) -> Measure | None:
    """Return what there would be too much of with `more`, None when there is room.

    A quota of 0 is no limit.
    """
    for measure in Measure:
        limit = quota.of(measure)
        if limit and used.of(measure) + more.of(measure) > limit:
            return measure
    return None
