"""Clients that upload, replace and delete until they are cut off."""

import asyncio
import base64
import random
from collections.abc import Sequence

import httpx
from tests.factories import files
from tests.factories.setups import make_type
from tests.torture.model import Change, Content, Ledger, SlotModel, stored

TYPES = tuple(f"type-{number}" for number in range(8))
SMALLEST, LARGEST = 1024, 5 * 1024 * 1024


async def make_types(client: httpx.AsyncClient) -> None:
    """Ask for the documents that the writers send."""
    for key in TYPES:
        await make_type(client, key.replace("-", " ").title())


def some_content(chance: random.Random, *, largest: int = LARGEST) -> Content:
    """Return a file of any size; most sizes are small, as in life, and one in ten is a PDF.

    A PDF brings a job that renders it. Texts are quick to make and to check.
    """
    if chance.random() < 0.1:
        name = f"scan {chance.randrange(10**6)}.pdf"
        return Content(files.pdf(name), name, "application/pdf")
    size = int(SMALLEST * (largest / SMALLEST) ** chance.random())
    body = base64.encodebytes(chance.randbytes(size * 3 // 4))
    return Content(body, f"brief-{chance.randrange(10**6)}.txt", "text/plain")


class Writer:
    """One client: 60 % uploads, 15 % replacements, 25 % deletions, one after the other.

    Nobody else touches its slots, so that it knows what has to be in them.
    """

    def __init__(self, name: str, ledger: Ledger, seed: int, *, largest: int = LARGEST) -> None:
        self._name = name
        self._ledger = ledger
        self._largest = largest
        self._chance = random.Random(seed)
        self._customers = 0
        self._free: list[SlotModel] = []
        self._filled: list[SlotModel] = []
        self.touched: list[SlotModel] = []
        self.cut_off_by: httpx.TransportError | None = None
        self.is_over = False

    async def run(self, client: httpx.AsyncClient) -> None:
        """Go on until the connection breaks; the slot of that moment is left in doubt.

        Or until it is over: then nothing is in doubt.
        """
        self.touched = []
        self.is_over = False
        self._sort_slots()
        while not self.is_over:
            try:
                await self._do_something(client)
            except httpx.TransportError as error:
                self.cut_off_by = error
                return

    def _sort_slots(self) -> None:
        """Look at the slots anew: doubts have been settled since."""
        known = [slot for slot in self._free + self._filled if slot.doubt is None]
        self._free = [slot for slot in known if slot.current is None]
        self._filled = [slot for slot in known if slot.current is not None]

    async def _do_something(self, client: httpx.AsyncClient) -> None:
        wish = self._chance.random()
        if wish < 0.6 or not self._filled:
            await self._upload(client, await self._free_slot(client))
        elif wish < 0.75:
            await self._upload(client, self._take_filled())
        else:
            await self._delete(client, self._take_filled())

    async def _free_slot(self, client: httpx.AsyncClient) -> SlotModel:
        if not self._free:
            self._customers += 1
            customer = f"{self._name}-{self._customers}"
            answer = await client.put(f"/v1/admin/customers/{customer}", json={})
            self._expect(answer, {200, 201})
            self._free = [self._ledger.slot(customer, key) for key in TYPES]
        return self._free.pop(self._chance.randrange(len(self._free)))

    def _take_filled(self) -> SlotModel:
        return self._filled.pop(self._chance.randrange(len(self._filled)))

    async def _upload(self, client: httpx.AsyncClient, slot: SlotModel) -> None:
        content = some_content(self._chance, largest=self._largest)
        slot.doubt = Change(stored(content))
        self.touched.append(slot)
        self._filled.append(slot)
        part = (content.filename, content.body)
        answer = await client.put(slot.path, files={"file": part})
        self._expect(answer, {200, 201})
        self._ledger.acknowledged["uploads" if answer.status_code == 201 else "replacements"] += 1
        slot.confirm()

    async def _delete(self, client: httpx.AsyncClient, slot: SlotModel) -> None:
        slot.doubt = Change(None)
        self.touched.append(slot)
        self._free.append(slot)
        answer = await client.delete(slot.path)
        self._expect(answer, {204})
        self._ledger.acknowledged["deletions"] += 1
        slot.confirm()

    def _expect(self, answer: httpx.Response, statuses: set[int]) -> None:
        """Fail when the answer is another; for writers to override that live with refusals."""
        assert answer.status_code in statuses, (answer.status_code, answer.text)


async def make_known(client: httpx.AsyncClient, customer: str) -> None:
    """Make a customer known, also when an earlier try had no answer."""
    answer = await client.put(f"/v1/admin/customers/{customer}", json={})
    assert answer.status_code in {200, 201}, (answer.status_code, answer.text)


def start_writers(writers: Sequence[Writer], client: httpx.AsyncClient) -> asyncio.Task[None]:
    """Start all writers; the task ends when every one of them is cut off."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.run(client))

    return asyncio.create_task(run())
