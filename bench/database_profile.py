"""Where PostgreSQL spends its time, by sampling the stacks of its processes."""

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.processes import Tree
from bench.setup import Missing

PER_SECOND = 397
STACK_BYTES = 16384
REST = "receiving, parsing, sending"
# By a function of PostgreSQL's source. A sample belongs to the first step that its stack has:
# what a trigger writes is part of the trigger.
STEPS = {
    "plpgsql_exec_trigger": "triggers: fact set, customer",
    "plpgsql_exec_function": "functions: reservation and quotas",
    "ri_PerformCheck": "foreign keys",
    "CommitTransaction": "commit, with the flush",
    "ExecInsertIndexTuples": "entries in indexes",
    "ExecModifyTable": "rows",
    "standard_ExecutorRun": "reads, expressions",
    "standard_ExecutorFinish": "reads, expressions",
    "standard_ExecutorStart": "preparing execution",
    "standard_ExecutorEnd": "preparing execution",
    "GetCachedPlan": "plans",
}


def profile_database(
    database: Tree, seconds: float, load: Callable[[], object]
) -> list[tuple[str, float]]:
    """Return the share of each step while a load runs, largest first.

    The load should take a little longer than `seconds`. Raises `Missing` if there is no perf or
    sampling is not permitted.
    """
    perf = shutil.which("perf")
    if perf is None:
        raise Missing("perf is not installed (Debian: linux-perf)")
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "stacks"
        pids = ",".join(str(process.pid) for process in database.processes())
        record = [perf, "record", "--quiet", "--event", "cpu-clock", "--freq", str(PER_SECOND)]
        record += ["--call-graph", f"dwarf,{STACK_BYTES}", "--output", str(recorded)]
        record += ["--pid", pids, "--", "sleep", str(seconds)]
        with subprocess.Popen(
            record, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as recorder:
            load()
            _, errors = recorder.communicate()
        if recorder.returncode:
            raise Missing(errors.strip() or "perf recorded no samples")
        script = [perf, "script", "--fields", "ip,sym", "--input", str(recorded)]
        text = subprocess.run(
            script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        ).stdout
    steps = Counter(_step(stack) for stack in read_stacks(text))
    return [(step, seen / steps.total()) for step, seen in steps.most_common()]


def read_stacks(text: str) -> Iterator[set[str]]:
    """Yield the functions of each sample in the output of `perf script`."""
    for sample in text.split("\n\n"):
        frames = (line.split() for line in sample.splitlines())
        # The compiler appends to the names of functions it has changed: `name.isra.0`.
        stack = {frame[1].partition(".")[0] for frame in frames if len(frame) > 1}
        if stack:
            yield stack


def _step(stack: set[str]) -> str:
    return next((step for function, step in STEPS.items() if function in stack), REST)
