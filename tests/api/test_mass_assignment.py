"""Names of the inside, added to whatever callers send and looked for in what they get (T11)."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from tests.api.good_requests import FOLDER, GOOD_REQUESTS, Listed, good_path, listed_operations
from tests.api.holdings import multipart, part
from tests.api.world import ANNA, World, build_world, upload_bytes
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables
from tests.torture.figures import Figure, Size

from docvault.auth.local_tokens import LocalIssuer
from docvault.models.base import Base
from docvault.services.resources import Resources
from docvault.settings import Settings

OPERATIONS = listed_operations()
CALLERS = {"admin": "staff", "customer": "customer A", "integration": "key with every scope"}
# What frameworks and hosts use, and what attackers try first.
GUESSED = "role roles is_admin owner owner_id tenant_id user_id password _id __proto__ constructor"
# Bodies that have every nested object of their schema.
NESTED: dict[str, dict[str, Any]] = {
    "admin_create_document_type": {"name": "New", "fields": [{"label": "A"}]},
    "admin_update_document_type": {"fields": [{"label": "A"}, {"label": "B"}]},
    "admin_update_portal_settings": {"introduction": {"format": "html", "source": "<p>x</p>"}},
}
# Values and changes by names that staff have chosen, and problems, which may carry more.
OPEN = {"field_values", "changes", "problem"}


def internal_names() -> list[str]:
    """Return the name of every table, column and relation, and of every member of an answer."""
    names = set(GUESSED.split())
    for mapper in Base.registry.mappers:
        names |= {mapper.local_table.name, *mapper.all_orm_descriptors.keys()}
        names |= {column.name for column in mapper.local_table.columns}
    for audience in CALLERS:
        for schema in schemas(audience).values():
            names |= set(schema.get("properties", {}))
    return sorted(names)


@cache
def schemas(audience: str) -> dict[str, Any]:
    """Return the schemas of the contract of an audience."""
    text = (FOLDER / f"{audience}.json").read_text()
    found: dict[str, Any] = json.loads(text)["components"]["schemas"]
    return found


def objects_in(body: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a body with its place, but those whose names callers choose."""
    if isinstance(body, dict):
        yield pointer, body
        for name, item in body.items():
            if name not in OPEN:
                yield from objects_in(item, f"{pointer}/{name}")
    elif isinstance(body, list):
        for index, item in enumerate(body):
            yield from objects_in(item, f"{pointer}/{index}")


