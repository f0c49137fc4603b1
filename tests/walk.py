"""Print the files that one request enters, in order (`make walk`)."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

import docvault

SOURCE = f"{Path(docvault.__file__).parent}/"
PATH = "/v1/customer/documents/identity-card"


class Walk:
    """The calls of one request inside docvault; those in other threads are left out."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.functions: set[CodeType] = set()
        self.changes = 0
        self._current = ""

    def record(self, frame: FrameType, event: str, arg: object) -> None:
        """Count a call; a coroutine that is resumed counts as called again."""
        del arg
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(SOURCE):
            return
        self.files.setdefault(name.removeprefix(SOURCE))
        self.functions.add(frame.f_code)
        if name != self._current:
            self.changes += 1
            self._current = name

    def report(self, title: str) -> str:
        """Return the files in the order in which they were entered, and the counts."""
        files = [f"{number:4} {file}" for number, file in enumerate(self.files, start=1)]
        counts = f"{len(self.files)} files, {len(self.functions)} functions"
        return "\n".join(["", title, *files, f"     {counts}, {self.changes} changes of file"])


@contextmanager
def recorded() -> Iterator[Walk]:
    walk = Walk()
    sys.setprofile(walk.record)
    try:
        yield walk
    finally:
        sys.setprofile(None)


@pytest.fixture
async def clients(
    admin: httpx.AsyncClient, customer_of: CustomerClients
) -> dict[str, httpx.AsyncClient]:
    await make_type(admin, "Identity card", collects_fields=True, fields=[{"label": "Number"}])
    await make_customer(admin, "c-1")
    return {"admin": admin, "customer": customer_of("c-1")}


def replacement(number: int) -> dict[str, Any]:
    values = {"field_values": json.dumps({"number": str(number)})}
    return {**upload_of(), "data": values, "headers": {"Idempotency-Key": f"walk-{number}"}}


@pytest.mark.parametrize(
    ("title", "caller", "method", "path"),
    [
        ("gate read", "customer", "GET", "/v1/customer/gate"),
        (
            "list of customers",
            "admin",
            "GET",
            "/v1/admin/customers?uploaded=identity-card&gate=open",
        ),
        ("download", "customer", "GET", f"{PATH}/content"),
        ("upload", "customer", "PUT", PATH),
    ],
)
async def test_walk(
    clients: dict[str, httpx.AsyncClient], title: str, caller: str, method: str, path: str
) -> None:
    await clients["customer"].put(PATH, **replacement(0))
    client = clients[caller]
    # Unrecorded first: what is done once for each process is no part of a request.
    for number in (1, 2):
        arguments = replacement(number) if method == "PUT" else {}
        with recorded() as walk:
            response = await client.request(method, path, **arguments)
        assert response.is_success, response.text
    print(walk.report(f"{title}: {method} {path}"))  # noqa: T201 - that is what it is for
