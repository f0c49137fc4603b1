"""Storage quotas per customer, exact under concurrent uploads (T08)."""

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.raw_client import MULTIPART, Client
from tests.api.routing.test_rate_limits import another_process, at, reached
from tests.api.stored_state import refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources
from docvault.settings import Settings

PATH = "/v1/customer/documents/contract"
KEY_PATH = "/v1/integration/customers/c-1/documents/contract"
ADMIN_PATH = "/v1/admin/customers/c-1/documents/contract"
PDF = files.pdf()
MEBIBYTE = 1024 * 1024
LARGE_TEXT = b"a line\n\n" * (MEBIBYTE // 4)


@pytest.fixture
def limits() -> dict[str, int]:
    """The quotas of the test; all others are disabled."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, limits: dict[str, int]) -> Settings:
    off = {
        "customer_max_files": 0,
        "customer_max_bytes": 0,
        "customer_uploads_per_minute": 0,
        "customer_max_concurrent_uploads": 0,
        "max_concurrent_uploads": 40,
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


def upload_request(body: bytes = PDF) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"filename": "scan.pdf", "size_bytes": len(body), "sha256": digest}


def is_exceeded(response: httpx.Response) -> bool:
    """Return whether the quota was exceeded."""
    return response.status_code == 409 and response.json()["code"] == "quota-exceeded"


async def let_pass(resources: Resources, interval: str) -> None:
    """Move the expiry of all pending blobs into the past."""
    async with resources.database.transaction() as session:
        statement = f"UPDATE blobs SET expires_at = expires_at - interval '{interval}'"
        await session.execute(text(statement))


@pytest.mark.parametrize("limits", [{"customer_max_files": 2}])
class TestFiles:
    """DOCVAULT_CUSTOMER_MAX_FILES."""

    async def test_file_over_quota_is_rejected_and_not_stored(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(2):
            assert (await customer.put(PATH, **upload_of())).is_success
        before, count = await stored_state(resources), reached("customer_files")
        response = await customer.put(PATH, **upload_of())
        assert refusal(response) == (409, "quota-exceeded", None)
        assert {name: response.json()[name] for name in ("quota", "limit", "used")} == {
            "quota": "files",
            "limit": 2,
            "used": 2,
        }
        assert "retry-after" not in response.headers
        assert await stored_state(resources) == before
        assert reached("customer_files") == count + 1

    async def test_uploads_by_anyone_count_for_customer(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        responses = [
            await admin.put(ADMIN_PATH, **upload_of()),
            await integration.put(KEY_PATH, **upload_of()),
            await admin.put(ADMIN_PATH, **upload_of()),
            await integration.put(KEY_PATH, **upload_of()),
            await customer.put(PATH, **upload_of()),
        ]
        assert [r.status_code for r in responses] == [201, 200, 409, 409, 409]

    async def test_customers_are_counted_separately(self, customer_of: CustomerClients) -> None:
        for customer_id in ("c-1", "c-2"):
            for _ in range(2):
                assert (await customer_of(customer_id).put(PATH, **upload_of())).is_success

    async def test_deletion_frees_quota_before_bytes_are_deleted(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        for _ in range(2):
            await customer.put(PATH, **upload_of())
        assert (await admin.delete(ADMIN_PATH)).status_code == 204
        responses = [await customer.put(PATH, **upload_of()) for _ in range(3)]
        assert [r.status_code for r in responses] == [201, 200, 409]

    async def test_rejected_upload_uses_no_quota(self, customer: httpx.AsyncClient) -> None:
        await customer.put(PATH, **upload_of())
        wrong_type = await customer.put(PATH, **upload_of(b"nothing", "a.exe"))
        stale = await customer.put(PATH, headers={"If-Match": '"x"'}, **upload_of())
        assert (wrong_type.status_code, stale.status_code) == (415, 412)
        assert (await customer.put(PATH, **upload_of())).status_code == 200

    async def test_previews_use_and_need_no_quota(self, customer: httpx.AsyncClient) -> None:
        picture = upload_of(files.png(), "a.png")
        assert (await customer.put(PATH, **picture)).status_code == 201
        assert (await customer.get(f"{PATH}/preview")).status_code == 200
        assert (await customer.put(PATH, **picture)).status_code == 200
        assert is_exceeded(await customer.put(PATH, **picture))
        assert (await customer.get(f"{PATH}/preview?size=small")).status_code == 200

    async def test_copy_needs_quota(self, admin: httpx.AsyncClient) -> None:
        for _ in range(2):
            await admin.put(ADMIN_PATH, **upload_of())
        copy = ADMIN_PATH.replace("contract", "report/copy")
        response = await admin.post(copy, json={"from": {"key": "contract"}})
        assert is_exceeded(response)

    async def test_each_batch_item_needs_quota(self, customer: httpx.AsyncClient) -> None:
        await customer.put(PATH, **upload_of())
        batch = '{"items": [{"key": "contract", "files": [0]}, {"key": "report", "files": [1]}]}'
        parts = [("files", ("scan.pdf", PDF)) for _ in range(2)]
        path = "/v1/customer/document-batches"
        response = await customer.post(path, data={"batch": batch}, files=parts)
        saved, rejected = response.json()["items"]
        assert (response.status_code, saved["status"], rejected["status"]) == (207, 200, 409)
        assert rejected["problem"]["code"] == "quota-exceeded"

    async def test_upload_session_reserves_quota_until_url_expires(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        path = f"{PATH}/uploads"
        opened = [await customer.post(path, json=upload_request()) for _ in range(3)]
        assert [r.status_code for r in opened] == [201, 201, 409]
        assert is_exceeded(opened[2])
        await customer.delete(opened[0].headers["location"])
        assert is_exceeded(await customer.post(path, json=upload_request()))
        await let_pass(resources, "46 minutes")
        assert (await customer.post(path, json=upload_request())).status_code == 201


@pytest.mark.req("B-066")
class TestDeletedFiles:
    """DOCVAULT_DELETED_BLOB_RETENTION_HOURS: deleted blobs are kept and count as stored."""

    @pytest.mark.parametrize(
        "limits", [{"customer_max_files": 2, "keep_versions": 1, "deleted_blob_retention_hours": 1}]
    )
    async def test_replaced_files_count_against_twice_the_file_quota(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        responses = [await customer.put(PATH, **upload_of()) for _ in range(5)]
        assert [r.status_code for r in responses] == [201, 200, 200, 200, 409]
        assert is_exceeded(responses[4])
        assert {name: responses[4].json()[name] for name in ("quota", "limit", "used")} == {
            "quota": "files",
            "limit": 4,
            "used": 4,
        }
        assert "kept for backups" in responses[4].json()["detail"]
        await let_pass(resources, "1 hour")
        assert (await customer.put(PATH, **upload_of())).status_code == 200

    @pytest.mark.parametrize(
        "limits", [{"customer_max_bytes": 2 * len(PDF), "deleted_blob_retention_hours": 1}]
    )
    async def test_deleted_bytes_count_against_twice_the_byte_quota(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        for _ in range(2):
            for _ in range(2):
                assert (await customer.put(PATH, **upload_of())).is_success
            await admin.delete(ADMIN_PATH)
        response = await customer.put(PATH, **upload_of())
        assert is_exceeded(response)
        assert (response.json()["limit"], response.json()["used"]) == (4 * len(PDF), 4 * len(PDF))

    @pytest.mark.parametrize(
        "limits", [{"customer_max_files": 1, "keep_versions": 1, "deleted_blob_retention_hours": 1}]
    )
    async def test_large_body_is_rejected_before_reading(
        self,
        app: FastAPI,
        issuer: LocalIssuer,
        customer: httpx.AsyncClient,
        admin: httpx.AsyncClient,
    ) -> None:
        for _ in range(2):
            await customer.put(PATH, **upload_of())
            await admin.delete(ADMIN_PATH)
        assert await TestLargeBodies().raw_put(app, issuer, 2 * MEBIBYTE) == (409, "close", 0)


@pytest.mark.parametrize("limits", [{"customer_max_files": 2, "keep_versions": 1}])
async def test_pruned_versions_use_no_quota(customer: httpx.AsyncClient) -> None:
    responses = [await customer.put(PATH, **upload_of()) for _ in range(5)]
    assert [r.status_code for r in responses] == [201, 200, 200, 200, 200]


@pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * len(PDF)}])
class TestBytes:
    """DOCVAULT_CUSTOMER_MAX_BYTES."""

    async def test_last_byte_of_quota_can_be_used(self, customer: httpx.AsyncClient) -> None:
        responses = [await customer.put(PATH, **upload_of()) for _ in range(4)]
        assert [r.status_code for r in responses] == [201, 200, 200, 409]
        assert {name: responses[3].json()[name] for name in ("quota", "limit", "used")} == {
            "quota": "bytes",
            "limit": 3 * len(PDF),
            "used": 3 * len(PDF),
        }

    async def test_files_of_one_upload_are_summed(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Pages", max_files=4)
        path = PATH.replace("contract", "pages")
        four = [("file", (f"{n}.pdf", PDF)) for n in range(4)]
        assert is_exceeded(await customer.put(path, files=four))
        assert (await customer.put(path, files=four[:3])).status_code == 201


class TestConcurrency:
    """Concurrent uploads use the quota exactly up to the limit."""

    @pytest.mark.parametrize("limits", [{"customer_max_files": 3, "keep_versions": 50}])
    async def test_concurrent_uploads_to_two_processes(
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
                    assert (await integration.put(KEY_PATH, **upload_of())).is_success
                responses = await asyncio.gather(*(c.put(KEY_PATH, **upload_of()) for c in clients))
                assert Counter(r.status_code for r in responses) == {200: 1, 409: 19}
                assert sum(is_exceeded(r) for r in responses) == 19
                await admin.delete(ADMIN_PATH)

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 5 * len(PDF) + 1}])
    async def test_concurrent_uploads_and_sessions(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sessions = [customer.post(f"{PATH}/uploads", json=upload_request()) for _ in range(10)]
        uploads = [customer.put(PATH, **upload_of()) for _ in range(10)]
        responses = await asyncio.gather(*sessions, *uploads)
        stored = sum(r.is_success for r in responses)
        assert 0 < stored <= 5
        assert sum(is_exceeded(r) for r in responses) == 20 - stored
        # While it arrives, an upload reserves the length of its body, more than that of its file.
        # So the last place may have stayed free.
        while (await customer.put(PATH, **upload_of())).is_success:
            pass
        async with resources.database.transaction() as session:
            used = await session.scalar(text("SELECT sum(size_bytes) FROM blobs"))
        assert used == 5 * len(PDF)


class TestLargeBodies:
    """A body that exceeds the remaining quota is not read."""

    async def raw_put(
        self, app: FastAPI, issuer: LocalIssuer, size: int, path: str = PATH, method: str = "PUT"
    ) -> tuple[int, str | None, int]:
        client = Client(app)
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        headers = MULTIPART | token | {"content-length": str(size)}
        status, response_headers, _ = await client.send(method, path, headers)
        return status, response_headers.get("connection"), client.received

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 10 * MEBIBYTE}])
    async def test_body_larger_than_remaining_quota_is_rejected_before_reading(
        self, app: FastAPI, issuer: LocalIssuer, customer: httpx.AsyncClient
    ) -> None:
        await customer.put(PATH, **upload_of())
        assert await self.raw_put(app, issuer, 11 * MEBIBYTE) == (409, "close", 0)

    @pytest.mark.parametrize("limits", [{"customer_max_files": 1}])
    async def test_large_body_is_rejected_before_reading_at_file_quota(
        self, app: FastAPI, issuer: LocalIssuer, customer: httpx.AsyncClient
    ) -> None:
        await customer.put(PATH, **upload_of())
        assert await self.raw_put(app, issuer, 2 * MEBIBYTE) == (409, "close", 0)
        batch = "/v1/customer/document-batches"
        assert await self.raw_put(app, issuer, 2 * MEBIBYTE, batch, "POST") == (409, "close", 0)

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * MEBIBYTE}])
    async def test_body_within_quota_is_accepted(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(PATH, **upload_of(LARGE_TEXT, "a.txt"))
        assert response.status_code == 201

    @pytest.mark.parametrize("limits", [{"customer_max_bytes": 3 * MEBIBYTE}])
    async def test_batch_items_within_quota_are_saved(self, customer: httpx.AsyncClient) -> None:
        batch = '{"items": [{"key": "contract", "files": [0]}, {"key": "report", "files": [1]}]}'
        parts = [("files", ("a.txt", LARGE_TEXT)) for _ in range(2)]
        path = "/v1/customer/document-batches"
        response = await customer.post(path, data={"batch": batch}, files=parts)
        assert [item["status"] for item in response.json()["items"]] == [201, 409]


async def test_zero_quota_means_unlimited(customer: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await customer.put(PATH, **upload_of())).is_success