def undeclared(value: Any, schema: Any, known: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield what an answer holds and its schema does not name."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rsplit("/", 1)[1]]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options and value is not None:
        found = [list(undeclared(value, option, known, where)) for option in options]
        yield from min(found, key=len)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from undeclared(item, schema.get("items", {}), known, f"{where}/{index}")
    elif isinstance(value, dict) and where.rpartition("/")[2] not in OPEN:
        members = schema.get("properties", {})
        if not members and isinstance(schema.get("additionalProperties"), dict):
            return
        yield from (f"{where}/{name}" for name in value.keys() - members.keys())
        for name in value.keys() & members.keys():
            yield from undeclared(value[name], members[name], known, f"{where}/{name}")


class Attack:
    """Asks one operation after the other, as somebody who may."""

    def __init__(self, http: httpx.AsyncClient, world: World, size: Size) -> None:
        self._world = world
        self._size = size
        self._clients = {
            audience: with_headers(http, dict(world.callers[caller]))
            for audience, caller in CALLERS.items()
        }
        self.names = internal_names()
        self.tried = 0

    async def send(self, name: str, **arguments: Any) -> httpx.Response:
        """Send a request of an operation."""
        listed = OPERATIONS[name]
        client = self._clients[listed.audience]
        return await client.request(listed.method, good_path(name, self._world), **arguments)

    async def query(self, name: str, listed: Listed) -> list[str]:
        """Send all names as query parameters; return those that were not refused."""
        known = {p["name"] for p in listed.contract.get("parameters", []) if p["in"] == "query"}
        wrong = [name for name in self.names if name not in known]
        self.tried += len(wrong)
        good = GOOD_REQUESTS[name].arguments(ANNA)
        answer = await self.send(name, **good | {"params": dict.fromkeys(wrong, "1")})
        return not_refused(answer, wrong, "parameter")

    async def body(self, name: str) -> list[str]:
        """Add all names to each object of a JSON body; return those that were not refused."""
        accepted: list[str] = []
        good = GOOD_REQUESTS[name].arguments(ANNA)
        body = NESTED.get(name, good["json"])
        for pointer, _ in objects_in(body):
            changed = json.loads(json.dumps(body))
            target = dict(objects_in(changed))[pointer]
            allowed = allowed_in(name, pointer)
            wrong = [n for n in self.names if n not in allowed]
            target.update(dict.fromkeys(wrong, 1))
            self.tried += len(wrong)
            answer = await self.send(name, **good | {"json": changed})
            accepted += not_refused(answer, [f"{pointer}/{n}" for n in wrong], "pointer")
        return accepted

    async def form(self, name: str) -> list[str]:
        """Add each name as a part to an upload; return those that were not refused."""
        accepted = []
        # The first wrong part ends the request, so that each takes one of its own.
        wrong_names = self.names if self._size.is_full else self.names[::20]
        file = part('name="file"; filename="a.pdf"', upload_bytes(ANNA))
        for wrong in wrong_names:
            if wrong in {"file", "files", "items", "field_values"}:
                continue
            self.tried += 1
            answer = await self.send(name, **multipart(part(f'name="{wrong}"', b"1"), file))
            accepted += not_refused(answer, [f"/{wrong}"], "pointer")
        return accepted


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nobody is slowed down."""
    limits = ("customer_uploads", "customer_requests", "api_key_requests")
    return settings.model_copy(update={f"{limit}_per_minute": 0 for limit in limits})


def not_refused(answer: httpx.Response, wrong: list[str], kind: str) -> list[str]:
    """Return which of the places an answer does not complain of."""
    if answer.status_code != 422:
        return [f"{answer.status_code} {answer.text[:200]}"]
    return sorted(set(wrong) - {error[kind] for error in answer.json()["errors"]})


def allowed_in(name: str, pointer: str) -> set[str]:
    """Return the names that the contract allows in an object of a body."""
    listed = OPERATIONS[name]
    known = schemas(listed.audience)
    schema: Any = listed.contract["requestBody"]["content"]["application/json"]["schema"]
    for segment in ["", *pointer.split("/")[1:]]:
        options = schema.get("anyOf", [schema])
        schema = next((o for o in options if "$ref" in o or "items" in o), schema)
        if segment:
            schema = schema["items"] if segment.isdigit() else schema["properties"][segment]
            schema = next((o for o in schema.get("anyOf", []) if o.get("type") != "null"), schema)
        if "$ref" in schema:
            schema = known[schema["$ref"].rsplit("/", 1)[1]]
    return set(schema["properties"])


@pytest.mark.guarantee(
    "T11",
    promise="Nobody sets or sees what the contract of their audience does not name.",
    tried="The name of every table, column and relation, of every member of any answer, and those "
    "that attackers try first are added to the query, to each object of each JSON body and to the "
    "form of every operation; rows are compared. Every answer to a good request is compared with "
    "the schema of its audience.",
    not_shown="The parts of a batch, whose names are the caller's own.",
)
async def test_no_name_of_the_inside_is_taken_or_shown(
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    world = await build_world(http, issuer, resources)
    attack, tables = Attack(http, world, size), Tables(database_url)
    before = unaudited(tables)
    accepted: dict[str, list[str]] = {}
    for name, listed in OPERATIONS.items():
        accepted[f"{name}, query"] = await attack.query(name, listed)
        if listed.takes_json:
            accepted[f"{name}, body"] = await attack.body(name)
        elif "requestBody" in listed.contract and name != "customer_save_document_batch":
            accepted[f"{name}, form"] = await attack.form(name)
    assert {case: names for case, names in accepted.items() if names} == {}
    assert unaudited(tables) == before
    shown = [found for name in OPERATIONS for found in await leaked(attack, name)]
    assert shown == []
    figures["names"] = len(attack.names)
    figures["operations"] = len(OPERATIONS)
    figures["names tried in a place"] = attack.tried
    figures["accepted"] = figures["shown"] = 0


async def leaked(attack: Attack, name: str) -> list[str]:
    """Return what the answer to a good request shows beyond its schema."""
    listed = OPERATIONS[name]
    if listed.method == "DELETE":
        return []
    answer = await attack.send(name, **GOOD_REQUESTS[name].arguments(ANNA))
    content = listed.contract["responses"].get(str(answer.status_code), {}).get("content", {})
    if "application/json" not in content or answer.headers["content-type"] != "application/json":
        return []
    schema = content["application/json"]["schema"]
    found = undeclared(answer.json(), schema, schemas(listed.audience))
    return [f"{name}: {place}" for place in found]


def unaudited(tables: Tables) -> dict[str, list[bytes]]:
    """Return all rows but those that a refused request may add."""
    rows = tables.rows()
    return {n: rows[n] for n in rows if not re.fullmatch("audit_.*|rate_limits", n)}
