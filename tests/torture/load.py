"""Clients that upload, replace and delete until their connection breaks."""

import asyncio
import base64
import random
from collections.abc import Sequence

import httpx
from tests.factories import files
from tests.factories.setups import make_type
from tests.torture.model import Change, Content, DocumentModel, Ledger, stored

TYPES = tuple(f"type-{number}" for number in range(8))
SMALLEST, LARGEST = 1024, 5 * 1024 * 1024


async def make_types(client: httpx.AsyncClient) -> None:
    """Create the document types that the writers use."""
    for key in TYPES:
        await make_type(client, key.replace("-", " ").title())


def random_content(chance: random.Random, *, largest: int = LARGEST) -> Content:
    """Return a file of random size; most are small, as in practice, and one in ten is a PDF.

    A PDF causes a rendering job. Texts are quick to generate and to check.
    """
    if chance.random() < 0.1:
        name = f"scan {chance.randrange(10**6)}.pdf"
        return Content(files.pdf(name), name, "application/pdf")
    size = int(SMALLEST * (largest / SMALLEST) ** chance.random())
    body = base64.encodebytes(chance.randbytes(size * 3 // 4))
    return Content(body, f"brief-{chance.randrange(10**6)}.txt", "text/plain")


class Writer:
    """One client: 60 % uploads, 15 % replacements, 25 % deletions, one at a time.

    No other client changes its documents, so it knows their expected state.
    """

    def __init__(self, name: str, ledger: Ledger, seed: int, *, largest: int = LARGEST) -> None:
        self._name = name
        self._ledger = ledger
        self._largest = largest
        self._chance = random.Random(seed)
        self._customers = 0
        self._free: list[DocumentModel] = []
        self._filled: list[DocumentModel] = []
        self.touched: list[DocumentModel] = []
        self.cut_off_by: httpx.TransportError | None = None
        self.is_over = False

    async def run(self, client: httpx.AsyncClient) -> None:
        """Continue until the connection breaks; the current document is then left in doubt.

        If the load ends first, nothing is in doubt.
        """
        self.touched = []
        self.is_over = False
        self._sort_documents()
        while not self.is_over:
            try:
                await self._step(client)
            except httpx.TransportError as error:
                self.cut_off_by = error
                return

    def _sort_documents(self) -> None:
        """Reload the documents: doubts have been settled since."""
        known = [document for document in self._free + self._filled if document.doubt is None]
        self._free = [document for document in known if document.current is None]
        self._filled = [document for document in known if document.current is not None]

    async def _step(self, client: httpx.AsyncClient) -> None:
        wish = self._chance.random()
        if wish < 0.6 or not self._filled:
            await self._upload(client, await self._free_document(client))
        elif wish < 0.75:
            await self._upload(client, self._pick_existing())
        else:
            await self._delete(client, self._pick_existing())

    async def _free_document(self, client: httpx.AsyncClient) -> DocumentModel:
        if not self._free:
            self._customers += 1
            customer = f"{self._name}-{self._customers}"
            response = await client.put(f"/v1/admin/customers/{customer}", json={})
            self._expect(response, {200, 201})
            self._free = [self._ledger.document(customer, key) for key in TYPES]
        return self._free.pop(self._chance.randrange(len(self._free)))

    def _pick_existing(self) -> DocumentModel:
        return self._filled.pop(self._chance.randrange(len(self._filled)))

    async def _upload(self, client: httpx.AsyncClient, document: DocumentModel) -> None:
        content = random_content(self._chance, largest=self._largest)
        document.doubt = Change(stored(content))
        self.touched.append(document)
        self._filled.append(document)
        part = (content.filename, content.body)
        response = await client.put(document.path, files={"file": part})
        self._expect(response, {200, 201})
        self._ledger.acknowledged["uploads" if response.status_code == 201 else "replacements"] += 1
        document.confirm()

    async def _delete(self, client: httpx.AsyncClient, document: DocumentModel) -> None:
        document.doubt = Change(None)
        self.touched.append(document)
        self._free.append(document)
        response = await client.delete(document.path)
        self._expect(response, {204})
        self._ledger.acknowledged["deletions"] += 1
        document.confirm()

    def _expect(self, response: httpx.Response, statuses: set[int]) -> None:
        """Fail on any other status; overridden by writers that tolerate rejections."""
        assert response.status_code in statuses, (response.status_code, response.text)


async def register_customer(client: httpx.AsyncClient, customer: str) -> None:
    """Register a customer, even if an earlier attempt got no response."""
    response = await client.put(f"/v1/admin/customers/{customer}", json={})
    assert response.status_code in {200, 201}, (response.status_code, response.text)


def start_writers(writers: Sequence[Writer], client: httpx.AsyncClient) -> asyncio.Task[None]:
    """Start all writers; the task ends when the connection of every writer is broken."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.run(client))

    return asyncio.create_task(run())
