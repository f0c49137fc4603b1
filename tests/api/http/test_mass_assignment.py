"""Internal names, added to every request and searched for in every response (T11)."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from tests.api.good_requests import FOLDER, GOOD_REQUESTS, Listed, good_path, listed_operations
from tests.api.stored_state import multipart, part
from tests.api.world import ANNA, Scenario, build_scenario, upload_bytes
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables
from tests.torture.figures import Figure, Size

from docvault.auth.local_tokens import LocalIssuer
from docvault.db.tables.base import Base
from docvault.services.resources import Resources
from docvault.settings import Settings

OPERATIONS = listed_operations()
FORMS = [
    name
    for name, listed in OPERATIONS.items()
    if "requestBody" in listed.contract and not listed.takes_json
]
CALLERS = {"admin": "staff", "customer": "customer A", "integration": "key with every scope"}
# Names that frameworks and hosts use, and that attackers try first.
GUESSED = "role roles is_admin owner owner_id tenant_id user_id password _id __proto__ constructor"
# Bodies with every nested object of their schema.
NESTED: dict[str, dict[str, Any]] = {
    "admin_create_document_type": {"name": "New", "fields": [{"label": "A"}]},
    "admin_update_document_type": {"fields": [{"label": "A"}, {"label": "B"}]},
    "admin_update_portal_settings": {"introduction": {"format": "html", "source": "<p>x</p>"}},
}
# Names that forms accept.
PARTS = {"file", "files", "batch", "field_values"}
# Members whose names staff choose, and problems, which may have extension members.
OPEN = {"field_values", "changes", "problem"}


def internal_names() -> list[str]:
    """Return the name of every table, column, relation and schema member."""
    names = set(GUESSED.split())
    for mapper in Base.registry.mappers:
        names |= {mapper.local_table.description, *mapper.all_orm_descriptors.keys()}
        names |= {column.name for column in mapper.local_table.columns}
    for audience in CALLERS:
        for schema in schemas(audience).values():
            names |= set(schema.get("properties", {}))
    return sorted(names)


@cache
def schemas(audience: str) -> dict[str, Any]:
    """Return the schemas of an audience's OpenAPI document."""
    text = (FOLDER / f"{audience}.json").read_text()
    found: dict[str, Any] = json.loads(text)["components"]["schemas"]
    return found


