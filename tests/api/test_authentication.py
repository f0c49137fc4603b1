"""Credentials at the door: which kind, in which header, and what a refusal looks like."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type
from tests.fixtures.callers import CustomerClients, KeyClients, with_headers
from tests.fixtures.statements import sent_statements

from docvault.auth.api_keys import generate_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.scopes import Scope
from docvault.services.resources import Resources

ADMIN_PATH = "/v1/admin/document-types"
CUSTOMER_PATH = "/v1/customer/gate"
KEY_PATH = "/v1/integration/document-types"


async def make_key(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    body = {"name": "crm", "scopes": ["types:read"], **members}
    answer = await admin.post("/v1/admin/api-keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def let_expire(resources: Resources, key_id: str) -> None:
    async with resources.database.transaction() as session:
        await session.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"),
            {"id": key_id},
        )


async def with_key(http: httpx.AsyncClient, key: str) -> httpx.Response:
    return await http.get(KEY_PATH, headers={"X-API-Key": key})


def same_body(answer: httpx.Response) -> dict[str, Any]:
    """The body without the request id."""
    return {name: value for name, value in answer.json().items() if name != "instance"}


class TestKinds:
    """The wrong kind of credential is 401, the right kind without the scope 403."""

    @pytest.mark.req("R-065", "R-112")
    @pytest.mark.parametrize("path", [ADMIN_PATH, CUSTOMER_PATH, KEY_PATH])
    async def test_no_credential_is_challenged(self, http: httpx.AsyncClient, path: str) -> None:
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication-required")
        expected = "ApiKey" if path == KEY_PATH else "Bearer"
        assert answer.headers["www-authenticate"].startswith(expected)

    @pytest.mark.req("R-065")
    @pytest.mark.parametrize("path", [ADMIN_PATH, CUSTOMER_PATH])
    async def test_a_key_does_not_open_what_needs_a_token(
        self, integration: httpx.AsyncClient, path: str
    ) -> None:
        answer = await integration.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_an_admin_token_does_not_open_what_needs_a_key(
        self, admin: httpx.AsyncClient
    ) -> None:
        answer = await admin.get(KEY_PATH)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("ApiKey")

    async def test_an_admin_token_is_no_customers(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(CUSTOMER_PATH)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")

    @pytest.mark.req("R-065")
    async def test_a_customer_token_is_no_staff_members(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        answer = await customer_of("c-1").get(ADMIN_PATH)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")

    async def test_a_key_in_the_bearer_header_is_refused(self, admin: httpx.AsyncClient) -> None:
        key = (await make_key(admin))["key"]
        answer = await admin.get(KEY_PATH, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 401

    async def test_a_token_in_the_key_header_is_refused(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        answer = await with_key(http, issuer.admin_token("staff-1"))
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-api-key")

    @pytest.mark.parametrize("path", [ADMIN_PATH, KEY_PATH])
    async def test_with_both_headers_the_one_of_the_audience_counts(
        self, admin: httpx.AsyncClient, path: str
    ) -> None:
        key = (await make_key(admin))["key"]
        answer = await admin.get(path, headers={"X-API-Key": key})
        assert answer.status_code == 200

    @pytest.mark.req("R-065")
    async def test_with_both_headers_a_bad_token_is_not_made_good_by_a_key(
        self, integration: httpx.AsyncClient
    ) -> None:
        answer = await integration.get(ADMIN_PATH, headers={"Authorization": "Bearer x.y.z"})
        assert answer.status_code == 401


class TestAuthorizationHeader:
    """`Authorization: Bearer <token>` and nothing else."""

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Token {}",
            "{}",
            "Bearer{}",
            "Digest {}",
            "Bearer {}\xa0",
        ],
    )
    async def test_another_form_is_refused(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, value: str
    ) -> None:
        header = value.replace("{}", issuer.admin_token("staff-1"))
        answer = await http.get(ADMIN_PATH, headers={"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_two_headers_are_refused(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        good = ("Authorization", f"Bearer {issuer.admin_token('staff-1')}")
        answer = await http.get(ADMIN_PATH, headers=[good, ("Authorization", "Bearer x.y.z")])
        assert answer.status_code == 401

    @pytest.mark.parametrize("name", ["access_token", "token", "authorization"])
    async def test_a_token_in_the_query_string_is_refused(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, name: str
    ) -> None:
        answer = await http.get(ADMIN_PATH, params={name: issuer.admin_token("staff-1")})
        assert answer.status_code == 401


class TestApiKeys:
    """`X-API-Key: dv_live_…`."""

    @pytest.mark.req("R-112")
    async def test_a_key_opens_what_its_scope_allows(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        key = (await make_key(admin, scopes=["types:read"]))["key"]
        assert (await with_key(http, key)).status_code == 200

    @pytest.mark.req("R-113", "R-112")
    @pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.TYPES_READ])
    async def test_a_key_with_another_scope_is_forbidden(
        self, key_client: KeyClients, scope: Scope
    ) -> None:
        answer = await (await key_client(scope)).get(KEY_PATH)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient-scope")

    async def test_unknown_wrong_revoked_and_expired_keys_get_the_same_answer(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        revoked = await make_key(admin)
        await admin.delete(f"/v1/admin/api-keys/{revoked['id']}")
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        expired = await make_key(admin, expires_at=tomorrow.isoformat())
        await let_expire(resources, expired["id"])
        known = await make_key(admin)
        other_secret, _ = generate_key_with_id(known["key"][8:16])
        unknown, _ = generate_key()
        keys = [revoked["key"], expired["key"], other_secret, unknown, "dv_live_x", known["id"]]
        answers = [await with_key(http, key) for key in keys]
        assert {answer.status_code for answer in answers} == {401}
        assert all(same_body(answer) == same_body(answers[0]) for answer in answers)
        assert {answer.headers["www-authenticate"] for answer in answers} == {
            answers[0].headers["www-authenticate"]
        }

    @pytest.mark.req("R-112")
    async def test_a_revoked_key_is_refused_at_the_next_request(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        assert (await with_key(http, made["key"])).status_code == 200
        await admin.delete(f"/v1/admin/api-keys/{made['id']}")
        assert (await with_key(http, made["key"])).status_code == 401

    @pytest.mark.req("R-113")
    async def test_a_scope_taken_away_is_gone_at_the_next_request(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        path = f"/v1/admin/api-keys/{made['id']}"
        answer = await admin.patch(path, json={"scopes": ["gate:read"]})
        assert answer.status_code == 200, answer.text
        assert (await with_key(http, made["key"])).status_code == 403

    async def test_typos_are_refused_without_asking_the_database(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        key = (await make_key(admin))["key"]
        with sent_statements() as statements:
            for place in range(8, len(key)):
                typo = key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :]
                assert (await with_key(http, typo)).status_code == 401
            assert statements == []
            assert (await with_key(http, key)).status_code == 200
            assert statements != []

    @pytest.mark.parametrize("name", ["api_key", "x-api-key", "X-API-Key", "key"])
    async def test_a_key_in_the_query_string_is_refused(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient, name: str
    ) -> None:
        key = (await make_key(admin))["key"]
        assert (await http.get(KEY_PATH, params={name: key})).status_code == 401

    async def test_a_key_in_the_query_string_beside_a_good_header_is_refused(
        self, integration: httpx.AsyncClient
    ) -> None:
        answer = await integration.get(KEY_PATH, params={"api_key": "dv_live_x"})
        assert answer.status_code == 422

    async def test_two_key_headers_do_not_open(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        key = (await make_key(admin))["key"]
        answer = await http.get(KEY_PATH, headers=[("X-API-Key", "x"), ("X-API-Key", key)])
        assert answer.status_code == 401

    @pytest.mark.req("R-112")
    async def test_the_last_use_shows_at_once(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        assert made["last_used_at"] is None
        await with_key(http, made["key"])
        seen = (await admin.get(f"/v1/admin/api-keys/{made['id']}")).json()
        age = datetime.now(UTC) - datetime.fromisoformat(seen["last_used_at"])
        assert abs(age.total_seconds()) < 30

    async def test_the_database_does_not_hold_the_secret(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        made = await make_key(admin)
        async with resources.database.transaction() as session:
            connection = await session.connection()
            rows = (await connection.exec_driver_sql("SELECT api_keys::text FROM api_keys")).all()
        assert made["key"][17:60] not in str(rows)


class TestCustomerTokens:
    """A customer token and the customer it names."""

    async def test_an_unknown_customer_is_forbidden_and_not_created(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        answer = await customer_of("nobody").get(CUSTOMER_PATH)
        assert (answer.status_code, answer.json()["code"]) == (403, "customer-unknown")
        assert (await admin.get("/v1/admin/customers/nobody")).status_code == 404

    @pytest.mark.req("R-104")
    async def test_tokens_from_before_an_erasure_stay_refused_when_the_id_is_used_again(
        self,
        http: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        resources: Resources,
    ) -> None:
        from docvault.services.erasures import finish_erasures

        await make_type(admin, "Identity card")
        await make_customer(admin, "c-1")
        old = customer_of("c-1")
        assert (await old.get(CUSTOMER_PATH)).status_code == 200
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        await make_customer(admin, "c-1")
        answer = await old.get(CUSTOMER_PATH)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        later = with_headers(http, {"Authorization": f"Bearer {later_token(resources)}"})
        assert (await later.get(CUSTOMER_PATH)).status_code == 200


def later_token(resources: Resources) -> str:
    """A token as it will be issued in the next second."""
    time.sleep(1 - time.time() % 1)
    return LocalIssuer(resources.settings).customer_token("c-1")


def generate_key_with_id(public_id: str) -> tuple[str, str]:
    """A well-formed key that names a known id with another secret."""
    from docvault.auth import api_keys

    secret = generate_key()[1].secret
    body = f"dv_live_{public_id}_{secret}"
    return body + api_keys._checksum(body), secret
