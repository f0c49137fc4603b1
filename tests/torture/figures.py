"""Sizes and figures of the tests that show a guarantee.

A test is marked `@pytest.mark.guarantee(id, promise=…, tried=…, not_shown=…)` and uses two
fixtures: `size` determines how much to do, `figures` collects the results. In a full run
(`--torture SHARE`, as in `make torture`) each test that passes writes one JSON file, from which
`guarantees.py` renders docs/guarantees.md.
"""

import json
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "guarantees"

Figure = int | float | str
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for full sizes."""
    parser.addoption(
        "--torture",
        type=float,
        default=None,
        metavar="SHARE",
        help="run the guarantee tests at this share of their full size and save their figures",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test passed; its figures are saved only then."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@dataclass(frozen=True, slots=True)
class Size:
    """How much a test does: little in CI, a share of its full size on request."""

    share: float | None

    @property
    def is_full(self) -> bool:
        """Whether this run saves its figures."""
        return self.share is not None

    def of(self, *, ci: int, full: int) -> int:
        """Return the number of repetitions."""
        return ci if self.share is None else max(1, round(full * self.share))


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    """The size of this run."""
    return Size(pytestconfig.getoption("--torture"))


@pytest.fixture
def figures(request: pytest.FixtureRequest, size: Size) -> Iterator[dict[str, Figure]]:
    """The results of a test by readable label, in the order of the report."""
    kept: dict[str, Figure] = {}
    began = time.monotonic()
    yield kept
    if not request.node.stash.get(_PASSED, False):
        return
    marker = request.node.get_closest_marker("guarantee")
    if marker is None or not kept:
        raise pytest.UsageError(f"{request.node.nodeid} uses figures but records none")
    if size.is_full:
        name = record_name(marker.args[0], request.node.name)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / name).write_text(
            json.dumps(
                {
                    "id": marker.args[0],
                    **marker.kwargs,
                    "case": getattr(getattr(request.node, "callspec", None), "id", ""),
                    "figures": kept,
                    "share": size.share,
                    "seconds": round(time.monotonic() - began),
                    "date": datetime.now(UTC).date().isoformat(),
                },
                indent=2,
                ensure_ascii=False,
            )
            + "\n"
        )


def record_name(guarantee: str, test: str) -> str:
    """Return the file name of a test's figures."""
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower()).strip("-")
    return f"{guarantee.lower()}-{words}.json"
