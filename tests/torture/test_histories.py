"""Random histories of the whole API against a model of what it promises (T06)."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

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
from tests.torture.inside import Inside, happened, put, text, unlimited
from tests.torture.model import Content, SlotModel, check_audit, check_store

from docvault.errors import StorageUnavailable
from docvault.services.blobs import reap
from docvault.services.erasures import finish_erasures
from docvault.settings import Settings
from docvault.storage.base import BlobStore

pytestmark = pytest.mark.torture

_Result = TypeVar("_Result")
KEPT_VERSIONS = 2
MOST_KNOWN = 2
STEPS = 50
ANSWER_SECONDS = 60
SCOPES = ("customers:read", "documents:read", "content:read", "documents:write")
KEYS = "/v1/admin/api-keys"
# What each of the callers gets from a customer who is being erased, and from one who is gone.
REFUSED_READS = {"staff": {404}, "key": {404}, "customer": {403}}
REFUSED_WRITES = {
    "being erased": {"staff": {409}, "key": {409}, "customer": {403, 409}},
    "gone": {"staff": {404}, "key": {404}, "customer": {403}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data").model_copy(update={"keep_versions": KEPT_VERSIONS})


class FailingStore:
    """A store that fails while it is told to."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.is_down = False

    def __getattr__(self, name: str) -> Any:
        if self.is_down:
            raise StorageUnavailable
        return getattr(self._inner, name)

    @property
    def spool_dir(self) -> Path:
        """The spool is on this machine."""
        return self._inner.spool_dir

    def relative_path(self, key: str) -> str | None:
        """Where a file is can be told without it."""
        return self._inner.relative_path(key)


@dataclass(slots=True, eq=False)
class Key:
    """An API key, and what it may do."""

    id: str
    client: httpx.AsyncClient
    scopes: set[str]
    is_revoked: bool = False


