"""Readiness, within a time limit."""

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import cast

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from joserfc.jwk import Key

from docvault.api import health
from docvault.auth.jwks import StaticKeys
from docvault.auth.tokens import KeySource, TokenVerifier, TrustedIssuer
from docvault.auth.trust import simple_issuer
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore


class SilentStore:
    """A store that never responds."""

    async def check(self) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class FailingKeys:
    """The keys of an issuer whose last fetch failed, with or without earlier ones."""

    is_usable: bool
    failure: str | None = "connection refused"

    async def find(self, key_id: str | None, algorithm: str) -> list[Key]:
        del key_id, algorithm
        return []

    async def refresh(self) -> None:
        raise AssertionError("readiness fetches nothing")


class TestReadiness:
    """GET /readyz."""

    def replace_keys(self, app: FastAPI, resources: Resources, *keys: KeySource) -> None:
        issuers = (
            simple_issuer(resources.settings, "https://id.example", {"keys": [{}]}).model_copy(
                update={"name": f"issuer-{number}"}
            )
            for number in range(len(keys))
        )
        trusted = map(TrustedIssuer, issuers, keys)
        app.state.resources = dataclasses.replace(resources, tokens=TokenVerifier(trusted))

    @pytest.mark.req("B-112")
    async def test_issuer_whose_keys_cannot_be_fetched_is_listed(
        self, app: FastAPI, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        self.replace_keys(app, resources, StaticKeys({}), FailingKeys(is_usable=False))
        response = await http.get("/readyz")
        assert response.status_code == 200
        assert response.json() == {
            "status": "degraded",
            "issuers": {"issuer-1": "connection refused"},
        }

    @pytest.mark.req("B-112")
    async def test_process_without_any_keys_is_not_ready(
        self, app: FastAPI, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        self.replace_keys(app, resources, FailingKeys(is_usable=False))
        response = await http.get("/readyz")
        assert (response.status_code, response.json()["code"]) == (503, "service-unavailable")
        assert "issuer-0: connection refused" in response.json()["detail"]
        self.replace_keys(app, resources, FailingKeys(is_usable=True))
        assert (await http.get("/readyz")).status_code == 200

    @pytest.mark.req("B-229")
    @pytest.mark.parametrize(("revision", "status"), [("9999", 200), ("0001", 503)])
    async def test_database_of_newer_version_is_ready_and_of_older_is_not(
        self, http: httpx.AsyncClient, database_url: str, revision: str, status: int
    ) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            before = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            assert before is not None
            change = "UPDATE alembic_version SET version_num = %s"
            connection.execute(change, (revision,))
            try:
                assert (await http.get("/readyz")).status_code == status
            finally:
                connection.execute(change, before)

    async def test_readiness_does_not_wait_for_silent_store(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(health, "STORE_SECONDS", 0.1)
        monkeypatch.setattr(app.state, "store_checked_at", float("-inf"), raising=False)
        app.state.resources = dataclasses.replace(resources, store=cast("BlobStore", SilentStore()))
        async with asyncio.timeout(10):
            response = await http.get("/readyz")
        assert (response.status_code, response.json()["code"]) == (503, "storage-unavailable")
