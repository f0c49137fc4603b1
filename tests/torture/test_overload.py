"""Far more slow uploads than the limit: other requests are not affected (T36)."""

import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field

import httpx
import pytest
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_types, register_customer
from tests.torture.model import Change, Content, DocumentModel, Ledger, Stored, stored
from tests.torture.outages import check_afterwards
from tests.torture.raw_clients import RawConnection, RawRequest, server_process, upload_request

MEBIBYTE = 1024 * 1024
ANY_PATH = "/any-document"
MAX_CONCURRENT_UPLOADS = 16
BYTES_PER_SECOND = 64 * 1024
PIECE_SECONDS = 0.25
LARGEST = 25 * MEBIBYTE
READER_SECONDS = 2
WATCH_SECONDS = 0.25
# How long a client waits for a rejection before it sends its body.
REJECTION_SECONDS = 3
RETRY_SECONDS = 2

READERS_WITHIN_SECONDS = 1
# On an idle machine it is a few milliseconds.
REFUSED_WITHIN_SECONDS = 0.5
MEMORY = 512 * MEBIBYTE

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class Crowd:
    """Many clients of one server, and the responses they got."""

    deployment: Deployment
    client: httpx.AsyncClient
    # Built once for all clients: building it two hundred times would slow down the readers.
    content: Stored
    request: RawRequest
    ends_at: float
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    ledger: Ledger = field(default_factory=Ledger)
    refused_seconds: list[float] = field(default_factory=list)
    read_seconds: list[float] = field(default_factory=list)
    stored: int = 0
    cut_short: int = 0
    memory: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the clients should stop."""
        return time.monotonic() >= self.ends_at

    async def upload(self, name: str) -> None:
        """Upload slowly, one file after another; retry when rejected."""
        await asyncio.sleep(self.chance.uniform(0, RETRY_SECONDS))
        for key in TYPES:
            document = self.ledger.document(name, key)
            while not self.is_over and document.current is None:
                await self._try_upload(document)

    async def _try_upload(self, document: DocumentModel) -> None:
        head = self.request.head.replace(ANY_PATH.encode(), document.path.encode())
        connection = await RawConnection.open(self.deployment)
        try:
            await self._send_slowly(document, connection, head)
        finally:
            await connection.close()

    async def _send_slowly(
        self, document: DocumentModel, connection: RawConnection, head: bytes
    ) -> None:
        began = time.monotonic()
        await connection.send(head)
        response_task = asyncio.ensure_future(connection.response())
        await asyncio.wait([response_task], timeout=REJECTION_SECONDS)
        if not response_task.done():
            document.doubt = Change(self.content)
            await self._trickle(connection, response_task)
        await self._take(document, response_task, time.monotonic() - began)

    async def _trickle(
        self,
        connection: RawConnection,
        response_task: "asyncio.Future[tuple[int, dict[str, str]] | None]",
    ) -> None:
        step = int(BYTES_PER_SECOND * PIECE_SECONDS)
        body = self.request.body
        for start in range(0, len(body), step):
            if self.is_over or response_task.done():
                return
            await connection.send(body[start : start + step])
            await asyncio.sleep(PIECE_SECONDS)
        await response_task

    async def _take(
        self,
        document: DocumentModel,
        response_task: "asyncio.Future[tuple[int, dict[str, str]] | None]",
        seconds: float,
    ) -> None:
        if not response_task.done():
            response_task.cancel()
            self.cut_short += 1
            return
        response = response_task.result()
        assert response is not None
        status, headers = response
        if status == 201:
            self.stored += 1
            self.ledger.acknowledged["uploads"] += 1
            document.confirm()
            return
        # Rejected before any byte of its body was sent.
        assert status == 503, response
        assert document.doubt is None
        assert headers["connection"] == "close"
        self.refused_seconds.append(seconds)
        # Random, so that clients do not retry in lockstep.
        wait = int(headers["retry-after"]) + self.chance.uniform(0, RETRY_SECONDS)
        await asyncio.sleep(wait)

    async def read(self, number: int) -> None:
        """Read a customer's documents every two seconds."""
        await asyncio.sleep(number % 100 / 100 * READER_SECONDS)
        while not self.is_over:
            response = await self.client.get(f"/v1/admin/customers/c-{number}/documents")
            assert response.status_code == 200, response.text
            self.read_seconds.append(response.elapsed.total_seconds())
            await asyncio.sleep(READER_SECONDS)

    async def watch_memory(self) -> None:
        """Record the server's peak memory."""
        process = server_process(self.deployment)
        while not self.is_over:
            self.memory = max(self.memory, process.memory_info().rss)
            await asyncio.sleep(WATCH_SECONDS)


@pytest.mark.guarantee(
    "T36",
    promise="When far more clients upload than the process accepts at once, the others are "
    "rejected before they send a body, readers are not affected, and memory stays bounded.",
    tried="Clients upload files at 64 KiB a second, which takes half of the test's duration, "
    "against a limit of sixteen concurrent uploads in one process; rejected clients retry after "
    "`Retry-After`. Meanwhile each reader requests a customer's documents every two seconds. At "
    "the end the remaining uploads are cut off, everything is read back, and the store, the rows "
    "and the audit trail are compared.",
    not_shown="More clients than the machine has sockets; the proxy in front has to handle that.",
)
async def test_slow_uploads_do_not_delay_other_requests(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    seconds = size.of(ci=4, full=600)
    uploaders, readers = (200, 100) if size.is_full else (24, 20)
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="external")
    client = deployment.start()
    await make_types(client)
    for number in range(uploaders):
        await register_customer(client, f"c-{number}")
    upload_bytes = min(LARGEST, seconds * BYTES_PER_SECOND // 2)
    content = Content(b"a line\n" * (upload_bytes // 7), "slow.txt", "text/plain")
    crowd = Crowd(
        deployment,
        client,
        stored(content),
        upload_request(deployment, ANY_PATH, content),
        time.monotonic() + seconds,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.watch_memory())
        for number in range(uploaders):
            group.create_task(crowd.upload(f"c-{number}"))
        for number in range(readers):
            group.create_task(crowd.read(number))
    refused, read = crowd.refused_seconds, crowd.read_seconds
    figures["seconds"] = seconds
    figures["uploaders"] = uploaders
    figures["readers"] = readers
    figures["KiB per upload"] = upload_bytes // 1024
    figures["uploads stored"] = crowd.stored
    figures["uploads cut off at the end"] = crowd.cut_short
    figures["uploads rejected before their body"] = len(refused)
    figures["rejections, median, ms"] = round(statistics.median(refused) * 1000, 1)
    figures["rejections, p99, ms"] = round(percentile_99(refused) * 1000, 1)
    figures["lists read"] = len(read)
    figures["lists, median, ms"] = round(statistics.median(read) * 1000, 1)
    figures["lists, p99, ms"] = round(percentile_99(read) * 1000, 1)
    figures["peak memory of the process, MiB"] = round(crowd.memory / MEBIBYTE)
    await check_afterwards(deployment, crowd.ledger, figures)
    assert crowd.stored + crowd.cut_short >= MAX_CONCURRENT_UPLOADS
    assert statistics.median(refused) < REFUSED_WITHIN_SECONDS
    assert percentile_99(refused) < REJECTION_SECONDS
    assert percentile_99(read) < READERS_WITHIN_SECONDS
    assert crowd.memory < MEMORY


def percentile_99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]
