"""One idempotency key, used by many at once: the request is done once (T05)."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.fixtures.callers import with_headers
from tests.torture.figures import Figure, Size
from tests.torture.inside import Inside, happened, put, text, unlimited
from tests.torture.load import make_known
from tests.torture.model import Content

from docvault.auth.local_tokens import LocalIssuer
from docvault.settings import Settings

pytestmark = pytest.mark.torture

AT_ONCE = 20
CHECK_EVERY = 50


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data")


class Round:
    """One key, and all that can be done with it."""

    def __init__(self, inside: Inside, other_staff: httpx.AsyncClient, number: int) -> None:
        self._inside = inside
        self._other_staff = other_staff
        self._customer = inside.customer_of(f"c-{number}")
        self.slot = inside.ledger.slot(f"c-{number}", "contract")
        self._key = f"key-{number}"
        self._content = text(f"first {number}")
        self.statuses: Counter[str] = Counter()

    async def run(self) -> None:
        """Use it in every way; one way after the other, the first by many at once."""
        await make_known(self._inside.client, self.slot.customer)
        first = await self._at_once()
        again = await self._put(self._inside.client)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        other = text(f"other {self._key}")
        refused = await self._put(self._inside.client, other)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
        own_path = f"/v1/customer/documents/{self.slot.key}"
        for client, path in ((self._other_staff, self.slot.path), (self._customer, own_path)):
            answer = await self._put(client, other, path)
            assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
            happened(self.slot, other)
        await self._a_day_later()

    async def _at_once(self) -> httpx.Response:
        answers = await asyncio.gather(*(self._put(self._inside.client) for _ in range(AT_ONCE)))
        done = [a for a in answers if a.is_success and "idempotency-replayed" not in a.headers]
        assert [answer.status_code for answer in done] == [201]
        happened(self.slot, self._content)
        for answer in answers:
            if answer.is_success:
                assert (answer.status_code, answer.json()) == (201, done[0].json())
                replayed = "idempotency-replayed" in answer.headers
                self.statuses["answered alike" if replayed else "done"] += 1
            else:
                assert answer.json()["code"] == "request-in-progress", answer.text
                self.statuses["told to wait"] += 1
        return done[0]

    async def _a_day_later(self) -> None:
        self._inside.database.execute(
            "UPDATE idempotency_keys SET expires_at = expires_at - interval '25 hours'"
        )
        answer = await self._put(self._inside.client)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
        happened(self.slot, self._content)

    async def _put(
        self, client: httpx.AsyncClient, content: Content | None = None, path: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": self._key}
        return await put(client, path or self.slot.path, content or self._content, headers)


@pytest.mark.guarantee(
    "T05",
    promise="A request with an idempotency key is done once, however often and by however many at "
    "once it is sent.",
    tried="Twenty identical uploads with one key at once: one is done, each other gets the same "
    "answer or is told to wait. Sent again, it is answered alike; with another body it is refused; "
    "another member of staff and the customer have the key for themselves; 25 hours later it is a "
    "new request. After every fiftieth round and at the end documents, store, rows and audit trail "
    "are compared.",
    not_shown="A process killed in the middle: see T02, where each request is repeated under its "
    "key. The 25 hours pass by moving what is stored.",
)
async def test_a_request_with_a_key_is_done_once(
    inside: Inside, issuer: LocalIssuer, size: Size, figures: dict[str, Figure]
) -> None:
    token = issuer.admin_token("staff-2")
    other_staff = with_headers(inside.client, {"Authorization": f"Bearer {token}"})
    statuses: Counter[str] = Counter()
    rounds = size.of(ci=10, full=1000)
    slots = []
    for number in range(1, rounds + 1):
        one = Round(inside, other_staff, number)
        await one.run()
        statuses += one.statuses
        slots.append(one.slot)
        if number % CHECK_EVERY == 0 or number == rounds:
            await inside.check(slots)
            slots = []
    figures["keys"] = rounds
    figures["requests at once, each"] = AT_ONCE
    for what, number in sorted(statuses.items()):
        figures[f"of those, {what}"] = number
    figures.update(inside.report())
    assert statuses["done"] == rounds
