"""What a steady client sees while something happens to a deployment."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
from tests.factories import files
from tests.factories.setups import upload_of
from tests.system.engine.deployment import Deployment
from tests.torture.figures import Figure

PACE_SECONDS = 0.1
CUSTOMERS = 8
BEFORE_SECONDS = 3
# All is well again after this long without a failure.
CALM_SECONDS = 5
LONGEST_SECONDS = 240
# Sent, but refused by the proxy or by docvault.
REFUSED = "503"
PAGE = "/v1/admin/customers"
DOCUMENT = "/v1/admin/customers/steady-{}/documents/scan"


@dataclass(slots=True)
class Requests:
    """Requests of one kind: how they ended, and when they succeeded."""

    began: float = field(default_factory=time.monotonic)
    outcomes: Counter[str] = field(default_factory=Counter)
    succeeded: list[float] = field(default_factory=list)
    failed_at: float = 0.0

    @property
    def is_calm(self) -> bool:
        """Whether they have succeeded for a while."""
        since = max(self.began, self.failed_at)
        return bool(self.succeeded) and self.succeeded[-1] - since > CALM_SECONDS

    @property
    def failed(self) -> int:
        """How many did not succeed."""
        return sum(n for outcome, n in self.outcomes.items() if not outcome.startswith("2"))

    @property
    def outage(self) -> float:
        """The longest time without a success, in seconds."""
        moments = [self.began, *self.succeeded]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    def first_success_after(self, moment: float) -> float:
        """Return the seconds from a moment to the next success."""
        return next(one for one in self.succeeded if one > moment) - moment


Seen = dict[str, Requests]


def observe(deployment: Deployment, happens: Callable[[], object]) -> Seen:
    """Read, upload and download steadily while something happens, and until all is well again."""
    stop = threading.Event()
    upload = upload_of(files.png(), "scan")
    with deployment.client() as client:
        client.post("/v1/admin/document-types", json={"name": "Scan"})
        for number in range(CUSTOMERS):
            client.put(f"{PAGE}/steady-{number}", json={}).raise_for_status()
            client.put(DOCUMENT.format(number), **upload).raise_for_status()
        sends: dict[str, Callable[[int], httpx.Response]] = {
            "reads": lambda _: client.get(PAGE),
            "uploads": lambda n: client.put(DOCUMENT.format(n % CUSTOMERS), **upload),
            "downloads": lambda n: client.get(f"{DOCUMENT.format(n % CUSTOMERS)}/content"),
        }
        seen = {name: Requests() for name in sends}
        with ThreadPoolExecutor(len(sends)) as pool:
            sending = [
                pool.submit(send_steadily, send, stop, seen[name]) for name, send in sends.items()
            ]
            try:
                time.sleep(BEFORE_SECONDS)
                happens()
                wait_for_calm(seen, time.monotonic())
            finally:
                stop.set()
            for future in sending:
                future.result()
    return seen


def wait_for_calm(seen: Seen, since: float) -> None:
    """Wait until nothing has failed for a while; end the program if that takes too long."""
    is_calm = False
    while not is_calm:
        time.sleep(0.5)
        now = time.monotonic()
        if now > since + LONGEST_SECONDS:
            outcomes = {name: dict(requests.outcomes) for name, requests in seen.items()}
            sys.exit(f"requests still fail: {outcomes}")
        is_calm = now > since + CALM_SECONDS and all(r.is_calm for r in seen.values())


def send_steadily(
    send: Callable[[int], httpx.Response], stop: threading.Event, seen: Requests
) -> None:
    """Send a request ten times a second, and record how each ends."""
    number = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            outcome = str(send(number).status_code)
        except httpx.TransportError as error:
            outcome = type(error).__name__
        now = time.monotonic()
        number += 1
        seen.outcomes[outcome] += 1
        if outcome.startswith("2"):
            seen.succeeded.append(now)
        else:
            seen.failed_at = now
        time.sleep(max(0.0, PACE_SECONDS - (now - began)))


def outages(seen: Seen, prefix: str = "") -> dict[str, Figure]:
    """Return how long each kind of request did not succeed."""
    return {
        f"{prefix}longest time without a success of {name}, s": round(requests.outage, 1)
        for name, requests in seen.items()
    }


def totals(*all_seen: Seen) -> dict[str, Figure]:
    """Return how many requests were sent, refused, and failed otherwise."""
    outcomes: Counter[str] = Counter()
    failed = 0
    for seen in all_seen:
        for requests in seen.values():
            outcomes += requests.outcomes
            failed += requests.failed
    return {
        "requests": outcomes.total(),
        "refused with 503": outcomes[REFUSED],
        "failed otherwise": failed - outcomes[REFUSED],
    }
