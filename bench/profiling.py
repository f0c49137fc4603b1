"""Where a process spends its time, by sampling its stacks."""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.setup import Missing

PY_SPY = Path(sys.executable).with_name("py-spy")
PER_SECOND = 250
# Frames of docvault are grouped by layer, others by package.
_OWN = "docvault"
# These only start the work: below them are the event loop and its sockets.
_STARTERS = {"__main__", "cli", "server"}
_WAITING = "_worker (concurrent/futures/thread.py:"
_LIBRARIES = {
    *("fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "prometheus_client"),
    *("psycopg", "sqlalchemy", "anyio", "jwt", "uuid_utils"),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The number of samples of each stack, from the outermost frame to the innermost."""

    stacks: Counter[tuple[str, ...]]

    def by_layer(self) -> list[tuple[str, float]]:
        """Return the share of each layer, largest first.

        A sample belongs to the innermost frame that has an owner: time in the standard library is
        attributed to its caller.
        """
        layers: Counter[str] = Counter()
        for stack, seen in self.stacks.items():
            named = (layer for frame in reversed(stack) if (layer := _layer(frame)))
            layers[next(named, "event loop and sockets")] += seen
        return self._shares(layers)

    def by_function(self) -> list[tuple[str, float]]:
        """Return the cumulative share of docvault's functions, largest first."""
        functions: Counter[str] = Counter()
        for stack, seen in self.stacks.items():
            own = {_function(frame) for frame in stack if (_layer(frame) or "").startswith(_OWN)}
            functions.update(dict.fromkeys(own, seen))
        return self._shares(functions)

    def _shares(self, counted: Counter[str]) -> list[tuple[str, float]]:
        total = self.stacks.total()
        return [(name, seen / total) for name, seen in counted.most_common()]


def profile(pid: int, seconds: float, load: Callable[[], object]) -> Profile:
    """Sample a process while a load runs, which should take a little longer than `seconds`.

    Raises `Missing` if sampling is not permitted.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stacks"
        options = ["--format", "raw", "--duration", str(round(seconds))]
        options += ["--rate", str(PER_SECOND), "--output", str(output), "--pid", str(pid)]
        with subprocess.Popen(
            [PY_SPY, "record", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as recorder:
            load()
            _, errors = recorder.communicate()
        if recorder.returncode or not output.exists():
            raise Missing(errors.decode(errors="replace").strip() or "py-spy recorded no samples")
        return Profile(Counter(dict(read_stacks(output.read_text()))))


def read_stacks(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the stacks of py-spy's raw format with their sample counts.

    Idle threads of a pool are skipped: py-spy reports them as busy.
    """
    for line in text.splitlines():
        stack, _, seen = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        if not frames[-1].startswith(_WAITING):
            yield frames, int(seen)


def _path(frame: str) -> str:
    """Return the file of `name (package/file.py:12)`."""
    return frame.rpartition(" (")[2]


def _function(frame: str) -> str:
    name, _, place = frame.rpartition(" (")
    return f"{place.partition('.py:')[0].removeprefix(f'{_OWN}/')}: {name}"


def _layer(frame: str) -> str | None:
    """Return the owner of a frame; None for the standard library and for launchers."""
    package, _, rest = _path(frame).partition("/")
    if package == _OWN:
        layer = rest.partition(".py:")[0].partition("/")[0]
        return None if layer in _STARTERS else f"{package} {layer}"
    return package if package in _LIBRARIES else None
