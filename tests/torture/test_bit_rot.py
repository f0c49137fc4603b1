"""Stored bytes that change by themselves are found, and are nobody's complete answer (T07)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.factories.stored import overwrite, stored_bytes
from tests.fixtures.storage import use_s3
from tests.torture.figures import Figure, Size
from tests.torture.inside import Inside, happened, put, text, unlimited
from tests.torture.load import make_known
from tests.torture.model import SlotModel

from docvault.services.resources import Resources
from docvault.services.verification import verify
from docvault.settings import Settings

pytestmark = pytest.mark.torture


@pytest.fixture(params=["filesystem", "s3"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    if request.param == "s3":
        use_s3(request.getfixturevalue("s3_server"), monkeypatch)
    return unlimited(tmp_path / "data")


async def flip(resources: Resources, keys: list[str], chance: Random) -> None:
    """Turn one bit of each over, anywhere."""
    for key in keys:
        body = bytearray(await stored_bytes(resources, key))
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        await overwrite(resources, key, bytes(body))


async def truncate(resources: Resources, keys: list[str], chance: Random) -> None:
    """Cut each somewhere."""
    for key in keys:
        body = await stored_bytes(resources, key)
        await overwrite(resources, key, body[: chance.randrange(len(body))])


async def lose(resources: Resources, keys: list[str], _: Random) -> None:
    """Remove each."""
    for key in keys:
        await resources.store.delete(key)


async def swap(resources: Resources, keys: list[str], _: Random) -> None:
    """Give each the bytes of the next one, which has as many."""
    bodies = [await stored_bytes(resources, key) for key in keys]
    for key, body in zip(keys, [*bodies[1:], bodies[0]], strict=True):
        await overwrite(resources, key, body)


Damage = Callable[[Resources, list[str], Random], Awaitable[None]]
DAMAGES: dict[str, Damage] = {
    "flipped": flip,
    "truncated": truncate,
    "lost": lose,
    "swapped": swap,
}


async def fill(inside: Inside, kind: str, number: int) -> dict[str, SlotModel]:
    """Store so many documents of one length; return their slots by key in the store."""
    slots = {}
    for place in range(number):
        slot = inside.ledger.slot(f"{kind}-{place}", "contract")
        await make_known(inside.client, slot.customer)
        content = text(f"{kind} {place:06}")
        answer = await put(inside.client, slot.path, content)
        assert answer.status_code == 201, answer.text
        happened(slot, content)
        row = inside.database.execute(
            "SELECT key FROM blobs WHERE state = 'stored' ORDER BY id DESC LIMIT 1"
        ).fetchone()
        assert row is not None
        slots[row[0]] = slot
    return slots


async def is_given_out(client: httpx.AsyncClient, slot: SlotModel) -> bool:
    """Whether the whole length comes as a good answer."""
    assert slot.current is not None
    answer = await client.get(f"{slot.path}/content")
    return answer.status_code == 200 and len(answer.content) >= slot.current.size_bytes


@pytest.mark.guarantee(
    "T07",
    promise="Stored bytes that change are found, and never given out as a complete answer.",
    tried="Among good files some get one bit flipped, are truncated, removed, or have their bytes "
    "exchanged with those of others of the same length, behind the service's back. `verify` with "
    "`--rehash` has to name exactly those; a download of each must not be a complete 200, and "
    "every good file is read back.",
    not_shown="Files over 32 MiB, ranges and downloads left to the store: of these existence and "
    "length are looked at while downloading, and `verify --rehash` reads them.",
)
async def test_bytes_that_change_are_found(
    inside: Inside, size: Size, figures: dict[str, Figure]
) -> None:
    number, good = size.of(ci=3, full=25), size.of(ci=10, full=1000)
    chance = Random(7)
    await fill(inside, "good", good)
    damaged: dict[str, SlotModel] = {}
    for kind, damage in DAMAGES.items():
        slots = await fill(inside, kind, number)
        await damage(inside.resources, list(slots), chance)
        damaged |= slots
    found = await verify(inside.resources, rehash=True, progress=lambda _: None)
    named = {*found.missing, *found.damaged}
    given_out = [slot for slot in damaged.values() if await is_given_out(inside.client, slot)]
    await inside.ledger.check_documents(
        inside.client,
        inside.findings,
        [slot for slot in inside.ledger.slots.values() if slot.customer.startswith("good")],
    )
    for kind in DAMAGES:
        keys = {key for key, slot in damaged.items() if slot.customer.startswith(kind)}
        figures[kind] = len(keys)
        figures[f"{kind}, found by verify"] = len(keys & named)
    figures["of all these, given out whole"] = len(given_out)
    figures["good files"] = good
    figures["good files named by verify"] = len(named - damaged.keys())
    figures["good files that did not come back"] = len(inside.findings.details)
    assert named == damaged.keys()
    assert set(found.missing) == {k for k, s in damaged.items() if s.customer.startswith("lost")}
    assert given_out == []
    assert not inside.findings
