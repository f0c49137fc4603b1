"""Random histories of the whole API, compared with a model (T06)."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.factories.setups import make_type
from tests.fixtures.callers import with_headers
from tests.torture.figures import Figure, Size
from tests.torture.inside import LocalService, acknowledge, put, text, unlimited
from tests.torture.model import Content, DocumentModel, check_audit, check_store

from docvault.errors import StorageUnavailable
from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.settings import Settings
from docvault.storage.base import BlobStore

pytestmark = pytest.mark.torture

_Result = TypeVar("_Result")
KEPT_VERSIONS = 2
MOST_KNOWN = 2
STEPS = 50
RESPONSE_SECONDS = 60
SCOPES = ("customers:read", "documents:read", "content:read", "documents:write")
KEYS = "/v1/admin/api-keys"
# The response to each caller for a customer that is being erased, and for an erased one.
REFUSED_READS = {"staff": {404}, "key": {404}, "customer": {403}}
REFUSED_WRITES = {
    "being erased": {"staff": {409}, "key": {409}, "customer": {403, 409}},
    "erased": {"staff": {404}, "key": {404}, "customer": {403}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data").model_copy(update={"keep_versions": KEPT_VERSIONS})


class FailingStore:
    """A store that fails on request."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.is_down = False

    def __getattr__(self, name: str) -> Any:
        if self.is_down:
            raise StorageUnavailable
        return getattr(self._inner, name)

    @property
    def spool_dir(self) -> Path:
        """Delegate: the spool is local."""
        return self._inner.spool_dir

    def relative_path(self, key: str) -> str | None:
        """Delegate: locating a file does not access the store."""
        return self._inner.relative_path(key)


@dataclass(slots=True, eq=False)
class Key:
    """An API key and its permissions."""

    id: str
    client: httpx.AsyncClient
    scopes: set[str]
    is_revoked: bool = False


