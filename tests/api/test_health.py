"""Whether a process says in time that it cannot serve."""

import asyncio
import dataclasses

import httpx
import pytest
from fastapi import FastAPI

from docvault.api import health
from docvault.services.resources import Resources


class SilentStore:
    """A store that never answers."""

    async def check(self) -> None:
        await asyncio.Event().wait()


class TestReadiness:
    """GET /readyz."""

    async def test_it_does_not_wait_for_a_silent_store(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(health, "STORE_SECONDS", 0.1)
        monkeypatch.setattr(app.state, "store_checked_at", float("-inf"), raising=False)
        app.state.resources = dataclasses.replace(resources, store=SilentStore())
        async with asyncio.timeout(10):
            answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
