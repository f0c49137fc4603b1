"""API keys of third-party systems, as staff create and revoke them."""

import asyncio
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from tests.factories.strings import CONTROLS
from tests.fixtures.callers import with_headers

from docvault.domain.scopes import Scope

KEYS = "/v1/admin/api-keys"
TYPES = "/v1/integration/document-types"


def in_hours(hours: float) -> str:
    """Return a time in the format of the API."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def make_key(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Create a key and return it."""
    body = {"name": "CRM", "scopes": ["types:read"], **members}
    response = await admin.post(KEYS, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def use(http: httpx.AsyncClient, key: str) -> httpx.Response:
    """Send a request with the key."""
    return await with_headers(http, {"X-API-Key": key}).get(TYPES)


class TestCreate:
    """POST /v1/admin/api-keys."""

    @pytest.mark.req("B-100")
    @pytest.mark.parametrize("control", CONTROLS)
    async def test_name_with_control_character_is_rejected(
        self, admin: httpx.AsyncClient, control: str
    ) -> None:
        body = {"name": f"a{control}b", "scopes": ["types:read"]}
        response = await admin.post(KEYS, json=body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/name"

    @pytest.mark.req("R-112")
    async def test_key_is_shown_once(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin)
        listed = await admin.get(KEYS)
        read = await admin.get(f"{KEYS}/{created['id']}")
        secret = created.pop("key")
        assert read.json() == created == listed.json()["items"][0]
        assert secret[len(created["prefix"]) + 1 :] not in listed.text + read.text

    async def test_key_has_published_format(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin)
        assert re.fullmatch(r"dv_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", created["key"])
        assert created["prefix"] == created["key"][: len("dv_live_") + 8]

    async def test_response_is_not_stored_by_caches(self, admin: httpx.AsyncClient) -> None:
        response = await admin.post(KEYS, json={"name": "CRM", "scopes": ["gate:read"]})
        assert response.headers["cache-control"] == "no-store"
        assert (await admin.get(response.headers["location"])).json()["id"] == response.json()["id"]

    @pytest.mark.req("R-112")
    async def test_secret_is_not_in_database(
        self, admin: httpx.AsyncClient, database_url: str
    ) -> None:
        secret = (await make_key(admin))["key"].rpartition("_")[2]
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT t::text FROM api_keys t").fetchall()
            details = connection.execute("SELECT t::text FROM audit_details t").fetchall()
        text = str(rows + details)
        assert secret[:20] not in text
        assert secret[:20].encode().hex() not in text

    @pytest.mark.req("R-112")
    async def test_new_key_works_immediately(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        assert (await use(http, (await make_key(admin))["key"])).status_code == 200

    async def test_scopes_are_kept(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin, scopes=[scope.value for scope in Scope])
        assert set(created["scopes"]) == {scope.value for scope in Scope}

    async def test_out_of_range_value_is_rejected_with_pointer(
        self, admin: httpx.AsyncClient
    ) -> None:
        table: list[tuple[str, Any]] = [
            ("name", ""),
            ("name", " "),
            ("name", "x" * 201),
            ("name", None),
            ("scopes", None),
            ("scopes", "types:read"),
            ("scopes", ["types:write"]),
            ("scopes", ["admin"]),
            ("scopes", [""]),
            ("scopes", []),
            ("expires_at", "tomorrow"),
            ("expires_at", "2099-01-01T00:00:00"),
            ("expires_at", 5),
            ("expires_at", "4102444800"),
            ("expires_at", "2099-01-01T00Z"),
            ("expires_at", "2099-01-01 00:00:00Z"),
            ("expires_at", "9999-12-31T23:59:59-23:59"),
            ("expires_at", "0001-01-01T00:00:00+00:01"),
            ("expires_at", in_hours(-1)),
            ("expires_at", "1970-01-01T00:00:00Z"),
            ("key", "dv_live_x"),
            ("revoked_at", None),
        ]
        for member, value in table:
            body = {"name": "CRM", "scopes": ["types:read"], member: value}
            response = await admin.post(KEYS, json=body)
            assert response.status_code == 422, (member, value)
            assert response.json()["errors"][0]["pointer"].startswith(f"/{member}"), member
        assert (await admin.get(KEYS)).json()["items"] == []

    async def test_repeated_request_creates_two_keys(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "CRM", "scopes": ["types:read"]}
        headers = {"Idempotency-Key": "k"}
        responses = [await admin.post(KEYS, json=body, headers=headers) for _ in range(2)]
        assert len({response.json()["key"] for response in responses}) == 2


class TestExpiry:
    """`expires_at`."""

    async def test_key_works_until_expiry(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient, database_url: str
    ) -> None:
        created = await make_key(admin, expires_at=in_hours(1))
        assert (await use(http, created["key"])).status_code == 200
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE api_keys SET expires_at = now() - '1 s'::interval")
        response = await use(http, created["key"])
        assert (response.status_code, response.json()["code"]) == (401, "invalid-api-key")

    async def test_expiry_is_returned_in_utc(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin, expires_at="2099-06-01T02:00:00+02:00")
        assert created["expires_at"] == "2099-06-01T00:00:00Z"


class TestLastUse:
    """`last_used_at`."""

    @pytest.mark.req("R-112")
    async def test_first_use_is_recorded_immediately(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        before = datetime.now(UTC)
        await use(http, created["key"])
        seen = (await admin.get(f"{KEYS}/{created['id']}")).json()["last_used_at"]
        assert created["last_used_at"] is None
        assert before <= datetime.fromisoformat(seen) <= datetime.now(UTC)

    async def test_last_use_is_written_at_most_once_per_minute(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient, database_url: str
    ) -> None:
        created = await make_key(admin)
        seen = []
        for seconds in (0, 30, 61):
            with psycopg.connect(database_url) as connection:
                connection.execute(
                    "UPDATE api_keys SET last_used_at = now() - make_interval(secs => %s)"
                    " WHERE last_used_at IS NOT NULL",
                    [seconds],
                )
            before = (await admin.get(f"{KEYS}/{created['id']}")).json()["last_used_at"]
            await use(http, created["key"])
            after = (await admin.get(f"{KEYS}/{created['id']}")).json()["last_used_at"]
            seen.append(before != after)
        assert seen == [True, False, True]

    async def test_wrong_secret_is_not_recorded_as_use(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        await use(http, created["key"][:-1] + ("x" if created["key"][-1] != "x" else "y"))
        assert (await admin.get(f"{KEYS}/{created['id']}")).json()["last_used_at"] is None


class TestRevoke:
    """DELETE /v1/admin/api-keys/{id}."""

    @pytest.mark.req("R-112")
    async def test_revoked_key_stops_working_immediately(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        assert (await use(http, created["key"])).status_code == 200
        assert (await admin.delete(f"{KEYS}/{created['id']}")).status_code == 204
        response = await use(http, created["key"])
        assert (response.status_code, response.json()["code"]) == (401, "invalid-api-key")

    async def test_revoked_key_response_equals_unknown_key_response(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        revoked, other = await make_key(admin), await make_key(admin)
        await admin.delete(f"{KEYS}/{revoked['id']}")
        forms = [revoked["key"], other["key"][:-1] + "_", "dv_live_x", "x", "", other["prefix"]]
        bodies = []
        for form in forms:
            problem = (await use(http, form)).json()
            assert problem.pop("instance").startswith("urn:uuid:")
            bodies.append(problem)
        assert all(body == bodies[0] for body in bodies)

    async def test_revoked_key_can_be_read(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin)
        await admin.delete(f"{KEYS}/{created['id']}")
        response = await admin.get(f"{KEYS}/{created['id']}")
        assert response.status_code == 200
        assert response.json()["revoked_at"] > created["created_at"]

    async def test_repeated_revocation_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        created = await make_key(admin)
        path = f"{KEYS}/{created['id']}"
        seen = []
        for _ in range(2):
            assert (await admin.delete(path)).status_code == 204
            seen.append((await admin.get(path)).json()["revoked_at"])
        assert seen[0] == seen[1]

    async def test_mismatched_etag_does_not_revoke(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        headers = {"If-Match": '"nope"'}
        response = await admin.delete(f"{KEYS}/{created['id']}", headers=headers)
        assert response.status_code == 412
        assert (await use(http, created["key"])).status_code == 200

    async def test_unknown_key_is_not_found(self, admin: httpx.AsyncClient) -> None:
        for method in ("GET", "DELETE", "PATCH"):
            body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
            response = await admin.request(method, f"{KEYS}/{uuid.uuid4()}", **body)
            assert (response.status_code, response.json()["code"]) == (404, "not-found")


class TestUpdate:
    """PATCH /v1/admin/api-keys/{id}."""

    @pytest.mark.req("R-113")
    async def test_new_scopes_apply_to_next_request(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        statuses = []
        for scopes in (["gate:read"], ["customers:read"], ["types:read"]):
            await admin.patch(f"{KEYS}/{created['id']}", json={"scopes": scopes})
            statuses.append((await use(http, created["key"])).status_code)
        assert statuses == [403, 403, 200]

    async def test_absent_member_is_kept_and_null_clears_expiry(
        self, admin: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin, expires_at=in_hours(1))
        path = f"{KEYS}/{created['id']}"
        renamed = (await admin.patch(path, json={"name": "ERP"})).json()
        lifted = (await admin.patch(path, json={"expires_at": None})).json()
        assert renamed == {key: value for key, value in created.items() if key != "key"} | {
            "name": "ERP"
        }
        assert lifted == renamed | {"expires_at": None}

    async def test_out_of_range_value_is_rejected(self, admin: httpx.AsyncClient) -> None:
        path = f"{KEYS}/{(await make_key(admin))['id']}"
        table: list[dict[str, Any]] = [
            {"name": None}, {"name": ""}, {"scopes": None}, {"scopes": ["x"]}, {"scopes": []},
            {"expires_at": in_hours(-1)}, {"key": "x"}, {"revoked_at": None}, {"prefix": "x"},
        ]  # fmt: skip
        for body in table:
            response = await admin.patch(path, json=body)
            assert response.status_code == 422, body
            assert response.json()["errors"][0]["pointer"].startswith("/" + next(iter(body)))

    async def test_stale_etag_is_rejected(self, admin: httpx.AsyncClient) -> None:
        path = f"{KEYS}/{(await make_key(admin))['id']}"
        headers = {"If-Match": (await admin.get(path)).headers["etag"]}
        statuses = [
            (await admin.patch(path, json={"name": name}, headers=headers)).status_code
            for name in ("B", "C")
        ]
        assert statuses == [200, 412]
        assert (await admin.get(path)).json()["name"] == "B"

    async def test_only_one_concurrent_update_succeeds(self, admin: httpx.AsyncClient) -> None:
        path = f"{KEYS}/{(await make_key(admin))['id']}"
        headers = {"If-Match": (await admin.get(path)).headers["etag"]}
        responses = await asyncio.gather(
            *(admin.patch(path, json={"name": f"N{n}"}, headers=headers) for n in range(8))
        )
        assert sorted(response.status_code for response in responses) == [200] + [412] * 7

    async def test_revoked_key_cannot_be_reactivated(
        self, admin: httpx.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        created = await make_key(admin)
        path = f"{KEYS}/{created['id']}"
        await admin.delete(path)
        await admin.patch(path, json={"name": "B", "scopes": ["types:read"], "expires_at": None})
        assert (await use(http, created["key"])).status_code == 401
