"""How much may be stored for one customer: exact, whoever uploads at the same time (D18, T08)."""

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.holdings import holdings, refusal
from tests.api.raw_client import MULTIPART, Client
from tests.api.test_rate_limits import another_process, at, reached
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources
from docvault.settings import Settings

SLOT = "/v1/customer/documents/contract"
KEY_SLOT = "/v1/integration/customers/c-1/documents/contract"
STAFF_SLOT = "/v1/admin/customers/c-1/documents/contract"
PDF = files.pdf()
MEBIBYTE = 1024 * 1024
LARGE_TEXT = b"a line\n\n" * (MEBIBYTE // 4)


@pytest.fixture
def limits() -> dict[str, int]:
    """The quotas of the test; those it does not name are off."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, limits: dict[str, int]) -> Settings:
    off = {
        "customer_max_files": 0,
        "customer_max_bytes": 0,
        "customer_uploads_per_minute": 0,
        "customer_max_parallel_uploads": 0,
        "max_parallel_uploads": 40,
    }
    return Settings(data_dir=tmp_path / "data", **(off | limits))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    """Two types, and the customers c-1 and c-2."""
    for name in ("Contract", "Report"):
        await make_type(admin, name)
    for customer_id in ("c-1", "c-2"):
        await make_customer(admin, customer_id)


@pytest.fixture
def customer(customer_of: CustomerClients) -> httpx.AsyncClient:
    return customer_of("c-1")


def announcement(body: bytes = PDF) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"filename": "scan.pdf", "size_bytes": len(body), "sha256": digest}


def exceeded(answer: httpx.Response) -> bool:
    """Whether it is the refusal."""
    return answer.status_code == 409 and answer.json()["code"] == "quota-exceeded"


async def let_pass(resources: Resources, interval: str) -> None:
    """Let time pass for every blob that waits."""
    async with resources.database.transaction() as session:
        statement = f"UPDATE blobs SET expires_at = expires_at - interval '{interval}'"
        await session.execute(text(statement))


@pytest.mark.parametrize("limits", [{"customer_max_files": 2}])
class TestFiles:
    """DOCVAULT_CUSTOMER_MAX_FILES."""

    async def test_one_more_than_the_quota_is_refused_and_nothing_is_stored(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(2):
            assert (await customer.put(SLOT, **upload_of())).is_success
        before, count = await holdings(resources), reached("customer_files")
        answer = await customer.put(SLOT, **upload_of())
        assert refusal(answer) == (409, "quota-exceeded", None)
        assert {name: answer.json()[name] for name in ("quota", "limit", "used")} == {
            "quota": "files",
            "limit": 2,
            "used": 2,
        }
        assert "retry-after" not in answer.headers
        assert await holdings(resources) == before
        assert reached("customer_files") == count + 1

    async def test_whoever_uploads_it_counts_for_the_customer(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        answers = [
            await admin.put(STAFF_SLOT, **upload_of()),
            await integration.put(KEY_SLOT, **upload_of()),
            await admin.put(STAFF_SLOT, **upload_of()),
            await integration.put(KEY_SLOT, **upload_of()),
            await customer.put(SLOT, **upload_of()),
        ]
        assert [a.status_code for a in answers] == [201, 200, 409, 409, 409]

    async def test_other_customers_are_counted_apart(self, customer_of: CustomerClients) -> None:
        for customer_id in ("c-1", "c-2"):
            for _ in range(2):
                assert (await customer_of(customer_id).put(SLOT, **upload_of())).is_success

    async def test_deleting_makes_room_before_the_bytes_are_gone(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        for _ in range(2):
            await customer.put(SLOT, **upload_of())
        assert (await admin.delete(STAFF_SLOT)).status_code == 204
        answers = [await customer.put(SLOT, **upload_of()) for _ in range(3)]
        assert [a.status_code for a in answers] == [201, 200, 409]

    async def test_what_is_refused_takes_no_room(self, customer: httpx.AsyncClient) -> None:
        await customer.put(SLOT, **upload_of())
        for refused in (
            await customer.put(SLOT, **upload_of(b"nothing", "a.exe")),
            await customer.put(SLOT, headers={"If-Match": '"x"'}, **upload_of()),
        ):
            assert refused.status_code in {412, 415}
        assert (await customer.put(SLOT, **upload_of())).status_code == 200

    async def test_previews_take_no_room_and_need_none(self, customer: httpx.AsyncClient) -> None:
        picture = upload_of(files.png(), "a.png")
        assert (await customer.put(SLOT, **picture)).status_code == 201
        assert (await customer.get(f"{SLOT}/preview")).status_code == 200
        assert (await customer.put(SLOT, **picture)).status_code == 200
        assert exceeded(await customer.put(SLOT, **picture))
        assert (await customer.get(f"{SLOT}/preview?size=small")).status_code == 200

    async def test_a_copy_needs_room(self, admin: httpx.AsyncClient) -> None:
        for _ in range(2):
            await admin.put(STAFF_SLOT, **upload_of())
        copy = STAFF_SLOT.replace("contract", "report/copy")
        answer = await admin.post(copy, json={"from": {"key": "contract"}})
        assert exceeded(answer)

    async def test_each_item_of_a_batch_needs_room(self, customer: httpx.AsyncClient) -> None:
        await customer.put(SLOT, **upload_of())
        items = '[{"key": "contract", "files": ["a"]}, {"key": "report", "files": ["b"]}]'
        parts = [(name, ("scan.pdf", PDF)) for name in ("a", "b")]
        path = "/v1/customer/document-batches"
        answer = await customer.post(path, data={"items": items}, files=parts)
        saved, refused = answer.json()["items"]
        assert (answer.status_code, saved["status"], refused["status"]) == (207, 200, 409)
        assert refused["problem"]["code"] == "quota-exceeded"

    async def test_an_announced_file_takes_room_until_it_can_come_no_more(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        path = f"{SLOT}/uploads"
        opened = [await customer.post(path, json=announcement()) for _ in range(3)]
        assert [a.status_code for a in opened] == [201, 201, 409]
        assert exceeded(opened[2])
        await customer.delete(opened[0].headers["location"])
        assert exceeded(await customer.post(path, json=announcement()))
        await let_pass(resources, "46 minutes")
        assert (await customer.post(path, json=announcement())).status_code == 201


@pytest.mark.parametrize("limits", [{"customer_max_files": 2, "keep_versions": 1}])
async def test_versions_that_are_not_kept_take_no_room(customer: httpx.AsyncClient) -> None:
    answers = [await customer.put(SLOT, **upload_of()) for _ in range(5)]
    assert [a.status_code for a in answers] == [201, 200, 200, 200, 200]


@pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * len(PDF)}])
class TestBytes:
    """DOCVAULT_CUSTOMER_MAX_BYTES."""

    async def test_the_last_byte_still_fits(self, customer: httpx.AsyncClient) -> None:
        answers = [await customer.put(SLOT, **upload_of()) for _ in range(4)]
        assert [a.status_code for a in answers] == [201, 200, 200, 409]
        assert {name: answers[3].json()[name] for name in ("quota", "limit", "used")} == {
            "quota": "bytes",
            "limit": 3 * len(PDF),
            "used": 3 * len(PDF),
        }

    async def test_the_files_of_one_upload_count_together(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Pages", max_files=4)
        path = SLOT.replace("contract", "pages")
        four = [("file", (f"{n}.pdf", PDF)) for n in range(4)]
        assert exceeded(await customer.put(path, files=four))
        assert (await customer.put(path, files=four[:3])).status_code == 201


class TestAtTheSameTime:
    """Twenty for the last place: one gets it, and no place stays empty."""

    @pytest.mark.parametrize("limits", [{"customer_max_files": 3, "keep_versions": 50}])
    async def test_uploads_to_two_processes(
        self,
        app: FastAPI,
        settings: Settings,
        database_url: str,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
    ) -> None:
        async with another_process(settings, database_url) as other:
            clients = [at(app, integration), at(other, integration)] * 10
            for _ in range(3):
                for _ in range(2):
                    assert (await integration.put(KEY_SLOT, **upload_of())).is_success
                answers = await asyncio.gather(*(c.put(KEY_SLOT, **upload_of()) for c in clients))
                assert Counter(a.status_code for a in answers) == {200: 1, 409: 19}
                assert sum(exceeded(a) for a in answers) == 19
                await admin.delete(STAFF_SLOT)

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 5 * len(PDF) + 1}])
    async def test_uploads_and_announcements_together(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        announced = [customer.post(f"{SLOT}/uploads", json=announcement()) for _ in range(10)]
        uploads = [customer.put(SLOT, **upload_of()) for _ in range(10)]
        answers = await asyncio.gather(*announced, *uploads)
        assert sum(exceeded(a) for a in answers) == 15
        assert sum(a.is_success for a in answers) == 5
        async with resources.database.transaction() as session:
            used = await session.scalar(text("SELECT sum(size_bytes) FROM blobs"))
        assert used == 5 * len(PDF)


class TestLargeBodies:
    """A body that cannot fit is not read."""

    async def raw_put(
        self, app: FastAPI, issuer: LocalIssuer, size: int, path: str = SLOT, method: str = "PUT"
    ) -> tuple[int, str | None, int]:
        client = Client(app)
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        headers = MULTIPART | token | {"content-length": str(size)}
        status, answered, _ = await client.send(method, path, headers)
        return status, answered.get("connection"), client.received

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 10 * MEBIBYTE}])
    async def test_one_that_is_larger_than_the_room_is_refused_unread(
        self, app: FastAPI, issuer: LocalIssuer, customer: httpx.AsyncClient
    ) -> None:
        await customer.put(SLOT, **upload_of())
        assert await self.raw_put(app, issuer, 11 * MEBIBYTE) == (409, "close", 0)

    @pytest.mark.parametrize("limits", [{"customer_max_files": 1}])
    async def test_with_as_many_files_as_there_may_be_any_large_one_is_refused_unread(
        self, app: FastAPI, issuer: LocalIssuer, customer: httpx.AsyncClient
    ) -> None:
        await customer.put(SLOT, **upload_of())
        assert await self.raw_put(app, issuer, 2 * MEBIBYTE) == (409, "close", 0)
        batch = "/v1/customer/document-batches"
        assert await self.raw_put(app, issuer, 2 * MEBIBYTE, batch, "POST") == (409, "close", 0)

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * MEBIBYTE}])
    async def test_one_that_fits_is_taken(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.put(SLOT, **upload_of(LARGE_TEXT, "a.txt"))
        assert answer.status_code == 201

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * MEBIBYTE}])
    async def test_the_part_of_a_batch_that_fits_is_taken(
        self, customer: httpx.AsyncClient
    ) -> None:
        items = '[{"key": "contract", "files": ["a"]}, {"key": "report", "files": ["b"]}]'
        parts = [(name, ("a.txt", LARGE_TEXT)) for name in ("a", "b")]
        path = "/v1/customer/document-batches"
        answer = await customer.post(path, data={"items": items}, files=parts)
        assert [item["status"] for item in answer.json()["items"]] == [201, 409]


async def test_without_quotas_there_is_no_end(customer: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await customer.put(SLOT, **upload_of())).is_success
