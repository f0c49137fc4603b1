"""Guessing API keys reveals nothing, neither by the response nor by its timing (T14)."""

import math
import random
import re
import statistics
import time

import httpx
import pytest
from tests.api.world import Scenario, build_scenario
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables
from tests.fixtures.statements import sent_statements
from tests.torture.figures import Figure, Size

from docvault.auth.api_keys import ALPHABET, generate_key, parse_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources

FORM = re.compile(r"dv_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")
PATH = "/v1/integration/document-types"
SENT_TYPOS = 200
# A larger standard score would reveal something to an attacker (TVLA, as in ISO/IEC 17825).
LEAK = 4.5


def typo(key: str) -> str:
    """Return the key with one character replaced."""
    place = random.randrange(len(key))
    other = random.choice([letter for letter in f"{ALPHABET}_-" if letter != key[place]])
    return key[:place] + other + key[place + 1 :]


@pytest.mark.guarantee(
    "T14",
    promise="Keys are unique, and a mistyped one is detected without a database query.",
    tried="Keys are generated and compared with each other and with their format; in some of them "
    "one character is replaced. Some of the mistyped keys are sent to the service, and its "
    "statements are counted. All rows are searched for the secrets of the keys that it issued.",
    not_shown="",
)
async def test_mistyped_key_does_not_reach_database(
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    keys = [generate_key()[0] for _ in range(size.of(ci=5_000, full=100_000))]
    assert all(map(FORM.fullmatch, keys))
    assert len(set(keys)) == len(keys)
    typos = [typo(key) for key in keys[: size.of(ci=5_000, full=10_000)]]
    assert not any(map(parse_key, typos))

    scenario = await build_scenario(http, issuer, resources)
    issued = {headers["X-API-Key"] for headers in keys_of(scenario).values()}
    with sent_statements() as sent:
        for key in random.choices(sorted(issued), k=SENT_TYPOS):
            response = await http.get(PATH, headers={"X-API-Key": typo(key)})
            assert (response.status_code, response.json()["code"]) == (401, "invalid-api-key")
        assert sent == []
        # A correct key is looked up, so the statements of a mistyped one would have been seen.
        await http.get(PATH, headers={"X-API-Key": min(issued)})
        assert sent != []

    rows = b"\n".join(row for rows in Tables(database_url).rows().values() for row in rows)
    assert not any(key[17:60].encode() in rows for key in issued)
    figures["keys"] = len(keys)
    figures["mistyped keys"] = len(typos)
    figures["mistyped keys sent to the service"] = SENT_TYPOS
    figures["statements for mistyped keys"] = figures["duplicate keys"] = 0


def keys_of(scenario: Scenario) -> dict[str, dict[str, str]]:
    """Return the headers of the issued keys."""
    return {
        name: dict(headers)
        for name, headers in scenario.callers.items()
        if name.startswith("key with") and "X-API-Key" in headers and "typo" not in name
    }


@pytest.mark.guarantee(
    "T14",
    promise="The response time does not reveal whether a key exists, was revoked or is wrong.",
    tried="Keys with an unknown id, with another secret and revoked ones are sent in random order, "
    "in the process of the service. Times are compared by Mann and Whitney's rank test; a standard "
    "score beyond 4.5 would count as a difference.",
    not_shown="Differences below the noise of the machine, which hides more in the sizes of CI.",
)
async def test_rejection_time_reveals_nothing(
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    scenario = await build_scenario(http, issuer, resources)
    kinds = ["unknown key", "key with another secret", "key revoked"]
    clients = {kind: with_headers(http, dict(scenario.callers[kind])) for kind in kinds}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    number = size.of(ci=200, full=10_000)
    for kind in random.sample(kinds * number, k=len(kinds) * number):
        began = time.perf_counter_ns()
        response = await clients[kind].get(PATH)
        times[kind].append((time.perf_counter_ns() - began) / 1000)
        assert response.status_code == 401
    figures["requests of each kind"] = number
    for one, other in ((0, 1), (0, 2), (1, 2)):
        z = rank_z(times[kinds[one]], times[kinds[other]])
        figures[f"z of '{kinds[one]}' and '{kinds[other]}'"] = round(z, 2)
        assert abs(z) < LEAK, figures
    for kind in kinds:
        figures[f"median of '{kind}', µs"] = round(statistics.median(times[kind]))


def rank_z(one: list[float], other: list[float]) -> float:
    """Return the standard score of Mann and Whitney's rank sum: how often `one` is slower.

    Ranks keep the few requests that the machine holds up from deciding.
    """
    ranked = sorted([(value, 1) for value in one] + [(value, 0) for value in other])
    rank_sum = sum(rank for rank, (_, is_one) in enumerate(ranked, start=1) if is_one)
    total = len(ranked) + 1
    expected = len(one) * total / 2
    return (rank_sum - expected) / math.sqrt(len(one) * len(other) * total / 12)
