"""A host that sends all its customers to a deployment, and sends them again unchanged."""

import time
from collections import Counter

import httpx
from tests.system.engine.deployment import Deployment
from tests.torture.figures import Figure

CUSTOMERS = 20_000
# The most that a batch may have.
BATCH = 500
SYNCED = "synced-"


def sync_twice(deployment: Deployment) -> dict[str, Figure]:
    """Send the customers twice in batches, one after the other; return how long that takes."""
    with deployment.client() as client:
        wanted = {"name": "Host", "scopes": ["customers:write"]}
        created = client.post("/v1/admin/api-keys", json=wanted).raise_for_status().json()
        del client.headers["Authorization"]
        client.headers["X-API-Key"] = created["key"]
        return {
            "customers": CUSTOMERS,
            **_shown("created", 201, _send_all(client)),
            **_shown("unchanged", 200, _send_all(client)),
        }


def _send_all(host: httpx.Client) -> tuple[list[float], Counter[int]]:
    """Return the seconds of each batch, and how many customers had each status."""
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    for first in range(0, CUSTOMERS, BATCH):
        items = [
            {"id": f"{SYNCED}{n}", "name": f"Customer {n}", "email": f"c{n}@example.org"}
            for n in range(first, first + BATCH)
        ]
        began = time.monotonic()
        response = host.post("/v1/integration/customer-batches", json={"items": items})
        seconds.append(time.monotonic() - began)
        statuses.update(item["status"] for item in response.raise_for_status().json()["items"])
    return seconds, statuses


def _shown(what: str, expected: int, sent: tuple[list[float], Counter[int]]) -> dict[str, Figure]:
    seconds, statuses = sent
    assert statuses == {expected: CUSTOMERS}, statuses
    return {
        f"{what}: all, s": round(sum(seconds), 1),
        f"{what}: slowest batch of {BATCH}, s": round(max(seconds), 2),
    }
