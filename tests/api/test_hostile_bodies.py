"""Bodies that are not JSON, or odd JSON, and odd texts in every place for text (T40)."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.good_requests import GOOD_REQUESTS, good_path, listed_operations
from tests.api.world import ANNA, World, build_world
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
# One of each audience that takes JSON.
ROUTES = ("admin_create_document_type", "customer_update_document", "integration_put_customer")
# Bodies with every text there is, where the good request has fewer.
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
    """Nobody is slowed down."""
    limits = ("customer_uploads", "customer_requests", "api_key_requests")
    return settings.model_copy(update={f"{limit}_per_minute": 0 for limit in limits})


@pytest.fixture
async def world(http: httpx.AsyncClient, issuer: LocalIssuer, resources: Resources) -> World:
    return await build_world(http, issuer, resources)


async def send(
    http: httpx.AsyncClient, world: World, name: str, **arguments: Any
) -> httpx.Response:
    """Send a request of an operation, as somebody who may."""
    listed = OPERATIONS[name]
    headers = dict(world.callers[CALLERS[listed.audience]]) | arguments.pop("headers", {})
    client = with_headers(http, headers)
    return await client.request(listed.method, good_path(name, world), **arguments)


@pytest.mark.guarantee(
    "T40",
    promise="A body that is not JSON is told so, whatever it looks like, and changes nothing.",
    tried="Bodies of the kinds of JSONTestSuite, and that suite where the corpus is, are sent to "
    "one operation of each audience: those that are not JSON get 400, those that are get another "
    "answer, and none a 5xx.",
    not_shown="",
)
async def test_only_json_is_read_as_json(
    http: httpx.AsyncClient, world: World, corpus: Corpus, figures: dict[str, Figure]
) -> None:
    media_type = {"Content-Type": "application/json"}
    from_corpus = [path.read_bytes() for path in corpus.files("json-y", "json-transform", "json")]
    for name in ROUTES:
        headers = GOOD_REQUESTS[name].arguments(ANNA).get("headers", {}) | media_type
        for body in NOT_JSON:
            answer = await send(http, world, name, content=body, headers=headers)
            # Without a body at all there is nothing to parse.
            assert answer.status_code == (400 if body else 422), (name, body[:80], answer.text)
        for body in JSON:
            answer = await send(http, world, name, content=body, headers=headers)
            assert answer.status_code in {200, 201, 409, 422}, (name, body[:80], answer.text)
        for body in [*from_corpus, *b"\n".join(from_corpus).splitlines()]:
            answer = await send(http, world, name, content=body, headers=headers)
            assert answer.status_code < 500, (name, body[:80], answer.text)
    figures["operations"] = len(ROUTES)
    figures["bodies that are not JSON"] = len(NOT_JSON)
    figures["bodies that are JSON"] = len(JSON)
    figures["files of the corpus"] = len(from_corpus) or corpus.absence
    figures["answers 5xx"] = 0


def with_text(body: Any, text: str) -> Iterator[Any]:
    """Yield the body with the text in the place of each text, and of each name of a value."""

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
    """Return every text of an answer."""
    if isinstance(value, str):
        return {value}
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for item in items for text in texts_in(item)}


@pytest.mark.guarantee(
    "T40",
    promise="A text comes back as it was sent, or is refused; none upsets the service.",
    tried="Texts that programs have stumbled over, and the Big List of Naughty Strings where the "
    "corpus is, stand in the place of each text of each JSON body, of search and filters and of "
    "path parameters.",
    not_shown="Names of files: see T24.",
)
async def test_a_text_comes_back_or_is_refused(
    http: httpx.AsyncClient, world: World, corpus: Corpus, size: Size, figures: dict[str, Figure]
) -> None:
    lists = [json.loads(path.read_text()) for path in corpus.files("strings") if is_list(path)]
    known = [*TEXTS, *(text for found in lists for text in found)]
    texts = known[:: len(known) // size.of(ci=12, full=len(known))]
    asked = refused = 0
    for name, listed in OPERATIONS.items():
        if not listed.takes_json or listed.method == "DELETE":
            continue
        good = GOOD_REQUESTS[name].arguments(ANNA)
        for text in texts:
            for body in with_text(TEXTUAL.get(name, good["json"]), text):
                answer = await send(http, world, name, **good | {"json": body})
                asked += 1
                assert answer.status_code < 500, (name, body, answer.text)
                refused += answer.status_code >= 400
                if answer.status_code in {200, 201} and has_read_back(name):
                    shown = texts_in(answer.json())
                    assert text in shown or text.strip() in shown, (name, body, answer.text)
    for text in texts:
        for parameters in ({"q": text}, {"uploaded": text}, {"gate": text}, {"sort": text}):
            answer = await send(http, world, "admin_list_customers", params=parameters)
            assert answer.status_code in {200, 422}, (parameters, answer.text)
            asked += 1
    figures["texts to choose from"] = len(known)
    figures["of them of the Big List"] = sum(map(len, lists)) or corpus.absence
    figures["texts sent"] = len(texts)
    figures["requests"] = asked
    figures["refused with 4xx"] = refused
    figures["answers 5xx"] = figures["texts that came back changed"] = 0


def is_list(path: Path) -> bool:
    return path.suffix == ".json"


def has_read_back(name: str) -> bool:
    """Return whether the answer shows the texts as they were sent."""
    # Uploads are only announced, markup is cleaned, and labels are split at commas.
    hidden = ("create_upload", "portal_settings", "update_document_type", "copy_document")
    return not name.endswith(hidden)
