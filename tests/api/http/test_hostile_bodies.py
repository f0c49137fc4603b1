"""Invalid JSON, unusual JSON, and unusual strings in every string of a request (T40)."""

import copy
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.good_requests import GOOD_REQUESTS, good_path, listed_operations
from tests.api.world import ANNA, Scenario, build_scenario
from tests.factories.raw_json import JSON, NOT_JSON
from tests.factories.strings import TEXTS
from tests.fixtures.callers import with_headers
from tests.fixtures.corpus import Corpus
from tests.torture.figures import Figure, Size

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources
from docvault.settings import Settings

OPERATIONS = listed_operations()
CALLERS = {"admin": "staff", "customer": "customer A", "integration": "key with every scope"}
# One operation with a JSON body for each audience.
ROUTES = ("admin_create_document_type", "customer_update_document", "integration_put_customer")
# The whitespace of JSON, which is less than that of Python.
BLANKS = b" \t\r\n"
# The status for an empty object: it changes nothing, or a required member is missing.
EMPTY_OBJECT = {
    "admin_create_document_type": 422,
    "customer_update_document": 200,
    "integration_put_customer": 200,
}
# Bodies with every string member, where the valid request has fewer.
TEXTUAL: dict[str, dict[str, Any]] = {
    "admin_create_customer": {"id": "c-9", "name": "A", "email": "a@b", "tags": ["t"]},
    "admin_put_customer": {"name": "A", "email": "a@b", "tags": ["t"]},
    "admin_update_customer": {"name": "A", "email": "a@b", "tags": ["t"]},
    "admin_create_document_type": {
        "name": "T", "key": "t", "upload_mode": "optional", "instructions": "I",
        "collects_fields": True, "fields": [{"label": "L", "key": "k", "kind": "text"}],
        "accepted_media_types": ["image/png"],
    },
    "admin_update_document_type": {"name": "T", "instructions": "I", "field_labels": "A"},
    "admin_update_portal_settings": {"introduction": {"format": "markdown", "source": "S"}},
    "admin_create_api_key": {
        "name": "K", "scopes": ["types:read"], "expires_at": "2099-01-01T00:00:00Z",
    },
}  # fmt: skip


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No rate limits."""
    limits = ("customer_uploads", "customer_value_changes", "customer_requests", "api_key_requests")
    return settings.model_copy(update={f"{limit}_per_minute": 0 for limit in limits})


@pytest.fixture
async def scenario(http: httpx.AsyncClient, issuer: LocalIssuer, resources: Resources) -> Scenario:
    return await build_scenario(http, issuer, resources)


async def send(
    http: httpx.AsyncClient, scenario: Scenario, name: str, **arguments: Any
) -> httpx.Response:
    """Send a request of an operation, as a caller with permission."""
    listed = OPERATIONS[name]
    headers = dict(scenario.callers[CALLERS[listed.audience]]) | arguments.pop("headers", {})
    client = with_headers(http, headers)
    return await client.request(listed.method, good_path(name, scenario), **arguments)


@pytest.mark.guarantee(
    "T40",
    promise="A body that is not valid JSON is rejected and changes nothing.",
    tried="Bodies of the kinds of JSONTestSuite, and that suite where the corpus is present, are "
    "sent to one operation of each audience: invalid JSON gets 400, valid JSON gets another "
    "status, and none a 5xx.",
    not_shown="",
)
async def test_only_valid_json_is_accepted(
    http: httpx.AsyncClient, scenario: Scenario, corpus: Corpus, figures: dict[str, Figure]
) -> None:
    media_type = {"Content-Type": "application/json"}
    from_corpus = [path.read_bytes() for path in corpus.files("json-y", "json-transform", "json")]
    statuses: Counter[int] = Counter()
    for name in ROUTES:
        headers = GOOD_REQUESTS[name].arguments(ANNA).get("headers", {}) | media_type

        async def status_of(body: bytes, name: str = name, headers: Any = headers) -> int:
            response = await send(http, scenario, name, content=body, headers=headers)
            statuses[response.status_code] += 1
            return response.status_code

        for body in NOT_JSON:
            # An empty body is a missing one, not malformed JSON.
            assert await status_of(body) == (400 if body else 422), (name, body[:80])
        for body in JSON:
            assert await status_of(body) == status_of_json(name, body), (name, body[:80])
        for body in [*from_corpus, *b"\n".join(from_corpus).splitlines()]:
            # Parsers disagree about some of them; none is valid for the operation.
            expected = {400, 422} if body.strip(BLANKS) != b"{}" else {status_of_json(name, body)}
            assert await status_of(body) in expected, (name, body[:80])
    figures["operations"] = len(ROUTES)
    figures["invalid JSON bodies"] = len(NOT_JSON)
    figures["valid JSON bodies"] = len(JSON)
    figures["files from the corpus"] = len(from_corpus)
    figures["corpus"] = corpus.origin
    figures["5xx responses"] = failures(statuses)
    assert figures["5xx responses"] == 0


def status_of_json(name: str, body: bytes) -> int:
    """Return the status for valid JSON: operations accept only an empty object."""
    return EMPTY_OBJECT[name] if body.strip(BLANKS) == b"{}" else 422


def failures(statuses: Counter[int]) -> int:
    """Return the number of 5xx responses."""
    return sum(number for status, number in statuses.items() if status >= 500)


def with_text(body: Any, text: str) -> Iterator[Any]:
    """Yield the body with each string, and each key of `field_values`, replaced by the text."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, str):
            yield path
        elif isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                yield from places(item, (*path, key))

    for path in places(body):
        changed = copy.deepcopy(body)
        target = changed
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = text
        yield changed
        if "field_values" in path:
            target[text] = target.pop(path[-1])
            yield changed


