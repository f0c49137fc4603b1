"""Memory of the containers while as many files are uploaded as the API accepts at once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.factories import files
from tests.factories.setups import upload_of
from tests.system.engine.deployment import Deployment
from tests.torture.figures import Figure

UPLOADS = 32
ROUNDS = 3
UPLOAD_MEBIBYTES = 12
MEBIBYTE = 2**20
MEASURED = ("proxy", "api", "store", "database")
# What a container holds, without the page cache, which the kernel gives back. Of cgroups in version
# 2 and 1; each sample ends with an empty line.
ENOUGH = "/tmp/.enough"
SAMPLES = f"""
rm -f {ENOUGH}
while [ ! -e {ENOUGH} ]; do
    cat /sys/fs/cgroup/memory.stat /sys/fs/cgroup/memory/memory.stat 2>/dev/null |
        grep -E '^(anon|rss|shmem) '
    echo
    sleep 0.2
done
"""
KILLS = "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null"


@contextmanager
def sampled(deployment: Deployment, services: Iterable[str]) -> Iterator[dict[str, int]]:
    """Sample the memory of containers; afterwards the peaks are there, in bytes."""
    peaks: dict[str, int] = {}
    with ThreadPoolExecutor() as pool:
        samples = {name: pool.submit(deployment.script, name, SAMPLES) for name in services}
        try:
            yield peaks
        finally:
            for name in services:
                deployment.script(name, f"touch {ENOUGH}")
        for name, future in samples.items():
            peaks[name] = max(map(held, future.result().split("\n\n")))


def held(sample: str) -> int:
    """Return the bytes of one sample."""
    return sum(int(line.split()[1]) for line in sample.splitlines() if line)


def killed_in(deployment: Deployment, service: str) -> int:
    """Return how many processes of a container were killed for lack of memory."""
    lines = [line.split() for line in deployment.script(service, KILLS, fails=True).splitlines()]
    return sum(int(line[1]) for line in lines if line[0] == "oom_kill")


def upload_at_once(deployment: Deployment) -> dict[str, Figure]:
    """Upload as many files as the API accepts at once; return outcomes and peaks."""
    body = files.pdf() + b"%" + b"0" * (UPLOAD_MEBIBYTES * MEBIBYTE) + b"\n" + files.pdf()[-40:]
    starts = {name: deployment.inspect(name, "{{.State.StartedAt}}") for name in MEASURED}
    outcomes: Counter[int] = Counter()
    with deployment.client() as client, sampled(deployment, MEASURED) as peaks:
        client.post("/v1/admin/document-types", json={"name": "Large"})
        for number in range(UPLOADS):
            client.put(f"/v1/admin/customers/large-{number}", json={}).raise_for_status()

        def upload(number: int) -> int:
            path = f"/v1/admin/customers/large-{number}/documents/large"
            return client.put(path, **upload_of(body, "large")).status_code

        for _ in range(ROUNDS):
            with ThreadPoolExecutor(UPLOADS) as pool:
                outcomes.update(pool.map(upload, range(UPLOADS)))
    shown: dict[str, Figure] = {}
    for name, peak in peaks.items():
        (limit,) = deployment.inspect(name, "{{.HostConfig.Memory}}")
        shown[f"{name}: limit, MiB"] = int(limit) // MEBIBYTE
        shown[f"{name}: peak without the page cache, MiB"] = peak // MEBIBYTE
    shown["processes killed for lack of memory"] = sum(
        killed_in(deployment, name) for name in MEASURED
    )
    shown["containers restarted"] = sum(
        starts[name] != deployment.inspect(name, "{{.State.StartedAt}}") for name in MEASURED
    )
    accepted = outcomes[200] + outcomes[201]
    shown[f"accepted, of {outcomes.total()}"] = accepted
    shown["503 overloaded, as one process got more than its 16"] = outcomes.pop(503, 0)
    shown["other responses"] = outcomes.total() - accepted
    return shown
