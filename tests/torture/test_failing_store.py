"""The S3 store is unavailable, slow, lossy or faulty under load (T30, T31)."""

import asyncio
import random
import time
from collections.abc import Callable

import pytest
from tests.fixtures.faultproxy import Faults
from tests.fixtures.s3proxy import S3Fault, S3Proxy
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.outages import check_afterwards, load_on

HEALTHY_SECONDS = 1
REFUSED_WITHIN_SECONDS = 5
BACK_WITHIN_SECONDS = 10
# Two attempts of ten seconds each, for the first requests that reach a silent store.
SILENT_REFUSED_WITHIN_SECONDS = 25
LARGE = 10 * 1024 * 1024

pytestmark = pytest.mark.torture


@pytest.fixture
def deployment(s3_proxy: S3Proxy, make_deployment: MakeDeployment) -> Deployment:
    """The service on that store, with an embedded worker."""
    return make_deployment("s3", DOCVAULT_WORKER="embedded", DOCVAULT_S3_ENDPOINT_URL=s3_proxy.url)


@pytest.mark.guarantee(
    "T30",
    promise="While the S3 store is unavailable, uploads are rejected in time and everything else "
    "keeps working; uploads work again soon after it is back.",
    tried="Eight clients upload (60 %), replace (15 %) and delete (25 %), two read lists and two "
    "download files, while a proxy in front of a real S3 server resets every connection, or keeps "
    "connections open without responding. Rejections must be 503 with `Retry-After`. Afterwards "
    "everything is read back, and the store, the rows and the audit trail are compared.",
    not_shown="A store that loses what it has acknowledged.",
)
@pytest.mark.parametrize(
    ("faults", "refused_within"),
    [
        pytest.param(Faults(refuse=True), REFUSED_WITHIN_SECONDS, id="refuses"),
        pytest.param(Faults(blackhole=True), SILENT_REFUSED_WITHIN_SECONDS, id="is silent"),
    ],
)
async def test_unavailable_store_fails_fast(
    faults: Faults,
    refused_within: float,
    deployment: Deployment,
    s3_proxy: S3Proxy,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    outage_seconds = size.of(ci=1, full=60)
    async with load_on(deployment) as load:
        await asyncio.sleep(HEALTHY_SECONDS)
        s3_proxy.faults = faults
        if faults.refuse:
            s3_proxy.reset_all()
        lists_before = len(load.lists.done_at)
        await asyncio.sleep(outage_seconds)
        lists_meanwhile = len(load.lists.done_at) - lists_before
        s3_proxy.faults = Faults()
        back_at = time.monotonic()
        await load.until_done(back_at, BACK_WITHIN_SECONDS)
        await asyncio.sleep(HEALTHY_SECONDS)
    figures["seconds without the store"] = outage_seconds
    figures["lists read during the outage"] = lists_meanwhile
    figures["recovery, seconds after the store"] = round(load.changes.recovered_after(back_at), 2)
    load.report(figures)
    await check_afterwards(deployment, load.ledger, figures)
    if faults.refuse:
        assert load.changes.refused_at
    assert load.changes.slowest_refusal < refused_within
    assert load.changes.broken_off == 0
    assert load.lists.refused_at == []
    assert lists_meanwhile > outage_seconds
    assert load.changes.recovered_after(back_at) < BACK_WITHIN_SECONDS


def some_of(fault: S3Fault, *methods: str) -> Callable[[str, str], S3Fault | None]:
    """Return faults that hit one in ten requests with these methods."""
    chance = random.Random(fault.name)
    return lambda method, _: fault if method in methods and chance.random() < 0.1 else None


def only_completions(method: str, target: str) -> S3Fault | None:
    """Return a false success for the completion of a multipart upload."""
    return S3Fault.FALSE_SUCCESS if method == "POST" and "uploadId=" in target else None


FAULTS: dict[str, Faults | Callable[[str, str], S3Fault | None]] = {
    "two seconds late": Faults(latency_seconds=2),
    "64 KiB a second": Faults(bytes_per_second=64 * 1024),
    "one in ten 500": some_of(S3Fault.ERROR, "PUT", "POST", "GET", "HEAD", "DELETE"),
    "one in ten 503": some_of(S3Fault.SLOW_DOWN, "PUT", "POST", "GET", "HEAD", "DELETE"),
    "reset after 100 KiB sent": Faults(reset_after_sent=100 * 1024),
    "reset after 100 KiB received": Faults(reset_after_received=100 * 1024),
    "one in ten responses lost": some_of(S3Fault.LOST_RESPONSE, "PUT", "POST", "DELETE"),
    "200 with an error in the body": only_completions,
    "one in ten writes with a flipped bit": some_of(S3Fault.WRONG_UPLOAD, "PUT"),
    "one in ten reads truncated": some_of(S3Fault.TRUNCATED, "GET"),
    "one in ten reads with a flipped bit": some_of(S3Fault.WRONG_BYTES, "GET"),
}


@pytest.mark.guarantee(
    "T31",
    promise="An S3 store that is slow, fails, loses responses or returns wrong bytes causes "
    "rejections but loses no document.",
    tried="The same load, with files of up to 10 MiB that also use multipart uploads, under one "
    f"fault after another: {', '.join(FAULTS)}. Every complete download is compared with "
    "its digest.",
    not_shown="Wrong bytes in files above 32 MiB and in ranges: these are streamed unchecked.",
)
async def test_misbehaving_store_loses_no_document(
    deployment: Deployment, s3_proxy: S3Proxy, size: Size, figures: dict[str, Figure]
) -> None:
    seconds = size.of(ci=6, full=300) / len(FAULTS)
    async with load_on(deployment, largest=LARGE) as load:
        for fault in FAULTS.values():
            await inject(s3_proxy, fault, seconds)
        await load.until_done(time.monotonic(), BACK_WITHIN_SECONDS)
    figures["seconds per fault"] = seconds
    figures["requests to the store"] = sum(s3_proxy.requests.values())
    for kind in S3Fault:
        figures[kind.value] = s3_proxy.happened[kind]
    load.report(figures)
    await check_afterwards(deployment, load.ledger, figures)
    assert load.changes.broken_off == 0


async def inject(
    s3_proxy: S3Proxy, how: Faults | Callable[[str, str], S3Fault | None], seconds: float
) -> None:
    """Inject a fault for the given time."""
    if isinstance(how, Faults):
        s3_proxy.faults = how
    else:
        s3_proxy.choose = how
    await asyncio.sleep(seconds)
    s3_proxy.faults = Faults()
    s3_proxy.heal()