def objects_in(body: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a body with its pointer, except those with names of the caller."""
    if isinstance(body, dict):
        yield pointer, body
        for name, item in body.items():
            if name not in OPEN:
                yield from objects_in(item, f"{pointer}/{name}")
    elif isinstance(body, list):
        for index, item in enumerate(body):
            yield from objects_in(item, f"{pointer}/{index}")


def undeclared(value: Any, schema: Any, known: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield the pointer of every member that the schema does not name."""
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
    """Sends requests of each operation, as a caller with permission."""

    def __init__(self, http: httpx.AsyncClient, scenario: Scenario, size: Size) -> None:
        self._world = scenario
        self._size = size
        self._clients = {
            audience: with_headers(http, dict(scenario.callers[caller]))
            for audience, caller in CALLERS.items()
        }
        self.names = internal_names()
        self.tried = 0
        self.tried_in_forms: set[str] = set()

    async def send(self, name: str, **arguments: Any) -> httpx.Response:
        """Send a request of an operation."""
        listed = OPERATIONS[name]
        client = self._clients[listed.audience]
        return await client.request(listed.method, good_path(name, self._world), **arguments)

    async def query(self, name: str, listed: Listed) -> list[str]:
        """Send all names as query parameters; return those that were not rejected."""
        known = {p["name"] for p in listed.contract.get("parameters", []) if p["in"] == "query"}
        wrong = [name for name in self.names if name not in known]
        self.tried += len(wrong)
        good = GOOD_REQUESTS[name].arguments(ANNA)
        response = await self.send(name, **good | {"params": dict.fromkeys(wrong, "1")})
        return not_rejected(response, wrong, "parameter")

    async def body(self, name: str) -> list[str]:
        """Add all names to each object of a JSON body; return those that were not rejected."""
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
            response = await self.send(name, **good | {"json": changed})
            accepted += not_rejected(response, [f"{pointer}/{n}" for n in wrong], "pointer")
        return accepted

    async def form(self, name: str) -> list[str]:
        """Add each name as a part to an upload; return those that were not rejected."""
        accepted = []
        # The first unknown part ends the request, so each name needs one of its own. In CI the
        # names are split between the operations.
        place, step = (0, 1) if self._size.is_full else (FORMS.index(name), len(FORMS))
        wrong_names = self.names[place::step]
        file = part('name="file"; filename="a.pdf"', upload_bytes(ANNA))
        for wrong in wrong_names:
            if wrong in PARTS:
                continue
            self.tried += 1
            self.tried_in_forms.add(wrong)
            response = await self.send(name, **multipart(part(f'name="{wrong}"', b"1"), file))
            accepted += not_rejected(response, [f"/{wrong}"], "pointer")
        return accepted


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No rate limits."""
    limits = ("customer_uploads", "customer_requests", "api_key_requests")
    return settings.model_copy(update={f"{limit}_per_minute": 0 for limit in limits})


def not_rejected(response: httpx.Response, wrong: list[str], kind: str) -> list[str]:
    """Return the names for which the response has no error."""
    if response.status_code != 422:
        return [f"{response.status_code} {response.text[:200]}"]
    return sorted(set(wrong) - {error[kind] for error in response.json()["errors"]})


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
    promise="Callers cannot set or see anything that the contract of their audience does not name.",
    tried="The name of every table, column and relation, of every response member, and those that "
    "attackers try first are added to the query, to each object of each JSON body and to the form "
    "of every operation; rows are compared. Every response to a valid request is compared with "
    "the schema of its audience.",
    not_shown="",
)
async def test_internal_names_are_neither_accepted_nor_exposed(
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    scenario = await build_scenario(http, issuer, resources)
    attack, tables = Attack(http, scenario, size), Tables(database_url)
    before = unaudited(tables)
    accepted: dict[str, list[str]] = {}
    for name, listed in OPERATIONS.items():
        accepted[f"{name}, query"] = await attack.query(name, listed)
        if listed.takes_json:
            accepted[f"{name}, body"] = await attack.body(name)
        elif name in FORMS:
            accepted[f"{name}, form"] = await attack.form(name)
    assert {case: names for case, names in accepted.items() if names} == {}
    assert unaudited(tables) == before
    shown = [found for name in OPERATIONS for found in await leaked(attack, name)]
    assert shown == []
    figures["names"] = len(attack.names)
    figures["operations"] = len(OPERATIONS)
    figures["names tried in all places"] = attack.tried
    assert attack.tried_in_forms >= set(attack.names) - PARTS
    figures["accepted"] = figures["shown"] = 0


async def leaked(attack: Attack, name: str) -> list[str]:
    """Return the members of a successful response that its schema does not name."""
    listed = OPERATIONS[name]
    if listed.method == "DELETE":
        return []
    response = await attack.send(name, **GOOD_REQUESTS[name].arguments(ANNA))
    content = listed.contract["responses"].get(str(response.status_code), {}).get("content", {})
    if "application/json" not in content or response.headers["content-type"] != "application/json":
        return []
    schema = content["application/json"]["schema"]
    found = undeclared(response.json(), schema, schemas(listed.audience))
    return [f"{name}: {place}" for place in found]


def unaudited(tables: Tables) -> dict[str, list[bytes]]:
    """Return all rows except those that a rejected request may add."""
    rows = tables.rows()
    return {n: rows[n] for n in rows if not re.fullmatch("audit_.*|rate_limits", n)}
