"""Far more slow uploads than there are places: the others do not notice (T36)."""

import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field

import httpx
import pytest
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_known, make_types
from tests.torture.model import Change, Content, Ledger, SlotModel, Stored, stored
from tests.torture.outages import check_afterwards
from tests.torture.raw_clients import RawConnection, RawRequest, server_process, upload_request

MEBIBYTE = 1024 * 1024
ANY_SLOT = "/any-slot"
UPLOAD_SLOTS = 16
BYTES_PER_SECOND = 64 * 1024
PIECE_SECONDS = 0.25
LARGEST = 25 * MEBIBYTE
READER_SECONDS = 2
WATCH_SECONDS = 0.25
# How long a client waits for a refusal before it sends its body.
REFUSAL_SECONDS = 3
RETRY_SECONDS = 2

READERS_WITHIN_SECONDS = 1
# On an idle machine it is a few milliseconds.
REFUSED_WITHIN_SECONDS = 0.5
MEMORY = 512 * MEBIBYTE

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class Crowd:
    """Many clients of one server, and what they saw."""

    deployment: Deployment
    client: httpx.AsyncClient
    # Made once for all: two hundred times 25 MiB would keep this process busy, which reads too.
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
        """Whether everybody goes home."""
        return time.monotonic() >= self.ends_at

    async def upload(self, name: str) -> None:
        """Upload slowly, one file after the other; come again when refused."""
        await asyncio.sleep(self.chance.uniform(0, RETRY_SECONDS))
        for key in TYPES:
            slot = self.ledger.slot(name, key)
            while not self.is_over and slot.current is None:
                await self._try_upload(slot)

    async def _try_upload(self, slot: SlotModel) -> None:
        head = self.request.head.replace(ANY_SLOT.encode(), slot.path.encode())
        connection = await RawConnection.open(self.deployment)
        try:
            await self._send_slowly(slot, connection, head)
        finally:
            await connection.close()

    async def _send_slowly(self, slot: SlotModel, connection: RawConnection, head: bytes) -> None:
        began = time.monotonic()
        await connection.send(head)
        answering = asyncio.ensure_future(connection.answer())
        await asyncio.wait([answering], timeout=REFUSAL_SECONDS)
        if not answering.done():
            slot.doubt = Change(self.content)
            await self._trickle(connection, answering)
        await self._take(slot, answering, time.monotonic() - began)

    async def _trickle(
        self,
        connection: RawConnection,
        answering: "asyncio.Future[tuple[int, dict[str, str]] | None]",
    ) -> None:
        step = int(BYTES_PER_SECOND * PIECE_SECONDS)
        body = self.request.body
        for start in range(0, len(body), step):
            if self.is_over or answering.done():
                return
            await connection.send(body[start : start + step])
            await asyncio.sleep(PIECE_SECONDS)
        await answering

    async def _take(
        self,
        slot: SlotModel,
        answering: "asyncio.Future[tuple[int, dict[str, str]] | None]",
        seconds: float,
    ) -> None:
        if not answering.done():
            answering.cancel()
            self.cut_short += 1
            return
        answer = answering.result()
        assert answer is not None
        status, headers = answer
        if status == 201:
            self.stored += 1
            self.ledger.acknowledged["uploads"] += 1
            slot.confirm()
            return
        # Refused, and before a byte of its body was sent.
        assert status == 503, answer
        assert slot.doubt is None
        assert headers["connection"] == "close"
        self.refused_seconds.append(seconds)
        # Clients do not come in step.
        wait = int(headers["retry-after"]) + self.chance.uniform(0, RETRY_SECONDS)
        await asyncio.sleep(wait)

    async def read(self, number: int) -> None:
        """Read a customer's documents, and look at them for two seconds."""
        await asyncio.sleep(number % 100 / 100 * READER_SECONDS)
        while not self.is_over:
            answer = await self.client.get(f"/v1/admin/customers/c-{number}/documents")
            assert answer.status_code == 200, answer.text
            self.read_seconds.append(answer.elapsed.total_seconds())
            await asyncio.sleep(READER_SECONDS)

    async def watch_memory(self) -> None:
        """Note the server's largest size."""
        process = server_process(self.deployment)
        while not self.is_over:
            self.memory = max(self.memory, process.memory_info().rss)
            await asyncio.sleep(WATCH_SECONDS)


@pytest.mark.guarantee(
    "T36",
    promise="When far more clients upload than there are places, the others are refused before "
    "they send a body, readers go on, and memory stays bounded.",
    tried="Clients upload files at 64 KiB a second, which take half of the time, on the sixteen "
    "places of one process; who is refused comes again after `Retry-After`. Meanwhile each reader "
    "reads a customer's documents every two seconds. At the end uploads are cut off, everything is "
    "read back, and store, rows and audit trail are compared.",
    not_shown="More clients than the machine has sockets; that is a matter of the proxy in front.",
)
async def test_slow_uploads_on_every_place_hold_up_nobody_else(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    seconds = size.of(ci=4, full=600)
    uploaders, readers = (200, 100) if size.is_full else (24, 20)
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="separate")
    client = deployment.start()
    await make_types(client)
    for number in range(uploaders):
        await make_known(client, f"c-{number}")
    upload_bytes = min(LARGEST, seconds * BYTES_PER_SECOND // 2)
    content = Content(b"a line\n" * (upload_bytes // 7), "slow.txt", "text/plain")
    crowd = Crowd(
        deployment,
        client,
        stored(content),
        upload_request(deployment, ANY_SLOT, content),
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
    figures["KiB of each upload"] = upload_bytes // 1024
    figures["uploads stored"] = crowd.stored
    figures["uploads cut off at the end"] = crowd.cut_short
    figures["uploads refused unread"] = len(refused)
    figures["refusals, median milliseconds"] = round(statistics.median(refused) * 1000, 1)
    figures["refusals, 99 % within milliseconds"] = round(percentile_99(refused) * 1000, 1)
    figures["lists read"] = len(read)
    figures["lists, median milliseconds"] = round(statistics.median(read) * 1000, 1)
    figures["lists, 99 % within milliseconds"] = round(percentile_99(read) * 1000, 1)
    figures["largest size of the process, MiB"] = round(crowd.memory / MEBIBYTE)
    await check_afterwards(deployment, crowd.ledger, figures)
    assert crowd.stored + crowd.cut_short >= UPLOAD_SLOTS
    assert statistics.median(refused) < REFUSED_WITHIN_SECONDS
    assert percentile_99(refused) < REFUSAL_SECONDS
    assert percentile_99(read) < READERS_WITHIN_SECONDS
    assert crowd.memory < MEMORY


def percentile_99(values: list[float]) -> float:
    """Return what 99 in 100 stay below."""
    return statistics.quantiles(values, n=100)[98]
