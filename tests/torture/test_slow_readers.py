"""Many clients that do not read their downloads: others are not affected (T67)."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from tests.factories.setups import upload_of
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_types, register_customer
from tests.torture.raw_clients import RawConnection, RawRequest, server_process

from docvault.auth.local_tokens import LocalIssuer

MEBIBYTE = 1024 * 1024
# More than the socket buffers hold.
FILE = b"a line of text\n" * (8 * MEBIBYTE // 15)
READERS_OF_A_CUSTOMER = 8
OTHERS = 8
OTHERS_SECONDS = 0.25
WATCH_SECONDS = 0.25
CUT_WITHIN_SECONDS = 60

# The memory one reader may use: a chunk, the unsent bytes of its connection, and the overhead of a
# connection.
MEMORY_OF_A_READER = 384 * 1024
# Not caused by readers: the memory for serving the others.
MEMORY_OF_ALL = 32 * MEBIBYTE
# Each reader has a connection and a file.
FILES_OF_A_READER = 2
FILES_OF_ALL = 32
OTHERS_WITHIN_SECONDS = 1

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class Watch:
    """Monitors the server's memory and open files, and the response time of others."""

    deployment: Deployment
    memory: int = 0
    files: int = 0
    seconds: list[float] = field(default_factory=list)
    is_over: bool = False

    async def hold(self) -> None:
        """Record the peak memory and the maximum number of open files."""
        process = server_process(self.deployment)
        while not self.is_over:
            self.memory = max(self.memory, process.memory_info().rss)
            self.files = max(self.files, process.num_fds())
            await asyncio.sleep(WATCH_SECONDS)

    async def ask(self, client: httpx.AsyncClient, path: str) -> None:
        """Repeatedly request a small resource."""
        while not self.is_over:
            response = await client.get(path)
            assert response.status_code == 200, response.text
            self.seconds.append(response.elapsed.total_seconds())
            await asyncio.sleep(OTHERS_SECONDS)


@pytest.mark.guarantee(
    "T67",
    promise="Clients that request downloads and do not read them are cut off; meanwhile each uses "
    "little memory, and other clients are served.",
    tried="Eight downloads of 8 MiB for each of many customers, over connections with a small "
    "receive buffer; each client reads 100 bytes and then stops. Memory and open files are "
    "monitored until the server has ended all of them. Meanwhile eight others read a customer's "
    "documents four times a second. A ninth download of each customer must get 429.",
    not_shown="Readers just above the minimum rate: those use as much, for as long as they read.",
)
@pytest.mark.req("B-055")
async def test_stalled_readers_are_disconnected_and_use_little_memory(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    readers = size.of(ci=50, full=400)
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="external")
    client = deployment.start()
    await make_types(client)
    names = [f"c-{number}" for number in range(-(-readers // READERS_OF_A_CUSTOMER))]
    for name in names:
        await register_customer(client, name)
        await fill(client, name)
    await warm_up(client, names[0])
    process = server_process(deployment)
    memory, files = process.memory_info().rss, process.num_fds()
    watch = Watch(deployment)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.hold())
        for _ in range(OTHERS):
            group.create_task(watch.ask(client, f"/v1/admin/customers/{names[0]}/documents"))
        connections = [
            await stalled(deployment, names[number // READERS_OF_A_CUSTOMER])
            for number in range(readers)
        ]
        refused = [await one_more(deployment, name) for name in full_customers(names, readers)]
        left = await until_cut(process, connections)
        cut_after = time.monotonic() - began
        watch.is_over = True
    figures["readers"] = readers
    figures["customers"] = len(names)
    figures["KiB held per reader"] = round((watch.memory - memory) / readers / 1024)
    figures["most additional open files"] = watch.files - files
    figures["connections and files of readers left open"] = left
    figures["seconds until all were cut off"] = round(cut_after)
    figures["requests of others"] = len(watch.seconds)
    figures["others, median, ms"] = round(statistics.median(watch.seconds) * 1000, 1)
    figures["others, p99, ms"] = round(percentile_99(watch.seconds) * 1000, 1)
    for connection in connections:
        await connection.close()
    assert set(refused) == {429}
    assert watch.memory - memory < readers * MEMORY_OF_A_READER + MEMORY_OF_ALL
    assert watch.files - files <= readers * FILES_OF_A_READER + FILES_OF_ALL
    assert left == 0
    assert percentile_99(watch.seconds) < OTHERS_WITHIN_SECONDS


async def fill(client: httpx.AsyncClient, name: str) -> None:
    """Store the file that the customer downloads."""
    path = f"/v1/admin/customers/{name}/documents/{TYPES[0]}"
    assert (await client.put(path, **upload_of(FILE, "a.txt"))).status_code == 201


async def warm_up(client: httpx.AsyncClient, name: str) -> None:
    """Make the server load its modules and open its pools."""
    path = f"/v1/admin/customers/{name}/documents"
    content = f"{path}/{TYPES[0]}/content"
    await asyncio.gather(*(client.get(path) for _ in range(OTHERS)))
    await asyncio.gather(*(client.get(content) for _ in range(OTHERS)))


async def stalled(deployment: Deployment, name: str) -> RawConnection:
    """Start a download and read almost nothing of it."""
    connection = await RawConnection.open(deployment)
    await connection.send(own_download(deployment, name).whole)
    assert await connection.read(100) == 100
    return connection


async def one_more(deployment: Deployment, name: str) -> int:
    """Return the status of a download beyond the customer's limit."""
    connection = await RawConnection.open(deployment)
    await connection.send(own_download(deployment, name).whole)
    response = await connection.response()
    await connection.close()
    assert response is not None
    return response[0]


def full_customers(names: list[str], readers: int) -> list[str]:
    """Return the customers that have all of their downloads."""
    return names[: readers // READERS_OF_A_CUSTOMER]


def own_download(deployment: Deployment, name: str) -> RawRequest:
    """Return a request that downloads a customer's document."""
    token = LocalIssuer(deployment.settings()).customer_token(name)
    head = (
        f"GET /v1/customer/documents/{TYPES[0]}/content HTTP/1.1\r\nHost: docvault.test\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    return RawRequest(head.encode())


async def until_cut(process: psutil.Process, connections: list[RawConnection]) -> int:
    """Wait until no connection or file is open for a reader; return how many remain."""
    ports = {connection.writer.get_extra_info("sockname")[1] for connection in connections}
    deadline = time.monotonic() + CUT_WITHIN_SECONDS
    while (left := held_open(process, ports)) and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(1)
    return left


def held_open(process: psutil.Process, ports: set[int]) -> int:
    """Count the server's connections to these ports and its open stored files."""
    to_readers = [c for c in process.net_connections() if c.raddr and c.raddr.port in ports]
    stored = [file for file in process.open_files() if "/blobs/" in file.path]
    return len(to_readers) + len([file for file in stored if "/.spool/" not in file.path])


def percentile_99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]
