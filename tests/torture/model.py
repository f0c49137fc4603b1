"""What was acknowledged, and whether the service still holds exactly that (*Invariant I*).

The ledger knows each slot's history. An operation without an answer leaves its slot in doubt:
either it happened or it did not, and what the service says first is what it has to stay with.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

UPLOAD, REPLACE, DELETE = "document.upload", "document.replace", "document.delete"
COPY = "document.copy"


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it was sent."""

    body: bytes = field(repr=False)
    filename: str
    media_type: str

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """What is remembered of a content: a ledger of thousands of bodies would not fit."""

    sha256: str
    size_bytes: int
    filename: str
    media_type: str


def stored(content: Content) -> Stored:
    """Return what to remember of a content."""
    return Stored(content.sha256, len(content.body), content.filename, content.media_type)


@dataclass(frozen=True, slots=True)
class Change:
    """Something done to a slot: new content, or None when it is emptied."""

    content: Stored | None
    # How the audit trail calls it, where it is neither upload nor replacement nor deletion.
    action: str | None = None


@dataclass(slots=True)
class SlotModel:
    """One customer's place for one type: what is in it, and every change that happened.

    `doubt` is a change that was asked for and has no answer yet.
    """

    customer: str
    key: str
    current: Stored | None = None
    last_version: int = 0
    events: list[tuple[str, int]] = field(default_factory=list)
    doubt: Change | None = None

    @property
    def path(self) -> str:
        """Where staff find the document."""
        return f"/v1/admin/customers/{self.customer}/documents/{self.key}"

    def confirm(self) -> None:
        """Note that the change in doubt has happened."""
        change, self.doubt = self.doubt, None
        assert change is not None
        if change.content is None:
            action = DELETE
        else:
            action = UPLOAD if self.current is None else REPLACE
            self.last_version += 1
        self.events.append((change.action or action, self.last_version))
        self.current = change.content


@dataclass(slots=True)
class Findings:
    """What is wrong, by kind; the kinds are the figures of a test."""

    counts: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    def add(self, kind: str, detail: str) -> None:
        """Note one."""
        self.counts[kind] += 1
        self.details.append(f"{kind}: {detail}")

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self.details)


KINDS = ("lost", "changed", "resurrected", "orphans", "dangling", "unowned", "audit gaps")


class Ledger:
    """Every slot that a test has touched."""

    def __init__(self) -> None:
        self.slots: dict[tuple[str, str], SlotModel] = {}
        self.erased: set[str] = set()
        self.acknowledged: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()

    def slot(self, customer: str, key: str) -> SlotModel:
        """Return a slot, empty when nothing was done to it yet."""
        return self.slots.setdefault((customer, key), SlotModel(customer, key))

    def forget(self, customer: str) -> None:
        """Note that a customer is erased."""
        self.erased.add(customer)
        self.slots = {place: slot for place, slot in self.slots.items() if place[0] != customer}

    async def settle(self, client: httpx.AsyncClient) -> None:
        """Ask the service how every change without an answer ended."""
        for slot in [slot for slot in self.slots.values() if slot.doubt is not None]:
            document = await read(client, slot.path)
            assert slot.doubt is not None
            if slot.doubt.content is None:
                happened = document["upload_state"] == "missing"
            else:
                happened = document["version"] == slot.last_version + 1
            self.settled["happened" if happened else "did not happen"] += 1
            if happened:
                slot.confirm()
            slot.doubt = None

    async def check_documents(
        self,
        client: httpx.AsyncClient,
        findings: Findings,
        slots: Iterable[SlotModel] | None = None,
    ) -> int:
        """Read documents back, all by default; return how many bytes that were."""
        read_bytes = 0
        for slot in list(self.slots.values()) if slots is None else slots:
            document = await read(client, slot.path)
            content = await client.get(f"{slot.path}/content")
            read_bytes += len(content.content)
            _compare(slot, document, content, findings)
        return read_bytes


def _compare(
    slot: SlotModel, document: Mapping[str, Any], content: httpx.Response, findings: Findings
) -> None:
    if slot.current is None:
        if document["upload_state"] != "missing" or content.status_code != 404:
            findings.add("resurrected", f"{slot.path} {document['version']}")
        return
    if content.status_code != 200:
        findings.add("lost", f"{slot.path} {content.status_code} {content.text[:200]}")
        return
    file = document["files"][0]
    found = Stored(
        hashlib.sha256(content.content).hexdigest(),
        len(content.content),
        file["filename"],
        content.headers["content-type"],
    )
    if found != slot.current or document["version"] != slot.last_version:
        findings.add("changed", f"{slot.path} is {found}, was {slot.current}")


async def read(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return a resource as JSON."""
    answer = await client.get(path)
    assert answer.status_code == 200, (path, answer.status_code, answer.text)
    body: dict[str, Any] = answer.json()
    return body


_UNOWNED = """
SELECT key FROM blobs WHERE state = 'stored'
AND NOT EXISTS (SELECT FROM document_files WHERE blob_id = blobs.id)
AND NOT EXISTS (SELECT FROM previews WHERE blob_id = blobs.id)
"""
_NOT_STORED = """
SELECT key FROM blobs WHERE state <> 'stored'
AND (EXISTS (SELECT FROM document_files WHERE blob_id = blobs.id)
    OR EXISTS (SELECT FROM previews WHERE blob_id = blobs.id))
"""
_EVENTS = """
SELECT detail.customer, event.document_type, event.action, event.version
FROM audit_events AS event JOIN audit_details AS detail ON detail.event_id = event.id
WHERE event.action = ANY(%s) AND event.result = 'ok' ORDER BY event.at, event.id
"""


def is_idle(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether no job waits or runs and no blob is in between."""
    row = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
        " AND NOT EXISTS (SELECT FROM blobs WHERE state <> 'stored')"
    ).fetchone()
    return row == (True,)


def check_store(
    connection: psycopg.Connection[Any], keys: Collection[str], findings: Findings
) -> None:
    """Compare rows and bytes both ways; bytes that are announced may be there or not."""
    rows = dict(connection.execute("SELECT key, state FROM blobs").fetchall())
    for key in set(keys) - rows.keys():
        findings.add("orphans", key)
    for key in rows.keys() - set(keys):
        if rows[key] == "stored":
            findings.add("dangling", key)
    for (key,) in connection.execute(_UNOWNED):
        findings.add("unowned", key)
    for (key,) in connection.execute(_NOT_STORED):
        findings.add("dangling", f"{key} is referred to and not stored")


def check_audit(connection: psycopg.Connection[Any], ledger: Ledger, findings: Findings) -> None:
    """Compare the audit trail with the history of every slot."""
    recorded: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for customer, key, action, version in connection.execute(
        _EVENTS, [[UPLOAD, REPLACE, DELETE, COPY]]
    ):
        recorded.setdefault((customer, key), []).append((action, version))
    for place in recorded.keys() | ledger.slots.keys():
        slot = ledger.slots.get(place)
        expected = slot.events if slot else []
        if recorded.get(place, []) != expected:
            findings.add("audit gaps", f"{place}: {recorded.get(place)}, not {expected}")
