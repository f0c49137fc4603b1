"""What an API key tells its holder about itself."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.fixtures.callers import KeyClients, with_headers

from docvault.domain.scopes import Scope
from docvault.settings import Settings

KEY = "/v1/integration/key"


@pytest.mark.req("B-171")
async def test_key_describes_itself(http: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    data = {"name": "CRM", "scopes": ["gate:read", "types:read"], "expires_at": expires_at}
    created = (await admin.post("/v1/admin/api-keys", json=data)).json()
    response = await with_headers(http, {"X-API-Key": created["key"]}).get(KEY)
    assert response.status_code == 200
    shown = {name: created[name] for name in ("id", "name", "scopes", "created_at", "expires_at")}
    limits = {"requests_per_minute": 6000, "concurrent_downloads": 64}
    assert response.json() == {**shown, "limits": limits}


@pytest.mark.req("B-171")
@pytest.mark.parametrize("scope", list(Scope))
async def test_every_scope_suffices(key_client: KeyClients, scope: Scope) -> None:
    response = await (await key_client(scope)).get(KEY)
    assert response.json()["scopes"] == [scope]


class TestWithoutLimits:
    """A service whose limits are disabled."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """The settings, without limits for keys."""
        unlimited = {"api_key_requests_per_minute": 0, "api_key_max_concurrent_downloads": 0}
        return settings.model_copy(update=unlimited)

    async def test_disabled_limit_is_null(self, integration: httpx.AsyncClient) -> None:
        limits = (await integration.get(KEY)).json()["limits"]
        assert limits == {"requests_per_minute": None, "concurrent_downloads": None}


async def test_token_of_staff_is_refused(admin: httpx.AsyncClient) -> None:
    assert (await admin.get(KEY)).json()["code"] == "authentication-required"
