"""Clients hang up at any byte of an upload or a download: nothing leaks (T35)."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.fixtures.storage import S3Server
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.inside import text
from tests.torture.load import TYPES, make_known, make_types, some_content
from tests.torture.model import Change, Content, Ledger, SlotModel, stored
from tests.torture.outages import check_afterwards
from tests.torture.raw_clients import (
    RawConnection,
    download_request,
    settled,
    upload_request,
)

AT_ONCE = 8
UPLOAD_SLOTS = 16
LARGEST = 2 * 1024 * 1024

pytestmark = pytest.mark.torture


async def hang_up(connection: RawConnection) -> str:
    """Close, as a client that has lost interest."""
    await connection.close()
    return "closed"


async def break_off(connection: RawConnection) -> str:
    """Reset, as a client that has crashed."""
    await connection.reset()
    return "reset"


async def half_close(connection: RawConnection) -> str:
    """End our direction and wait for what comes back."""
    connection.end_sending()
    await connection.read(LARGEST * 2)
    await connection.close()
    return "half-closed"


WAYS: tuple[Callable[[RawConnection], Awaitable[str]], ...] = (hang_up, break_off, half_close)


class Aborter:
    """Makes requests and leaves them at a random byte."""

    def __init__(self, deployment: Deployment, client: httpx.AsyncClient) -> None:
        self._deployment = deployment
        self._client = client
        self._chance = random.Random(0)
        self._places = asyncio.Semaphore(AT_ONCE)
        self.ledger = Ledger()
        self.aborts: Counter[str] = Counter()

    async def prepare(self, uploads: int) -> list[SlotModel]:
        """Return an empty slot for each upload."""
        names = [f"c-{number}" for number in range(-(-uploads // len(TYPES)))]
        for name in names:
            await make_known(self._client, name)
        return [self.ledger.slot(name, key) for name in names for key in TYPES][:uploads]

    async def upload(self, slot: SlotModel) -> None:
        """Leave an upload; now and then when all of it is sent."""
        content = some_content(self._chance, largest=LARGEST)
        request = upload_request(self._deployment, slot.path, content)
        total = len(request.whole)
        place = min(self._chance.randint(1, total * 10 // 9), total)
        async with self._places:
            slot.doubt = Change(stored(content))
            connection = await RawConnection.open(self._deployment)
            await connection.send(request.whole[:place])
            self.aborts[f"uploads {await self._leave(connection)}"] += 1

    async def download(self, slot: SlotModel) -> None:
        """Leave a download; at times before its first byte."""
        request = download_request(self._deployment, slot.path)
        async with self._places:
            connection = await RawConnection.open(self._deployment)
            await connection.send(request.whole)
            await connection.read(self._chance.randrange(LARGEST))
            self.aborts[f"downloads {await self._leave(connection)}"] += 1

    async def _leave(self, connection: RawConnection) -> str:
        return await self._chance.choice(WAYS)(connection)


async def parallel_uploads(client: httpx.AsyncClient, ledger: Ledger, customer: str) -> set[int]:
    """Take every place for uploads at once; return the statuses."""
    names = [f"{customer}-{number}" for number in range(UPLOAD_SLOTS)]
    for name in names:
        await make_known(client, name)
    slots = [ledger.slot(name, TYPES[0]) for name in names]

    async def upload(slot: SlotModel) -> int:
        content = text(slot.customer)
        part = (content.filename, content.body)
        answer = await client.put(slot.path, files={"file": part})
        if answer.is_success:
            slot.doubt = Change(stored(content))
            slot.confirm()
        return answer.status_code

    return set(await asyncio.gather(*map(upload, slots)))


@pytest.mark.guarantee(
    "T35",
    promise="A client that hangs up at any byte leaves nothing open and nothing half-done.",
    tried="Eight clients at a time send uploads up to a random byte, or read downloads up to one, "
    "and then close, reset or half-close the connection. Then the process must have the open files "
    "and database connections of before and an empty spool, and take its sixteen uploads at once; "
    "what was stored is read back, and store, rows and audit trail are compared.",
    not_shown="A client that is silent: body and head have deadlines, with tests of their own.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
async def test_clients_that_hang_up_leave_nothing_open(
    store: str,
    make_deployment: MakeDeployment,
    s3_server: S3Server,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    store_port = int(s3_server.endpoint_url.rpartition(":")[2])
    deployment = make_deployment(store, DOCVAULT_WORKER="separate")
    client = deployment.start()
    await make_types(client)
    test = Aborter(deployment, client)
    aborts = size.of(ci=20, full=500)
    slots = await test.prepare(aborts)
    assert await parallel_uploads(client, test.ledger, "before") == {201}
    large = await large_document(client, test.ledger)
    # Connections that the client keeps are files of the server too.
    await client.aclose()
    before = await settled(deployment, store_port, None)
    await asyncio.gather(
        *(test.upload(slot) for slot in slots), *(test.download(large) for _ in range(aborts))
    )
    after = await settled(deployment, store_port, before)
    client = deployment.connect_client()
    assert await parallel_uploads(client, test.ledger, "after") == {201}
    figures.update(sorted(test.aborts.items()))
    figures["open files beside pools, before"] = before
    figures["open files beside pools, after"] = after
    await check_afterwards(deployment, test.ledger, figures)
    assert after <= before


async def large_document(client: httpx.AsyncClient, ledger: Ledger) -> SlotModel:
    """Store what is downloaded."""
    await make_known(client, "large")
    slot = ledger.slot("large", TYPES[0])
    content = Content(b"a line\n" * (LARGEST // 7), "large.txt", "text/plain")
    answer = await client.put(slot.path, files={"file": (content.filename, content.body)})
    assert answer.status_code == 201, answer.text
    slot.doubt = Change(stored(content))
    slot.confirm()
    return slot
