"""A graceful stop under load loses nothing and interrupts nothing (T37)."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import Writer, make_types, start_writers
from tests.torture.model import KINDS, DocumentModel, Findings, Ledger, check_audit, check_store
from tests.torture.processes import DocvaultProcess
from tests.torture.settling import settler_of

pytestmark = pytest.mark.torture

WRITERS = 6
POLL_SECONDS = 0.02
STOP_SECONDS = 35
# One second is the goal, and the figures report it; a busy machine takes longer.
READY_SECONDS = 10
# The connection was refused, or accepted but not read before the server stopped listening.
NOT_ACCEPTED = {"ConnectError", "ReadError", "RemoteProtocolError"}
NEW_CONNECTION = {"Connection": "close"}


async def seconds_until(happens: Callable[[], Awaitable[bool]], limit: float) -> float:
    """Return the time until a condition holds."""
    began = time.monotonic()
    while not await happens():
        assert time.monotonic() - began < limit, f"not within {limit} s"
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - began


async def raise_on_shutdown(response: httpx.Response) -> None:
    """Treat a 503 for shutdown as no response."""
    if response.status_code == 503:
        raise httpx.RemoteProtocolError("shutting down")


async def seconds_to_end(process: DocvaultProcess) -> float:
    """Return the time until a process that received a signal has exited."""

    async def has_ended() -> bool:
        return process.has_ended()

    return await seconds_until(has_ended, STOP_SECONDS)


async def is_not_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz", headers=NEW_CONNECTION)).status_code == 503


class Stops:
    """Loads a server and stops it gracefully, repeatedly."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._ledger = Ledger()
        self._writers = [Writer(f"w{n}", self._ledger, n) for n in range(WRITERS)]
        self._chance = random.Random(37)
        self.ends: Counter[str] = Counter()
        self.longest = self.longest_ready = 0.0

    async def run(self, stops: int, *, is_hurried: bool) -> None:
        """Stop it repeatedly; a hurried stop receives two signals."""
        client = self._deployment.start()
        await make_types(client)
        for _ in range(stops):
            client.headers.update(NEW_CONNECTION)
            client.event_hooks = {"response": [raise_on_shutdown] if is_hurried else []}
            load = start_writers(self._writers, client)
            await asyncio.sleep(self._chance.uniform(0.3, 1))
            await self._stop(client, is_hurried=is_hurried)
            await load
            self.ends.update(type(writer.cut_off_by).__name__ for writer in self._writers)
            await self._deployment.close_client()
            client = self._deployment.start()
            self._deployment.wait_for_dead_clients()
            await self._ledger.settle(client)
            await self._compare(client, [document for w in self._writers for document in w.touched])
        await self._compare(client, list(self._ledger.documents.values()))

    async def _stop(self, client: httpx.AsyncClient, *, is_hurried: bool) -> None:
        process = self._deployment.process
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        if is_hurried:
            await asyncio.sleep(self._chance.uniform(0, 1))
            os.kill(process.pid, signal.SIGTERM)
        else:
            ready = await seconds_until(lambda: is_not_ready(client), READY_SECONDS)
            self.longest_ready = max(self.longest_ready, ready)
        self.longest = max(self.longest, await seconds_to_end(process))
        assert process.wait() in ({0, -signal.SIGTERM} if is_hurried else {0})

    async def _compare(self, client: httpx.AsyncClient, documents: list[DocumentModel]) -> None:
        findings = Findings()
        await self._ledger.check_documents(client, findings, documents)
        async with settler_of(self._deployment) as settler:
            await settler.settle()
        with self._deployment.connect() as connection:
            check_store(connection, self._deployment.list_keys(), findings)
            check_audit(connection, self._ledger, findings)
        assert not findings, "\n".join(findings.details[:20])

    def report(self, figures: dict[str, Figure]) -> None:
        """Record the figures."""
        for name in ("uploads", "replacements", "deletions"):
            figures[f"acknowledged {name}"] = self._ledger.acknowledged[name]
        for name, number in sorted(self.ends.items()):
            figures[f"clients that ended with {name}"] = number
        figures["requests without a response, applied"] = self._ledger.settled["applied"]
        figures["longest stop, seconds"] = round(self.longest, 1)
        figures.update(dict.fromkeys(KINDS, 0))


