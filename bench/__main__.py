"""The command line of the bench: `python -m bench --help`."""

import argparse
import importlib
import json
import os
import pkgutil
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import bench.scenarios
from bench.machine import describe_machine
from bench.measure import Result
from bench.setup import Setup

RESULTS = Path(__file__).with_name("results")
MEMORY = Path("/dev/shm")


def main() -> None:
    """Run scenarios one after the other; write what each finds into `bench/results/`."""
    scenarios = _scenarios()
    arguments = _parse_arguments(list(scenarios))
    arguments.results.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or list(scenarios):
        with (
            _folder(arguments.scratch) as scratch,
            _folder(arguments.store) as store,
        ):
            print(f"{name}: {scenarios[name].__doc__}", flush=True)
            started, machine = time.monotonic(), describe_machine(scratch, store)
            result: Result = scenarios[name].measure(Setup(scratch, store, arguments.quick))
            report = {
                **result.as_json(),
                "machine": machine,
                "quick": arguments.quick,
                "took_seconds": round(time.monotonic() - started, 1),
            }
            target = arguments.results / f"{name}.json"
            target.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
            for ending, text in result.attachments.items():
                (arguments.results / f"{name}-{ending}").write_text(text)
            _show(result)


def _scenarios() -> dict[str, ModuleType]:
    """Return the modules of the scenarios by their short names, such as `p1`, in their order."""
    found: dict[str, ModuleType] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(bench.scenarios.__path__)):
        found[_short_name(module)] = importlib.import_module(f"bench.scenarios.{module}")
    return found


def _short_name(module: str) -> str:
    number = module.partition("_")[0].removeprefix("p")
    return f"p{int(number)}" if number.isdecimal() else module


def _parse_arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.lower().split(","),
        help=f"some of {','.join(names)}; all without it",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short turns: shows that the bench works, no more"
    )
    parser.add_argument("--scratch", type=Path, help="where databases and logs go for the time")
    parser.add_argument(
        "--store",
        type=Path,
        default=MEMORY if os.access(MEMORY, os.W_OK) else None,
        help="where stored files go for the time; in memory if possible",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    arguments = parser.parse_args()
    unknown = set(arguments.only or []) - set(names)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return arguments


@contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    """Give an empty folder that the account of PostgreSQL can enter, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="docvault-bench-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show(result: Result) -> None:
    for check in result.checks:
        sign = "met" if check.met else "NOT met"
        print(f"  {check.what}: {check.figure:.3g}{check.unit}, target {check.target}: {sign}")
    for peer, reason in result.missing.items():
        print(f"  without {peer}: {reason}")


if __name__ == "__main__":
    main()
