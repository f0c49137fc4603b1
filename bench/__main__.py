"""The command line of the bench: `python -m bench --help`."""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import report
from bench.machine import describe_machine
from bench.measure import Result
from bench.scenarios import scenarios
from bench.setup import Setup

RESULTS = Path(__file__).with_name("results")
MEMORY = Path("/dev/shm")


def main() -> None:
    """Run scenarios in turn; write the result of each, and the report of all."""
    known = scenarios()
    arguments = _parse_arguments(list(known))
    # Results of a quick run are never mistaken for measurements.
    results = RESULTS / "quick" if arguments.quick else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or list(known):
        with (
            _folder(arguments.scratch) as scratch,
            _folder(arguments.store) as store,
        ):
            print(f"{name}: {known[name].__doc__}", flush=True)
            started, machine = time.monotonic(), describe_machine(scratch, store)
            result: Result = known[name].measure(Setup(scratch, store, arguments.quick))
            whole = {
                **result.as_json(),
                "machine": machine,
                "quick": arguments.quick,
                "took_seconds": round(time.monotonic() - started, 1),
            }
            target = results / f"{name}.json"
            target.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
            for ending, text in result.attachments.items():
                (results / f"{name}-{ending}").write_text(text)
            _show(result)
        if not arguments.quick:
            # After each scenario, so that results are kept if a later one fails.
            report.write(RESULTS)


def _parse_arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.lower().split(","),
        help=f"some of {','.join(names)}; default: all",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short turns: only shows that the bench works"
    )
    parser.add_argument("--scratch", type=Path, help="directory for databases and logs")
    parser.add_argument(
        "--store",
        type=Path,
        default=MEMORY if os.access(MEMORY, os.W_OK) else None,
        help="directory for stored files; in memory if possible",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.only or []) - set(names)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return arguments


@contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    """Yield an empty directory that the account of PostgreSQL can enter, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="docvault-bench-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show(result: Result) -> None:
    for check in result.checks:
        if check.figure is None:
            print(f"  {check.what}: not measured, target {check.target}")
            continue
        sign = "met" if check.met else "NOT met"
        print(f"  {check.what}: {check.figure:.3g}{check.unit}, target {check.target}: {sign}")
    for peer, reason in result.missing.items():
        print(f"  without {peer}: {reason}")


if __name__ == "__main__":
    main()