@dataclass(slots=True)
class World:
    """The service, and the loop in which it runs: histories are made up in another thread."""

    inside: Inside
    store: FailingStore
    loop: asyncio.AbstractEventLoop
    numbers: Any = field(default_factory=count)
    counts: Counter[str] = field(default_factory=Counter)

    def do(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Let the loop do it, and wait."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(ANSWER_SECONDS)


class Histories(RuleBasedStateMachine):
    """What callers, the worker and a store that fails can do, one after the other."""

    world: ClassVar[World]
    customers: Bundle[str] = Bundle("customers")
    keys: Bundle[Key] = Bundle("keys")
    slots = st.sampled_from(["contract", "proof"])
    callers = st.sampled_from(["staff", "customer"])

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.world.inside
        self.state: dict[str, str] = {}
        self.versions: dict[tuple[str, str], list[Content]] = {}
        self.tags: dict[tuple[str, str], tuple[str, int]] = {}
        self.used: list[Key] = []
        self.world.counts["histories"] += 1

    # Customers and keys come and go.

    # Few, so that much happens to each.
    @precondition(lambda self: sum(state == "known" for state in self.state.values()) < MOST_KNOWN)
    @rule(target=customers)
    def a_customer_is_made_known(self) -> str:
        customer = f"h-{next(self.world.numbers)}"
        answer = self.ask("PUT", f"/v1/admin/customers/{customer}", json={"name": "A"})
        assert answer.status_code == 201, answer.text
        self.state[customer] = "known"
        return customer

    @rule(customer=customers)
    def a_customer_is_erased(self, customer: str) -> None:
        answer = self.ask("DELETE", f"/v1/admin/customers/{customer}")
        assert answer.status_code == (404 if self.state[customer] == "gone" else 202), answer.text
        if self.state[customer] == "known":
            self.state[customer] = "being erased"
            self.inside.ledger.forget(customer)
            for place in [place for place in self.versions if place[0] == customer]:
                del self.versions[place]

    @rule(target=keys, scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
    def a_key_is_made(self, scopes: set[str]) -> Key:
        answer = self.ask("POST", KEYS, json={"name": "K", "scopes": sorted(scopes)})
        assert answer.status_code == 201, answer.text
        made = answer.json()
        client = with_headers(self.inside.client, {"X-API-Key": made["key"]})
        self.used.append(Key(made["id"], client, set(scopes)))
        return self.used[-1]

    @rule(key=keys, scopes=st.sets(st.sampled_from(SCOPES), min_size=1))
    def a_key_may_do_something_else(self, key: Key, scopes: set[str]) -> None:
        answer = self.ask("PATCH", f"{KEYS}/{key.id}", json={"scopes": sorted(scopes)})
        assert answer.status_code == 200, answer.text
        key.scopes = set(scopes)

    @rule(key=consumes(keys))
    def a_key_is_revoked(self, key: Key) -> None:
        assert self.ask("DELETE", f"{KEYS}/{key.id}").status_code == 204
        key.is_revoked = True
        assert self.ask("GET", "/v1/integration/document-types", key.client).status_code == 401

    # Documents.

    @rule(customer=customers, slot=slots, caller=callers)
    def a_file_is_uploaded(self, customer: str, slot: str, caller: str) -> None:
        client, path = self.caller(caller, customer, slot)
        self.upload(caller, client, path, self.inside.ledger.slot(customer, slot))

    @rule(customer=customers, slot=slots, key=keys)
    def a_file_is_uploaded_with_a_key(self, customer: str, slot: str, key: Key) -> None:
        path = f"/v1/integration/customers/{customer}/documents/{slot}"
        may = "documents:write" in key.scopes
        self.upload("key", key.client, path, self.inside.ledger.slot(customer, slot), may=may)

    @rule(customer=customers, slot=slots, times=st.integers(2, 4))
    def a_file_is_replaced_again_and_again(self, customer: str, slot: str, times: int) -> None:
        for _ in range(times):
            self.a_file_is_uploaded(customer, slot, "staff")

    def upload(
        self,
        caller: str,
        client: httpx.AsyncClient,
        path: str,
        slot: SlotModel,
        *,
        may: bool = True,
    ) -> None:
        content = text(f"file {next(self.world.numbers)}")
        answer = self.done(put(client, path, content))
        state = self.state[slot.customer]
        if not may:
            assert answer.status_code == 403, answer.text
        elif state != "known":
            assert answer.status_code in REFUSED_WRITES[state][caller], answer.text
        elif self.world.store.is_down:
            self.expect_unavailable(answer)
        else:
            assert answer.status_code == (201 if slot.current is None else 200), answer.text
            self.has(slot, content)

    @rule(customer=customers, slot=slots)
    def a_tag_is_remembered(self, customer: str, slot: str) -> None:
        if self.state[customer] == "known":
            model = self.inside.ledger.slot(customer, slot)
            tag = self.ask("GET", model.path).headers["etag"]
            self.tags[customer, slot] = (tag, len(model.events))

    @rule(customer=customers, slot=slots)
    def a_file_is_replaced_under_a_tag(self, customer: str, slot: str) -> None:
        if self.state[customer] != "known" or (customer, slot) not in self.tags:
            return
        model = self.inside.ledger.slot(customer, slot)
        tag, seen = self.tags[customer, slot]
        content = text(f"file {next(self.world.numbers)}")
        answer = self.done(put(self.inside.client, model.path, content, {"If-Match": tag}))
        if seen != len(model.events):
            assert answer.status_code == 412, answer.text
        elif self.world.store.is_down:
            self.expect_unavailable(answer)
        else:
            assert answer.status_code == (201 if model.current is None else 200), answer.text
            self.has(model, content)

    @rule(customer=customers, slot=slots, caller=callers)
    def a_document_is_deleted(self, customer: str, slot: str, caller: str) -> None:
        client, path = self.caller(caller, customer, slot)
        answer = self.ask("DELETE", path, client)
        model = self.inside.ledger.slot(customer, slot)
        state = self.state[customer]
        if state != "known":
            assert answer.status_code in REFUSED_WRITES[state][caller], answer.text
        elif caller == "customer":
            assert answer.status_code == 403, answer.text
        elif model.current is None:
            assert answer.status_code == 404, answer.text
        else:
            assert answer.status_code == 204, answer.text
            happened(model, None)
            self.versions.pop((customer, slot))

    @rule(customer=customers, slot=slots, caller=callers)
    def a_file_is_downloaded(self, customer: str, slot: str, caller: str) -> None:
        client, path = self.caller(caller, customer, slot)
        self.compare(caller, self.ask("GET", f"{path}/content", client), customer, slot)

    @rule(customer=customers, slot=slots, key=keys)
    def a_file_is_downloaded_with_a_key(self, customer: str, slot: str, key: Key) -> None:
        path = f"/v1/integration/customers/{customer}/documents/{slot}/content"
        answer = self.ask("GET", path, key.client)
        if "content:read" not in key.scopes:
            assert answer.status_code == 403, answer.text
        else:
            self.compare("key", answer, customer, slot)

    def compare(self, caller: str, answer: httpx.Response, customer: str, slot: str) -> None:
        kept = self.versions.get((customer, slot))
        if self.state[customer] != "known":
            assert answer.status_code in REFUSED_READS[caller], answer.text
        elif kept is None:
            assert answer.status_code == 404, answer.text
        elif self.world.store.is_down:
            self.expect_unavailable(answer)
        else:
            assert (answer.status_code, answer.content) == (200, kept[-1].body)

    @rule(customer=customers, slot=slots)
    def every_version_is_downloaded(self, customer: str, slot: str) -> None:
        kept = self.versions.get((customer, slot))
        if kept is None or self.world.store.is_down:
            return
        model = self.inside.ledger.slot(customer, slot)
        listed = self.ask("GET", f"{model.path}/versions").json()["items"]
        numbers = sorted(item["version"] for item in listed)
        assert numbers == list(range(model.last_version + 1 - len(kept), model.last_version + 1))
        for number, content in zip(numbers, kept, strict=True):
            answer = self.ask("GET", f"{model.path}/content?version={number}")
            assert (answer.status_code, answer.content) == (200, content.body)

    # Lists.

    @rule(customer=customers, caller=callers)
    def documents_are_listed(self, customer: str, caller: str) -> None:
        client, path = self.caller(caller, customer, "")
        answer = self.ask("GET", path.rstrip("/"), client)
        if self.state[customer] != "known":
            assert answer.status_code in REFUSED_READS[caller], answer.text
            return
        assert answer.status_code == 200, answer.text
        found = {item["type"]["key"]: item["upload_state"] for item in answer.json()["items"]}
        assert {key for key, state in found.items() if state != "missing"} == {
            slot for owner, slot in self.versions if owner == customer
        }

    @rule(with_documents=st.booleans())
    def customers_are_listed(self, *, with_documents: bool) -> None:
        owners = {owner for owner, _ in self.versions}
        known = {customer for customer, state in self.state.items() if state == "known"}
        query = f"?has_documents={str(with_documents).lower()}&limit=100"
        answer = self.ask("GET", f"/v1/admin/customers{query}")
        found = {item["id"] for item in answer.json()["items"]}
        assert found == (known & owners if with_documents else known - owners)

    # The store fails for a while, and the worker comes.

    @rule(is_down=st.booleans())
    def the_store_fails_or_comes_back(self, *, is_down: bool) -> None:
        self.world.store.is_down = is_down

    @rule()
    def the_worker_works(self) -> None:
        self.world.do(self.work())

    async def work(self) -> None:
        database, resources = self.inside.database, self.inside.resources
        database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
        failing = dataclasses.replace(resources, store=self.world.store)
        with suppress(StorageUnavailable):
            await reap(failing)
        with suppress(StorageUnavailable):
            await finish_erasures(failing)
        if self.world.store.is_down:
            return
        for customer, state in self.state.items():
            self.state[customer] = "gone" if state == "being erased" else state
        keys = {blob.key async for blob in resources.store.list_blobs()}
        assert len(keys) == sum(map(len, self.versions.values()))
        check_store(database, keys, self.inside.findings)
        assert not self.inside.findings, self.inside.findings.details

    def teardown(self) -> None:
        """Compare everything, then erase it: the next history begins with an empty service."""
        self.world.store.is_down = False
        self.world.do(self.compare_everything())
        for customer in self.state:
            self.a_customer_is_erased(customer)
        self.the_worker_works()
        assert self.ask("GET", "/v1/admin/customers").json()["items"] == []

    async def compare_everything(self) -> None:
        inside = self.inside
        inside.ledger.slots = {
            place: slot
            for place, slot in inside.ledger.slots.items()
            if self.state[place[0]] == "known"
        }
        await inside.ledger.check_documents(inside.client, inside.findings)
        check_audit(inside.database, inside.ledger, inside.findings)
        assert not inside.findings, inside.findings.details

    # How it is asked, and what the model keeps.

    def caller(self, caller: str, customer: str, slot: str) -> tuple[httpx.AsyncClient, str]:
        if caller == "staff":
            return self.inside.client, f"/v1/admin/customers/{customer}/documents/{slot}"
        return self.inside.customer_of(customer), f"/v1/customer/documents/{slot}"

    def ask(
        self, method: str, path: str, client: httpx.AsyncClient | None = None, **sent: Any
    ) -> httpx.Response:
        return self.done((client or self.inside.client).request(method, path, **sent))

    def done(self, request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        answer = self.world.do(request)
        self.world.counts["requests"] += 1
        self.world.counts[f"answered {answer.status_code}"] += 1
        assert answer.status_code < 500 or self.world.store.is_down, answer.text
        return answer

    def expect_unavailable(self, answer: httpx.Response) -> None:
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text

    def has(self, slot: SlotModel, content: Content) -> None:
        happened(slot, content)
        kept = self.versions.setdefault((slot.customer, slot.key), [])
        kept.append(content)
        del kept[:-KEPT_VERSIONS]


@pytest.mark.guarantee(
    "T06",
    promise="Whatever is done in whatever order, the API answers as promised.",
    tried="Hypothesis makes up histories: customers are made known and erased, keys are made, "
    "changed and revoked; staff, customers and keys upload, replace (with entity tags that are "
    "current or not), delete, download every version and list; the store fails for a while; the "
    "worker works. Each answer is compared with a model, and so is the store after each turn of "
    "the worker. At the end of a history all documents and the audit trail are compared and every "
    "customer is erased.",
    not_shown="Several callers at once: see T01 and T08.",
)
async def test_no_history_differs_from_the_model(
    app: FastAPI, inside: Inside, size: Size, figures: dict[str, Figure]
) -> None:
    store = FailingStore(inside.resources.store)
    app.state.resources = dataclasses.replace(inside.resources, store=store)
    await make_type(inside.client, "Proof", upload_mode="required")
    Histories.world = World(inside, store, asyncio.get_running_loop())
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
    counts = Histories.world.counts
    figures["histories"] = counts.pop("histories")
    figures["steps of each, at most"] = STEPS
    figures["requests"] = counts.pop("requests")
    figures.update(sorted(counts.items()))
    figures["answers that differ from the model"] = 0
