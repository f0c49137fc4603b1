"""One idempotency key in many concurrent requests: the request is processed once (T05)."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.fixtures.callers import with_headers
from tests.torture.figures import Figure, Size
from tests.torture.inside import LocalService, acknowledge, put, text, unlimited
from tests.torture.load import register_customer
from tests.torture.model import Content

from docvault.auth.local_tokens import LocalIssuer
from docvault.settings import Settings

pytestmark = pytest.mark.torture

CONCURRENT = 20
CHECK_EVERY = 50


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data")


class Round:
    """One key, and all its possible uses."""

    def __init__(
        self, local_service: LocalService, other_staff: httpx.AsyncClient, number: int
    ) -> None:
        self._local_service = local_service
        self._other_staff = other_staff
        self._customer = local_service.customer_of(f"c-{number}")
        self.document = local_service.ledger.document(f"c-{number}", "contract")
        self._key = f"key-{number}"
        self._content = text(f"first {number}")
        self.statuses: Counter[str] = Counter()

    async def run(self) -> None:
        """Use the key concurrently first, then in every other way in turn."""
        await register_customer(self._local_service.client, self.document.customer)
        first = await self._concurrently()
        again = await self._put(self._local_service.client)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        other = text(f"other {self._key}")
        refused = await self._put(self._local_service.client, other)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
        own_path = f"/v1/customer/documents/{self.document.key}"
        for client, path in ((self._other_staff, self.document.path), (self._customer, own_path)):
            response = await self._put(client, other, path)
            assert (response.status_code, "idempotency-replayed" in response.headers) == (
                200,
                False,
            )
            acknowledge(self.document, other)
        await self._a_day_later()

    async def _concurrently(self) -> httpx.Response:
        responses = await asyncio.gather(
            *(self._put(self._local_service.client) for _ in range(CONCURRENT))
        )
        done = [a for a in responses if a.is_success and "idempotency-replayed" not in a.headers]
        assert [response.status_code for response in done] == [201]
        acknowledge(self.document, self._content)
        for response in responses:
            if response.is_success:
                assert (response.status_code, response.json()) == (201, done[0].json())
                replayed = "idempotency-replayed" in response.headers
                self.statuses["same response replayed" if replayed else "processed"] += 1
            else:
                assert response.json()["code"] == "request-in-progress", response.text
                self.statuses["409 request-in-progress"] += 1
        return done[0]

    async def _a_day_later(self) -> None:
        self._local_service.database.execute(
            "UPDATE idempotency_keys SET expires_at = expires_at - interval '25 hours'"
        )
        response = await self._put(self._local_service.client)
        assert (response.status_code, "idempotency-replayed" in response.headers) == (200, False)
        acknowledge(self.document, self._content)

    async def _put(
        self, client: httpx.AsyncClient, content: Content | None = None, path: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": self._key}
        return await put(client, path or self.document.path, content or self._content, headers)


@pytest.mark.guarantee(
    "T05",
    promise="A request with an idempotency key is processed once, however often and however "
    "concurrently it is sent.",
    tried="Twenty identical uploads with one key at once: one is processed; each of the others "
    "receives the same response or 409 `request-in-progress`. Repeated later, the request "
    "receives the stored response; with another body it is rejected; other members of staff and "
    "the customer can use the same key independently; after 25 hours it is a new request. After "
    "every fiftieth round and at the end the documents, the store, the rows and the audit trail "
    "are compared.",
    not_shown="A process killed during the request: see T02, where each request is repeated with "
    "its key. The 25 hours are simulated by moving the stored times.",
)
async def test_request_with_key_is_processed_once(
    local_service: LocalService, issuer: LocalIssuer, size: Size, figures: dict[str, Figure]
) -> None:
    token = issuer.admin_token("staff-2")
    other_staff = with_headers(local_service.client, {"Authorization": f"Bearer {token}"})
    statuses: Counter[str] = Counter()
    rounds = size.of(ci=10, full=1000)
    documents = []
    for number in range(1, rounds + 1):
        one = Round(local_service, other_staff, number)
        await one.run()
        statuses += one.statuses
        documents.append(one.document)
        if number % CHECK_EVERY == 0 or number == rounds:
            await local_service.check(documents)
            documents = []
    figures["keys"] = rounds
    figures["concurrent requests per key"] = CONCURRENT
    for what, number in sorted(statuses.items()):
        figures[f"of those, {what}"] = number
    figures.update(local_service.report())
    assert statuses["processed"] == rounds