@pytest.mark.guarantee(
    "T37",
    promise="A graceful stop under load finishes every request it has accepted.",
    tried="Six clients upload, replace and delete, each request on a connection of its own, while "
    "`docvault serve` and its embedded worker receive SIGTERM. The time until `/readyz` returns "
    "503 is measured; the exit status must be 0 within 35 s. A request without a response must "
    "not have been applied: its connection was refused, or closed before anything was read from "
    "it. After each stop a new server is started, and the documents, the store, the rows and the "
    "audit trail are compared.",
    not_shown="Requests that take longer than the 25 s allowed.",
)
async def test_graceful_stop_finishes_accepted_requests(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    test = Stops(make_deployment("filesystem", DOCVAULT_WORKER="embedded"))
    stops = size.of(ci=1, full=50)
    await test.run(stops, is_hurried=False)
    figures["stops"] = stops
    test.report(figures)
    figures["longest time until not ready, seconds"] = round(test.longest_ready, 2)
    assert figures["requests without a response, applied"] == 0
    assert set(test.ends) <= NOT_ACCEPTED


@pytest.mark.guarantee(
    "T37",
    promise="A second signal stops it at once, without losing anything it acknowledged.",
    tried="The same load; a second SIGTERM follows up to a second after the first.",
    not_shown="",
)
async def test_hurried_stop_loses_nothing(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    test = Stops(make_deployment("filesystem", DOCVAULT_WORKER="embedded"))
    stops = size.of(ci=1, full=25)
    await test.run(stops, is_hurried=True)
    figures["stops"] = stops
    test.report(figures)


class Balancer(httpx.AsyncBaseTransport):
    """Sends each request to one of the instances that reported to be ready."""

    def __init__(self, instances: list[Deployment]) -> None:
        self._instances = instances
        self._network = httpx.AsyncHTTPTransport(verify=False)
        self.ready: list[httpx.URL] = []

    async def watch(self) -> None:
        """Probe every instance repeatedly, like a load balancer."""
        async with httpx.AsyncClient(transport=self._network) as client:
            while True:
                running = [i.client.base_url for i in self._instances if i.client is not None]
                self.ready = [url for url in running if await self._is_ready(client, url)]
                await asyncio.sleep(POLL_SECONDS)

    async def has_both(self) -> bool:
        """Whether all are ready."""
        return len(self.ready) == len(self._instances)

    async def _is_ready(self, client: httpx.AsyncClient, url: httpx.URL) -> bool:
        with suppress(httpx.TransportError):
            response = await client.get(url.join("/readyz"), headers=NEW_CONNECTION)
            return response.status_code == 200
        return False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Forward a request."""
        url = random.choice(self.ready)
        request.url = request.url.copy_with(host=url.host, port=url.port)
        return await self._network.handle_async_request(request)


async def restart(instance: Deployment, balancer: Balancer) -> None:
    """Wait until both instances are balanced, restart one, and wait again."""
    await seconds_until(balancer.has_both, STOP_SECONDS)
    assert instance.process is not None
    os.kill(instance.process.pid, signal.SIGTERM)
    await seconds_to_end(instance.process)
    assert instance.process.wait() == 0
    await instance.close_client()
    await asyncio.to_thread(instance.start)
    await seconds_until(balancer.has_both, STOP_SECONDS)


@pytest.mark.guarantee(
    "T37",
    promise="Restarting two instances in turn rejects no request.",
    tried="Two instances share one database and one store. A balancer probes `/readyz` of both "
    "every 20 ms and sends each request, on a connection of its own, to a ready one. Six clients "
    "upload, replace and delete while the instances receive SIGTERM and are restarted in turn. No "
    "request may fail. At the end the documents, the store, the rows and the audit trail are "
    "compared.",
    not_shown="A balancer that takes longer than two seconds to notice.",
)
async def test_rolling_restart_rejects_nothing(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="external")
    instances = [replace(deployment), replace(deployment)]
    ledger, findings = Ledger(), Findings()
    writers = [Writer(f"w{n}", ledger, n) for n in range(WRITERS)]
    balancer = Balancer(instances)
    restarts = size.of(ci=1, full=25)
    try:
        await make_types(instances[0].start())
        instances[1].start()
        watch = asyncio.create_task(balancer.watch())
        headers = {"Authorization": f"Bearer {deployment.staff_token()}", **NEW_CONNECTION}
        async with httpx.AsyncClient(
            transport=balancer, base_url="http://docvault.test", headers=headers, timeout=30
        ) as client:
            for number in range(restarts):
                await seconds_until(balancer.has_both, STOP_SECONDS)
                load = start_writers(writers, client)
                await restart(instances[number % 2], balancer)
                for writer in writers:
                    writer.is_over = True
                await load
            await ledger.check_documents(client, findings)
        watch.cancel()
    finally:
        for instance in instances:
            instance.kill_process()
            await instance.close_client()
    async with settler_of(deployment) as settler:
        await settler.settle()
    with deployment.connect() as connection:
        check_store(connection, deployment.list_keys(), findings)
        check_audit(connection, ledger, findings)
    figures["restarts"] = restarts
    for name in ("uploads", "replacements", "deletions"):
        figures[f"acknowledged {name}"] = ledger.acknowledged[name]
    figures["failed requests"] = sum(writer.cut_off_by is not None for writer in writers)
    figures.update({kind: findings.counts[kind] for kind in KINDS})
    assert not findings, "\n".join(findings.details[:20])
    assert figures["failed requests"] == 0
