"""Guessing API keys teaches nothing: not by form, not by the answer, not by its time (T14)."""

import math
import random
import re
import statistics
import time

import httpx
import pytest
from tests.api.world import World, build_world
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables
from tests.fixtures.statements import sent_statements
from tests.torture.figures import Figure, Size

from docvault.auth.api_keys import ALPHABET, generate_key, parse_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources

FORM = re.compile(r"dv_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")
PATH = "/v1/integration/document-types"
ASKED_FOR_TYPOS = 200
# Of a difference this large an attacker could learn (TVLA, as in ISO/IEC 17825).
LEAK = 4.5


def typo(key: str) -> str:
    """Return a key with another letter in one place."""
    place = random.randrange(len(key))
    other = random.choice([letter for letter in f"{ALPHABET}_-" if letter != key[place]])
    return key[:place] + other + key[place + 1 :]


@pytest.mark.guarantee(
    "T14",
    promise="Keys are not repeated, and a mistyped one is known without asking the database.",
    tried="Keys are generated and compared with each other and with their form; in as many places "
    "one character is replaced. Some of the mistyped keys are sent to the service, and its "
    "statements are counted. All rows are searched for the secrets of the keys that it issued.",
    not_shown="",
)
async def test_a_mistyped_key_does_not_reach_the_database(
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

    world = await build_world(http, issuer, resources)
    issued = {headers["X-API-Key"] for headers in keys_of(world).values()}
    with sent_statements() as sent:
        for key in random.choices(sorted(issued), k=ASKED_FOR_TYPOS):
            answer = await http.get(PATH, headers={"X-API-Key": typo(key)})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid-api-key")
        assert sent == []
        # The same statements would be seen: a key that is not mistyped is looked up.
        await http.get(PATH, headers={"X-API-Key": min(issued)})
        assert sent != []

    rows = b"\n".join(row for rows in Tables(database_url).rows().values() for row in rows)
    assert not any(key[17:60].encode() in rows for key in issued)
    figures["keys"] = len(keys)
    figures["mistyped keys"] = len(typos)
    figures["of them sent to the service"] = ASKED_FOR_TYPOS
    figures["statements for them"] = figures["repeated keys"] = 0


def keys_of(world: World) -> dict[str, dict[str, str]]:
    """Return the headers of the keys that were issued."""
    return {
        name: dict(headers)
        for name, headers in world.callers.items()
        if name.startswith("key with") and "X-API-Key" in headers and "typo" not in name
    }


@pytest.mark.guarantee(
    "T14",
    promise="The time of an answer does not tell whether a key exists, was revoked or is wrong.",
    tried="Keys with an unknown id, of another secret and revoked ones are sent in random order, "
    "in the process of the service. Times are compared by Welch's t without the slowest tenth of "
    "each kind; beyond 4.5 they would count as different.",
    not_shown="Finer differences than the noise of the machine: the figure is reported, not "
    "judged, in CI.",
)
async def test_the_time_of_a_refusal_tells_nothing(
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    world = await build_world(http, issuer, resources)
    kinds = ["key nobody made", "key of another secret", "key revoked"]
    clients = {kind: with_headers(http, dict(world.callers[kind])) for kind in kinds}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    number = size.of(ci=200, full=10_000)
    for kind in random.sample(kinds * number, k=len(kinds) * number):
        began = time.perf_counter_ns()
        answer = await clients[kind].get(PATH)
        times[kind].append((time.perf_counter_ns() - began) / 1000)
        assert answer.status_code == 401
    figures["requests of each kind"] = number
    for one, other in ((0, 1), (0, 2), (1, 2)):
        t = welch(trimmed(times[kinds[one]]), trimmed(times[kinds[other]]))
        figures[f"t of '{kinds[one]}' and '{kinds[other]}'"] = round(t, 2)
        assert abs(t) < LEAK or not size.is_full, figures
    for kind in kinds:
        figures[f"median of '{kind}', µs"] = round(statistics.median(times[kind]))


def trimmed(values: list[float]) -> list[float]:
    """Return all but the slowest tenth, which the machine makes, not the key."""
    return sorted(values)[: len(values) * 9 // 10]


def welch(one: list[float], other: list[float]) -> float:
    """Return Welch's t of two samples."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(spread)
