"""Request bodies that arrive slowly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.api.stored_state import refusal

from docvault.api.http import body
from docvault.settings import Settings

TYPES = "/v1/admin/document-types"
PIECES = 40
PAUSE_SECONDS = 0.05


@pytest.fixture
def total_seconds() -> float:
    """The time limit of a body."""
    return 600


@pytest.fixture
def settings(tmp_path: Path, total_seconds: float) -> Settings:
    return Settings(data_dir=tmp_path / "data", body_total_seconds=total_seconds)


async def trickle(admin: httpx.AsyncClient) -> httpx.Response:
    """Create a type with a body that arrives in small pieces over two seconds."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "T"'
        for _ in range(PIECES):
            await asyncio.sleep(PAUSE_SECONDS)
            yield b" "
        yield b"}"

    headers = {"Content-Type": "application/json"}
    return await admin.post(TYPES, content=body(), headers=headers)


async def names(admin: httpx.AsyncClient) -> list[str]:
    """Return the names of all types."""
    return [item["name"] for item in (await admin.get(TYPES)).json()["items"]]


class TestDeadline:
    """DOCVAULT_BODY_TOTAL_SECONDS."""

    @pytest.mark.parametrize("total_seconds", [0.5])
    async def test_slow_body_is_rejected(self, admin: httpx.AsyncClient) -> None:
        assert refusal(await trickle(admin))[:2] == (408, "request-timeout")
        assert await names(admin) == []

    async def test_body_within_deadline_is_read(self, admin: httpx.AsyncClient) -> None:
        assert (await trickle(admin)).status_code == 201


class TestMinimumRate:
    """The minimum rate of a body."""

    async def test_trickling_body_is_rejected(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body, "SLOW_AFTER_SECONDS", 0.5)
        assert refusal(await trickle(admin))[:2] == (408, "request-timeout")
        assert await names(admin) == []

    async def test_body_above_minimum_rate_may_be_slow(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(body, "SLOW_AFTER_SECONDS", 0.5)
        monkeypatch.setattr(body, "MIN_BYTES_PER_SECOND", 1)
        assert (await trickle(admin)).status_code == 201
