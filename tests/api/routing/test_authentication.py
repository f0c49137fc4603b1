"""Credentials: their kinds, their headers, and the responses when they are rejected."""

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
from docvault.domain.scopes import Scope
from docvault.services.resources import Resources

ADMIN_PATH = "/v1/admin/document-types"
CUSTOMER_PATH = "/v1/customer/gate"
KEY_PATH = "/v1/integration/document-types"


async def make_key(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    body = {"name": "crm", "scopes": ["types:read"], **members}
    response = await admin.post("/v1/admin/api-keys", json=body)
    assert response.status_code == 201, response.text
    key: dict[str, Any] = response.json()
    return key


async def let_expire(resources: Resources, key_id: str) -> None:
    async with resources.database.transaction() as session:
        await session.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"),
            {"id": key_id},
        )


async def with_key(http: httpx.AsyncClient, key: str) -> httpx.Response:
    return await http.get(KEY_PATH, headers={"X-API-Key": key})


def same_body(response: httpx.Response) -> dict[str, Any]:
    """Return the body without the request id."""
    return {name: value for name, value in response.json().items() if name != "instance"}


class TestCredentialKinds:
    """The wrong kind of credential is 401, the right kind without the scope 403."""

    @pytest.mark.req("R-065", "R-112")
    @pytest.mark.parametrize("path", [ADMIN_PATH, CUSTOMER_PATH, KEY_PATH])
    async def test_missing_credential_is_challenged(
        self, http: httpx.AsyncClient, path: str
    ) -> None:
        response = await http.get(path)
        assert (response.status_code, response.json()["code"]) == (401, "authentication-required")
        expected = "ApiKey" if path == KEY_PATH else "Bearer"
        assert response.headers["www-authenticate"].startswith(expected)

    @pytest.mark.req("R-065")
    @pytest.mark.parametrize("path", [ADMIN_PATH, CUSTOMER_PATH])
    async def test_key_is_not_accepted_for_token_endpoint(
        self, integration: httpx.AsyncClient, path: str
    ) -> None:
        response = await integration.get(path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")

    async def test_admin_token_is_not_accepted_for_key_endpoint(
        self, admin: httpx.AsyncClient
    ) -> None:
        response = await admin.get(KEY_PATH)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("ApiKey")

    async def test_admin_token_is_not_a_customer_token(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(CUSTOMER_PATH)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")

    @pytest.mark.req("R-065")
    async def test_customer_token_is_not_an_admin_token(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        response = await customer_of("c-1").get(ADMIN_PATH)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")

    async def test_key_in_the_bearer_header_is_rejected(self, admin: httpx.AsyncClient) -> None:
        key = (await make_key(admin))["key"]
        response = await admin.get(KEY_PATH, headers={"Authorization": f"Bearer {key}"})
        assert response.status_code == 401

    async def test_token_in_the_key_header_is_rejected(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        response = await with_key(http, issuer.admin_token("staff-1"))
        assert (response.status_code, response.json()["code"]) == (401, "invalid-api-key")

    @pytest.mark.parametrize("path", [ADMIN_PATH, KEY_PATH])
    async def test_expected_header_is_used_when_both_are_sent(
        self, admin: httpx.AsyncClient, path: str
    ) -> None:
        key = (await make_key(admin))["key"]
        response = await admin.get(path, headers={"X-API-Key": key})
        assert response.status_code == 200

    @pytest.mark.req("R-065")
    async def test_key_does_not_compensate_for_bad_token(
        self, integration: httpx.AsyncClient
    ) -> None:
        response = await integration.get(ADMIN_PATH, headers={"Authorization": "Bearer x.y.z"})
        assert response.status_code == 401


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
    async def test_other_scheme_is_rejected(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, value: str
    ) -> None:
        header = value.replace("{}", issuer.admin_token("staff-1"))
        response = await http.get(ADMIN_PATH, headers={b"Authorization": header.encode("latin-1")})
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")

    async def test_two_headers_are_rejected(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        good = ("Authorization", f"Bearer {issuer.admin_token('staff-1')}")
        response = await http.get(ADMIN_PATH, headers=[good, ("Authorization", "Bearer x.y.z")])
        assert response.status_code == 401

    @pytest.mark.parametrize("name", ["access_token", "token", "authorization"])
    async def test_token_in_the_query_string_is_rejected(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, name: str
    ) -> None:
        response = await http.get(ADMIN_PATH, params={name: issuer.admin_token("staff-1")})
        assert response.status_code == 401


class TestApiKeys:
    """`X-API-Key: dv_live_…`."""

    @pytest.mark.req("R-112")
    async def test_key_is_accepted_for_its_scope(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        key = (await make_key(admin, scopes=["types:read"]))["key"]
        assert (await with_key(http, key)).status_code == 200

    @pytest.mark.req("R-113", "R-112")
    @pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.TYPES_READ])
    async def test_key_with_another_scope_is_forbidden(
        self, key_client: KeyClients, scope: Scope
    ) -> None:
        response = await (await key_client(scope)).get(KEY_PATH)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")

    async def test_unknown_wrong_revoked_and_expired_keys_get_same_response(
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
        responses = [await with_key(http, key) for key in keys]
        assert {response.status_code for response in responses} == {401}
        assert all(same_body(response) == same_body(responses[0]) for response in responses)
        assert {response.headers["www-authenticate"] for response in responses} == {
            responses[0].headers["www-authenticate"]
        }

    @pytest.mark.req("R-112")
    async def test_revoked_key_is_rejected_on_next_request(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        assert (await with_key(http, made["key"])).status_code == 200
        await admin.delete(f"/v1/admin/api-keys/{made['id']}")
        assert (await with_key(http, made["key"])).status_code == 401

    @pytest.mark.req("R-113")
    async def test_removed_scope_is_denied_on_next_request(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        path = f"/v1/admin/api-keys/{made['id']}"
        response = await admin.patch(path, json={"scopes": ["gate:read"]})
        assert response.status_code == 200, response.text
        assert (await with_key(http, made["key"])).status_code == 403

    async def test_mistyped_key_is_rejected_without_database(
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
    async def test_key_in_the_query_string_is_rejected(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient, name: str
    ) -> None:
        key = (await make_key(admin))["key"]
        assert (await http.get(KEY_PATH, params={name: key})).status_code == 401

    async def test_key_in_query_string_is_rejected_despite_valid_header(
        self, integration: httpx.AsyncClient
    ) -> None:
        response = await integration.get(KEY_PATH, params={"api_key": "dv_live_x"})
        assert response.status_code == 422

    async def test_two_key_headers_are_rejected(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        key = (await make_key(admin))["key"]
        response = await http.get(KEY_PATH, headers=[("X-API-Key", "x"), ("X-API-Key", key)])
        assert response.status_code == 401

    @pytest.mark.req("R-112")
    async def test_last_use_is_recorded_immediately(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        made = await make_key(admin)
        assert made["last_used_at"] is None
        await with_key(http, made["key"])
        seen = (await admin.get(f"/v1/admin/api-keys/{made['id']}")).json()
        age = datetime.now(UTC) - datetime.fromisoformat(seen["last_used_at"])
        assert abs(age.total_seconds()) < 30

    async def test_secret_is_not_in_database(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        made = await make_key(admin)
        async with resources.database.transaction() as session:
            connection = await session.connection()
            rows = (await connection.exec_driver_sql("SELECT api_keys::text FROM api_keys")).all()
        assert made["key"][17:60] not in str(rows)


class TestCustomerTokens:
    """Customer tokens and the state of their customer."""

    async def test_unknown_customer_is_forbidden_and_not_created(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        response = await customer_of("unknown").get(CUSTOMER_PATH)
        assert (response.status_code, response.json()["code"]) == (403, "customer-not-registered")
        assert (await admin.get("/v1/admin/customers/unknown")).status_code == 404

    @pytest.mark.req("R-104")
    async def test_token_from_before_erasure_is_rejected_for_recreated_customer(
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
        response = await old.get(CUSTOMER_PATH)
        assert (response.status_code, response.json()["code"]) == (401, "invalid-token")
        assert response.headers["www-authenticate"].startswith("Bearer")
        later = with_headers(http, {"Authorization": f"Bearer {later_token(resources)}"})
        assert (await later.get(CUSTOMER_PATH)).status_code == 200


def later_token(resources: Resources) -> str:
    """Wait for the next second and issue a token."""
    time.sleep(1 - time.time() % 1)
    return LocalIssuer(resources.settings).customer_token("c-1")


def generate_key_with_id(public_id: str) -> tuple[str, str]:
    """Return a well-formed key with a known id and another secret."""
    from docvault.auth import api_keys

    secret = generate_key()[1].secret
    body = f"dv_live_{public_id}_{secret}"
    return body + api_keys._compute_checksum(body), secret