def texts_in(value: Any) -> set[str]:
    """Return every string in a response."""
    if isinstance(value, str):
        return {value}
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for item in items for text in texts_in(item)}


@pytest.mark.guarantee(
    "T40",
    promise="A string is returned as it was sent or rejected; none causes a server error.",
    tried="Strings known to cause errors, and the Big List of Naughty Strings where the corpus is "
    "present, replace each string of each JSON body, of search and filters and of path "
    "parameters.",
    not_shown="File names: see T24.",
)
async def test_text_round_trips_or_is_rejected(
    http: httpx.AsyncClient,
    scenario: Scenario,
    corpus: Corpus,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    lists = [json.loads(path.read_text()) for path in corpus.files("strings") if is_list(path)]
    known = [*TEXTS, *(text for found in lists for text in found)]
    texts = known[:: len(known) // size.of(ci=12, full=len(known))]
    statuses: Counter[int] = Counter()
    changed = []
    for name, listed in OPERATIONS.items():
        if not listed.takes_json or listed.method == "DELETE":
            continue
        good = GOOD_REQUESTS[name].arguments(ANNA)
        for text in texts:
            for body in with_text(TEXTUAL.get(name, good["json"]), text):
                response = await send(http, scenario, name, **good | {"json": body})
                statuses[response.status_code] += 1
                assert response.status_code < 500, (name, body, response.text)
                if response.status_code in {200, 201} and has_read_back(name):
                    shown = texts_in(response.json())
                    if not {text, text.strip()} & shown:
                        changed.append((name, text))
    for text in texts:
        for parameters in ({"q": text}, {"uploaded": text}, {"gate": text}, {"sort": text}):
            response = await send(http, scenario, "admin_list_customers", params=parameters)
            assert response.status_code in {200, 422}, (parameters, response.text)
            statuses[response.status_code] += 1
    figures["available strings"] = len(known)
    figures["strings from the corpus"] = sum(map(len, lists))
    figures["corpus"] = corpus.origin
    figures["strings sent"] = len(texts)
    figures["requests"] = statuses.total()
    figures["rejected with 4xx"] = sum(n for status, n in statuses.items() if 400 <= status < 500)
    figures["5xx responses"] = failures(statuses)
    figures["strings returned changed"] = len(changed)
    assert (failures(statuses), changed) == (0, [])


def is_list(path: Path) -> bool:
    return path.suffix == ".json"


def has_read_back(name: str) -> bool:
    """Return whether the response contains the strings as they were sent."""
    # Uploads are only reserved, markup is sanitized, and labels are split at commas.
    hidden = ("create_upload", "portal_settings", "update_document_type", "copy_document")
    return not name.endswith(hidden)
