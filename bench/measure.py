"""Turns and rounds: contestants take turns, and only figures of the same round are compared."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from bench.load import Load, Requests, closed_loop
from bench.processes import MEBIBYTE, NotStarted, Tree
from bench.setup import Missing, Setup

# The target, and the stretch target if there is one.
Bounds = tuple[float, float | None]
# The measurements of one turn, by name; the unit is part of the name.
Sample = Mapping[str, float]

_Peer = TypeVar("_Peer")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server or client to measure."""

    name: str
    turn: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Check:
    """A figure and its target; without a figure if a peer is not available."""

    what: str
    figure: float | None
    target: float
    better: Literal["higher", "lower"]
    stretch: float | None = None
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None if unknown."""
        if self.figure is None:
            return None
        return self.figure >= self.target if self.better == "higher" else self.figure <= self.target


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines of a chart: points of x and y by the name of the line."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    logarithmic: bool = False


@dataclass(slots=True)
class Result:
    """The result of a scenario; unavailable peers are in `missing` with the reason."""

    id: str
    title: str
    # In words; the checks hold its figures.
    target: str
    # The measurement shown as a chart; empty: none.
    shown: str = ""
    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    # Rows that are neither figures of a contestant nor lines of a chart, by title.
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # Longer texts by file name, stored next to the result.
    attachments: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, figure: str) -> float:
        """Return the median over a contestant's rounds."""
        return statistics.median(sample[figure] for sample in self.rounds[name])

    def ratio(self, name: str, other: str, figure: str) -> float | None:
        """Return the median over the rounds of the ratio within a round; None without a peer."""
        if name not in self.rounds or other not in self.rounds:
            return None
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return statistics.median(ours[figure] / theirs[figure] for ours, theirs in pairs)

    def check_ratio(
        self,
        name: str,
        other: str,
        figure: str,
        *,
        at_least: Bounds | None = None,
        at_most: Bounds | None = None,
    ) -> None:
        """Compare with a peer, if available."""
        ratio = self.ratio(name, other, figure)
        bounds = at_least or at_most
        if bounds is not None:
            what = f"{figure}: {name} / {other}"
            better: Literal["higher", "lower"] = "higher" if at_least else "lower"
            self.checks.append(Check(what, ratio, bounds[0], better, bounds[1]))

    @contextmanager
    def peers(self) -> Iterator["Peers"]:
        """Yield a launcher that starts peers and records those that are unavailable."""
        with ExitStack() as stack:
            yield Peers(self, stack)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON data, with the medians."""
        medians = {
            name: {figure: self.median(name, figure) for figure in samples[0]}
            for name, samples in self.rounds.items()
            if samples
        }
        checks = [{**asdict(check), "met": check.met} for check in self.checks]
        whole = {**asdict(self), "checks": checks, "medians": medians}
        del whole["attachments"]
        return whole


@dataclass(frozen=True, slots=True)
class Peers:
    """The peers of one result."""

    result: Result
    stack: ExitStack

    def start(self, name: str, peer: AbstractContextManager[_Peer]) -> _Peer | None:
        """Start a peer; return None and record it as missing if it is unavailable."""
        try:
            return self.stack.enter_context(peer)
        except (Missing, NotStarted) as error:
            self.result.missing[name] = str(error)
            print(f"  {name} is missing: {error}", flush=True)
            return None


def interleave(result: Result, contestants: Sequence[Contestant], rounds: int) -> None:
    """Give every contestant a turn in each round, after a warm-up turn that is not counted.

    The order rotates by one in each round, so that no contestant always follows the same one.
    """
    for contestant in contestants:
        contestant.turn()
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in [*contestants[first:], *contestants[:first]]:
            sample = contestant.turn()
            result.rounds.setdefault(contestant.name, []).append(sample)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in sample.items())
            print(f"  {result.id} {number + 1}/{rounds} {contestant.name}: {shown}", flush=True)


def under_load(
    setup: Setup,
    port: int,
    supply: Requests,
    *,
    after: Callable[[], None] = lambda: None,
    **trees: Tree,
) -> Callable[[], Sample]:
    """Return a turn of load on a server; `after` cleans up and is not timed."""

    def turn() -> Sample:
        sample = load_sample(lambda: closed_loop(port, supply, seconds=setup.seconds), **trees)
        after()
        return sample

    return turn


def load_sample(run: Callable[[], Load], **trees: Tree) -> Sample:
    """Run a load; return its rate and latencies, and the resources of each process tree."""
    cost = Cost(**trees)
    load = run()
    if not load.requests:
        raise RuntimeError(f"no 2xx response, but {dict(load.failures)}")
    return {
        "per_second": load.rate,
        "p50_ms": load.percentile(0.50) * 1e3,
        "p95_ms": load.percentile(0.95) * 1e3,
        "p99_ms": load.percentile(0.99) * 1e3,
        "failures": float(load.failures.total()),
        **cost.figures(load.requests),
    }


class Cost:
    """The resources that some process trees use from now on."""

    def __init__(self, **trees: Tree) -> None:
        self._trees = trees
        for tree in trees.values():
            tree.reset_peak()
        self._resident = {name: tree.resident_bytes() for name, tree in trees.items()}
        self._cpu = {name: tree.cpu_seconds() for name, tree in trees.items()}

    def figures(self, requests: int) -> dict[str, float]:
        """Return CPU time per request, peak memory, and memory growth up to the peak."""
        found: dict[str, float] = {}
        for name, tree in self._trees.items():
            peak = tree.peak_bytes()
            spent = tree.cpu_seconds() - self._cpu[name]
            found[f"{name}_cpu_us"] = spent / requests * 1e6
            found[f"{name}_peak_mib"] = peak / MEBIBYTE
            found[f"{name}_growth_mib"] = (peak - self._resident[name]) / MEBIBYTE
        return found