@dataclass(slots=True)
class Scenario:
    """The service and its event loop; histories are generated in another thread."""

    local_service: LocalService
    store: FailingStore
    loop: asyncio.AbstractEventLoop
    numbers: Any = field(default_factory=count)
    counts: Counter[str] = field(default_factory=Counter)

    def do(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine in the event loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(RESPONSE_SECONDS)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A version that is kept: its number, who uploaded it, and the file."""

    number: int
    caller: str
    content: Content


class Histories(RuleBasedStateMachine):
    """The possible steps of callers, the worker and a failing store."""

    scenario: ClassVar[Scenario]
    customers: Bundle[str] = Bundle("customers")
    keys: Bundle[Key] = Bundle("keys")
    documents = st.sampled_from(["contract", "proof"])
    callers = st.sampled_from(["staff", "customer"])

    def __init__(self) -> None:
        super().__init__()
        self.local_service = self.scenario.local_service
        self.state: dict[str, str] = {}
        self.versions: dict[tuple[str, str], list[Kept]] = {}
        self.tags: dict[tuple[str, str], tuple[str, int]] = {}
        self.used: list[Key] = []
        self.scenario.counts["histories"] += 1

    # Customers and keys are created and deleted.

    # Few, so that each has a long history.
    @precondition(lambda self: sum(state == "known" for state in self.state.values()) < MOST_KNOWN)
    @rule(target=customers)
    def a_customer_is_made_known(self) -> str:
        customer = f"h-{next(self.scenario.numbers)}"
        response = self.ask("PUT", f"/v1/admin/customers/{customer}", json={"name": "A"})
        assert response.status_code == 201, response.text
        self.state[customer] = "known"
        return customer

    @rule(customer=customers)
    def a_customer_is_erased(self, customer: str) -> None:
        response = self.ask("DELETE", f"/v1/admin/customers/{customer}")
        assert response.status_code == (404 if self.state[customer] == "erased" else 202), (
            response.text
        )
        if self.state[customer] == "known":
            self.state[customer] = "being erased"
            self.local_service.ledger.forget(customer)
            for place in [place for place in self.versions if place[0] == customer]:
                del self.versions[place]

    @rule(target=keys, scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
    def a_key_is_made(self, scopes: set[str]) -> Key:
        response = self.ask("POST", KEYS, json={"name": "K", "scopes": sorted(scopes)})
        assert response.status_code == 201, response.text
        made = response.json()
        client = with_headers(self.local_service.client, {"X-API-Key": made["key"]})
        self.used.append(Key(made["id"], client, set(scopes)))
        return self.used[-1]

    @rule(key=keys, scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
    def a_key_may_do_something_else(self, key: Key, scopes: set[str]) -> None:
        response = self.ask("PATCH", f"{KEYS}/{key.id}", json={"scopes": sorted(scopes)})
        assert response.status_code == 200, response.text
        key.scopes = set(scopes)

    @rule(key=consumes(keys))
    def a_key_is_revoked(self, key: Key) -> None:
        assert self.ask("DELETE", f"{KEYS}/{key.id}").status_code == 204
        key.is_revoked = True
        assert self.ask("GET", "/v1/integration/document-types", key.client).status_code == 401

    # Documents.

    @rule(customer=customers, document=documents, caller=callers)
    def a_file_is_uploaded(self, customer: str, document: str, caller: str) -> None:
        client, path = self.caller(caller, customer, document)
        self.upload(caller, client, path, self.local_service.ledger.document(customer, document))

    @rule(customer=customers, document=documents, key=keys)
    def a_file_is_uploaded_with_a_key(self, customer: str, document: str, key: Key) -> None:
        path = f"/v1/integration/customers/{customer}/documents/{document}"
        may = "documents:write" in key.scopes
        self.upload(
            "key", key.client, path, self.local_service.ledger.document(customer, document), may=may
        )

    @rule(customer=customers, document=documents, times=st.integers(2, 4))
    def a_file_is_replaced_again_and_again(self, customer: str, document: str, times: int) -> None:
        for _ in range(times):
            self.a_file_is_uploaded(customer, document, "staff")

    def upload(
        self,
        caller: str,
        client: httpx.AsyncClient,
        path: str,
        document: DocumentModel,
        *,
        may: bool = True,
    ) -> None:
        content = text(f"file {next(self.scenario.numbers)}")
        response = self.done(put(client, path, content))
        state = self.state[document.customer]
        if not may:
            assert response.status_code == 403, response.text
        elif state != "known":
            assert response.status_code in REFUSED_WRITES[state][caller], response.text
        elif self.scenario.store.is_down:
            self.expect_unavailable(response)
        else:
            assert response.status_code == (201 if document.current is None else 200), response.text
            self.has(document, content, caller)

    @rule(customer=customers, document=documents)
    def a_tag_is_remembered(self, customer: str, document: str) -> None:
        if self.state[customer] == "known":
            model = self.local_service.ledger.document(customer, document)
            tag = self.ask("GET", model.path).headers["etag"]
            self.tags[customer, document] = (tag, len(model.events))

    @rule(customer=customers, document=documents)
    def a_file_is_replaced_under_a_tag(self, customer: str, document: str) -> None:
        if self.state[customer] != "known" or (customer, document) not in self.tags:
            return
        model = self.local_service.ledger.document(customer, document)
        tag, seen = self.tags[customer, document]
        content = text(f"file {next(self.scenario.numbers)}")
        response = self.done(put(self.local_service.client, model.path, content, {"If-Match": tag}))
        if seen != len(model.events):
            assert response.status_code == 412, response.text
        elif self.scenario.store.is_down:
            self.expect_unavailable(response)
        else:
            assert response.status_code == (201 if model.current is None else 200), response.text
            self.has(model, content, "staff")

    @rule(customer=customers, document=documents, caller=callers)
    def a_document_is_deleted(self, customer: str, document: str, caller: str) -> None:
        client, path = self.caller(caller, customer, document)
        response = self.ask("DELETE", path, client)
        model = self.local_service.ledger.document(customer, document)
        state = self.state[customer]
        if state != "known":
            assert response.status_code in REFUSED_WRITES[state][caller], response.text
        elif caller == "customer":
            assert response.status_code == 403, response.text
        elif model.current is None:
            assert response.status_code == 404, response.text
        else:
            assert response.status_code == 204, response.text
            acknowledge(model, None)
            self.versions.pop((customer, document))

    @rule(customer=customers, document=documents, caller=callers)
    def a_file_is_downloaded(self, customer: str, document: str, caller: str) -> None:
        client, path = self.caller(caller, customer, document)
        self.compare(caller, self.ask("GET", f"{path}/content", client), customer, document)

    @rule(customer=customers, document=documents, key=keys)
    def a_file_is_downloaded_with_a_key(self, customer: str, document: str, key: Key) -> None:
        path = f"/v1/integration/customers/{customer}/documents/{document}/content"
        response = self.ask("GET", path, key.client)
        if "content:read" not in key.scopes:
            assert response.status_code == 403, response.text
        else:
            self.compare("key", response, customer, document)

    def compare(self, caller: str, response: httpx.Response, customer: str, document: str) -> None:
        kept = self.versions.get((customer, document))
        if self.state[customer] != "known":
            assert response.status_code in REFUSED_READS[caller], response.text
        elif kept is None:
            assert response.status_code == 404, response.text
        elif self.scenario.store.is_down:
            self.expect_unavailable(response)
        else:
            assert (response.status_code, response.content) == (200, kept[-1].content.body)

    @rule(customer=customers, document=documents)
    def every_version_is_downloaded(self, customer: str, document: str) -> None:
        kept = self.versions.get((customer, document))
        if kept is None or self.scenario.store.is_down:
            return
        model = self.local_service.ledger.document(customer, document)
        listed = self.ask("GET", f"{model.path}/versions").json()["items"]
        numbers = sorted(item["version"] for item in listed)
        assert numbers == [version.number for version in kept]
        for version in kept:
            response = self.ask("GET", f"{model.path}/content?version={version.number}")
            assert (response.status_code, response.content) == (200, version.content.body)

    # Lists.

    @rule(customer=customers, caller=callers)
    def documents_are_listed(self, customer: str, caller: str) -> None:
        client, path = self.caller(caller, customer, "")
        response = self.ask("GET", path.rstrip("/"), client)
        if self.state[customer] != "known":
            assert response.status_code in REFUSED_READS[caller], response.text
            return
        assert response.status_code == 200, response.text
        found = {item["type"]["key"]: item["upload_state"] for item in response.json()["items"]}
        assert {key for key, state in found.items() if state != "missing"} == {
            document for owner, document in self.versions if owner == customer
        }

    @rule(with_documents=st.booleans())
    def customers_are_listed(self, *, with_documents: bool) -> None:
        owners = {owner for owner, _ in self.versions}
        known = {customer for customer, state in self.state.items() if state == "known"}
        query = f"?has_documents={str(with_documents).lower()}&limit=100"
        response = self.ask("GET", f"/v1/admin/customers{query}")
        found = {item["id"] for item in response.json()["items"]}
        assert found == (known & owners if with_documents else known - owners)

    # The store fails for a while, and the worker runs.

    @rule(is_down=st.booleans())
    def the_store_fails_or_comes_back(self, *, is_down: bool) -> None:
        self.scenario.store.is_down = is_down

    @rule()
    def the_worker_works(self) -> None:
        self.scenario.do(self.work())

    async def work(self) -> None:
        database, resources = self.local_service.database, self.local_service.resources
        database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
        failing = dataclasses.replace(resources, store=cast("BlobStore", self.scenario.store))
        with suppress(StorageUnavailable):
            await reap(failing)
        with suppress(StorageUnavailable):
            await finish_erasures(failing)
        if self.scenario.store.is_down:
            return
        for customer, state in self.state.items():
            self.state[customer] = "erased" if state == "being erased" else state
        keys = {blob.key async for blob in resources.store.list_blobs()}
        assert len(keys) == sum(map(len, self.versions.values()))
        check_store(database, keys, self.local_service.findings)
        assert not self.local_service.findings, self.local_service.findings.details

    def teardown(self) -> None:
        """Compare everything, then erase it: the next history starts with an empty service."""
        self.scenario.store.is_down = False
        self.scenario.do(self.compare_everything())
        for customer in self.state:
            self.a_customer_is_erased(customer)
        self.the_worker_works()
        assert self.ask("GET", "/v1/admin/customers").json()["items"] == []

    async def compare_everything(self) -> None:
        local_service = self.local_service
        local_service.ledger.documents = {
            place: document
            for place, document in local_service.ledger.documents.items()
            if self.state[place[0]] == "known"
        }
        await local_service.ledger.check_documents(local_service.client, local_service.findings)
        check_audit(local_service.database, local_service.ledger, local_service.findings)
        assert not local_service.findings, local_service.findings.details

    # Requests, and the bookkeeping of the model.

    def caller(self, caller: str, customer: str, document: str) -> tuple[httpx.AsyncClient, str]:
        if caller == "staff":
            return self.local_service.client, f"/v1/admin/customers/{customer}/documents/{document}"
        return self.local_service.customer_of(customer), f"/v1/customer/documents/{document}"

    def ask(
        self, method: str, path: str, client: httpx.AsyncClient | None = None, **sent: Any
    ) -> httpx.Response:
        return self.done((client or self.local_service.client).request(method, path, **sent))

    def done(self, request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        response = self.scenario.do(request)
        self.scenario.counts["requests"] += 1
        self.scenario.counts[f"responses {response.status_code}"] += 1
        assert response.status_code < 500 or self.scenario.store.is_down, response.text
        return response

    def expect_unavailable(self, response: httpx.Response) -> None:
        assert (response.status_code, "retry-after" in response.headers) == (503, True), (
            response.text
        )

    def has(self, document: DocumentModel, content: Content, caller: str) -> None:
        acknowledge(document, content)
        kept = self.versions.setdefault((document.customer, document.key), [])
        kept.append(Kept(document.last_version, caller, content))
        # Staff, customers and keys do not remove each other's versions (B-037).
        for version in [one for one in kept if one.caller == caller][:-KEPT_VERSIONS]:
            kept.remove(version)


@pytest.mark.guarantee(
    "T06",
    promise="Whatever the order of operations, the API responds as documented.",
    tried="Hypothesis generates histories: customers are registered and erased; keys are created, "
    "changed and revoked; staff, customers and keys upload, replace (with entity tags that are "
    "current or not), delete, download every version and list; the store fails for a while; the "
    "worker runs. Each response is compared with a model, and so is the store after each run of "
    "the worker. At the end of a history all documents and the audit trail are compared and every "
    "customer is erased.",
    not_shown="Concurrent callers: see T01 and T08.",
)
async def test_random_histories_match_model(
    app: FastAPI, local_service: LocalService, size: Size, figures: dict[str, Figure]
) -> None:
    store = FailingStore(local_service.resources.store)
    app.state.resources = dataclasses.replace(
        local_service.resources, store=cast("BlobStore", store)
    )
    await make_type(local_service.client, "Proof", upload_mode="required")
    Histories.scenario = Scenario(local_service, store, asyncio.get_running_loop())
    await asyncio.to_thread(
        run_state_machine_as_test,
        Histories,
        settings=hypothesis_settings(
            max_examples=size.of(ci=8, full=300),
            stateful_step_count=STEPS if size.is_full else STEPS // 2,
            derandomize=not size.is_full,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
    counts = Histories.scenario.counts
    figures["histories"] = counts.pop("histories")
    figures["maximum steps per history"] = STEPS
    figures["requests"] = counts.pop("requests")
    figures.update(sorted(counts.items()))
    figures["responses that differ from the model"] = 0
