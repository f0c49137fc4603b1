"""Clients disconnect at any byte of an upload or a download: nothing leaks (T35)."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.fixtures.seaweedfs import S3Server
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.inside import text
from tests.torture.load import TYPES, make_types, random_content, register_customer
from tests.torture.model import Change, Content, DocumentModel, Ledger, stored
from tests.torture.outages import check_afterwards
from tests.torture.raw_clients import RawConnection, download_request, settled, upload_request

AT_ONCE = 8
MAX_CONCURRENT_UPLOADS = 16
LARGEST = 2 * 1024 * 1024

pytestmark = pytest.mark.torture


async def disconnect(connection: RawConnection) -> str:
    """Close, like a client that cancels."""
    await connection.close()
    return "closed"


async def reset(connection: RawConnection) -> str:
    """Reset, like a client that crashed."""
    await connection.reset()
    return "reset"


async def half_close(connection: RawConnection) -> str:
    """Half-close and wait for the response."""
    connection.end_sending()
    await connection.read(LARGEST * 2)
    await connection.close()
    return "half-closed"


WAYS: tuple[Callable[[RawConnection], Awaitable[str]], ...] = (disconnect, reset, half_close)


class Aborter:
    """Sends requests and disconnects at a random byte."""

    def __init__(self, deployment: Deployment, client: httpx.AsyncClient) -> None:
        self._deployment = deployment
        self._client = client
        self._chance = random.Random(0)
        self._places = asyncio.Semaphore(AT_ONCE)
        self.ledger = Ledger()
        self.aborts: Counter[str] = Counter()

    async def prepare(self, uploads: int) -> list[DocumentModel]:
        """Return a missing document for each upload."""
        names = [f"c-{number}" for number in range(-(-uploads // len(TYPES)))]
        for name in names:
            await register_customer(self._client, name)
        return [self.ledger.document(name, key) for name in names for key in TYPES][:uploads]

    async def upload(self, document: DocumentModel) -> None:
        """Disconnect during an upload; occasionally after its last byte."""
        content = random_content(self._chance, largest=LARGEST)
        request = upload_request(self._deployment, document.path, content)
        total = len(request.whole)
        place = min(self._chance.randint(1, total * 10 // 9), total)
        async with self._places:
            document.doubt = Change(stored(content))
            connection = await RawConnection.open(self._deployment)
            await connection.send(request.whole[:place])
            self.aborts[f"uploads {await self._leave(connection)}"] += 1

    async def download(self, document: DocumentModel) -> None:
        """Disconnect during a download; occasionally before its first byte."""
        request = download_request(self._deployment, document.path)
        async with self._places:
            connection = await RawConnection.open(self._deployment)
            await connection.send(request.whole)
            await connection.read(self._chance.randrange(LARGEST))
            self.aborts[f"downloads {await self._leave(connection)}"] += 1

    async def _leave(self, connection: RawConnection) -> str:
        return await self._chance.choice(WAYS)(connection)


async def parallel_uploads(client: httpx.AsyncClient, ledger: Ledger, customer: str) -> set[int]:
    """Start the maximum number of concurrent uploads; return the statuses."""
    names = [f"{customer}-{number}" for number in range(MAX_CONCURRENT_UPLOADS)]
    for name in names:
        await register_customer(client, name)
    documents = [ledger.document(name, TYPES[0]) for name in names]

    async def upload(document: DocumentModel) -> int:
        content = text(document.customer)
        part = (content.filename, content.body)
        response = await client.put(document.path, files={"file": part})
        if response.is_success:
            document.doubt = Change(stored(content))
            document.confirm()
        return response.status_code

    return set(await asyncio.gather(*map(upload, documents)))


@pytest.mark.guarantee(
    "T35",
    promise="A client that disconnects at any byte leaves nothing open and nothing half-done.",
    tried="Eight clients at a time send uploads up to a random byte, or read downloads up to one, "
    "and then close, reset or half-close the connection. The process must then have as many open "
    "files and database connections as before and an empty spool, and accept sixteen concurrent "
    "uploads; stored documents are read back, and the store, the rows and the audit trail are "
    "compared.",
    not_shown="A client that goes silent: heads and bodies have deadlines, with tests of their "
    "own.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
async def test_disconnecting_clients_leave_nothing_open(
    store: str,
    make_deployment: MakeDeployment,
    s3_server: S3Server,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    store_port = int(s3_server.endpoint_url.rpartition(":")[2])
    deployment = make_deployment(store, DOCVAULT_WORKER="external")
    client = deployment.start()
    await make_types(client)
    test = Aborter(deployment, client)
    aborts = size.of(ci=20, full=500)
    documents = await test.prepare(aborts)
    assert await parallel_uploads(client, test.ledger, "before") == {201}
    large = await large_document(client, test.ledger)
    # Connections that the client keeps open count as open files of the server.
    await client.aclose()
    before = await settled(deployment, store_port, None)
    await asyncio.gather(
        *(test.upload(document) for document in documents),
        *(test.download(large) for _ in range(aborts)),
    )
    after = await settled(deployment, store_port, before)
    client = deployment.connect_client()
    assert await parallel_uploads(client, test.ledger, "after") == {201}
    figures.update(sorted(test.aborts.items()))
    figures["open files outside the pools, before"] = before
    figures["open files outside the pools, after"] = after
    await check_afterwards(deployment, test.ledger, figures)
    assert after <= before


async def large_document(client: httpx.AsyncClient, ledger: Ledger) -> DocumentModel:
    """Store the documents to download."""
    await register_customer(client, "large")
    document = ledger.document("large", TYPES[0])
    content = Content(b"a line\n" * (LARGEST // 7), "large.txt", "text/plain")
    response = await client.put(document.path, files={"file": (content.filename, content.body)})
    assert response.status_code == 201, response.text
    document.doubt = Change(stored(content))
    document.confirm()
    return document
