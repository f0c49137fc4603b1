"""The acknowledged changes, and checks that the service holds exactly those (*Invariant I*).

The ledger records each document's history. An operation without a response leaves its document in
doubt: it was applied or it was not, and the first state that the service reports is final.
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
    """A file as sent."""

    body: bytes = field(repr=False)
    filename: str
    media_type: str

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """The digest and size of a content: a ledger of thousands of bodies would not fit in memory."""

    sha256: str
    size_bytes: int
    filename: str
    media_type: str


def stored(content: Content) -> Stored:
    """Return the reference to a content."""
    return Stored(content.sha256, len(content.body), content.filename, content.media_type)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a document: new content, or None for a deletion."""

    content: Stored | None
    # The name in the audit trail if it is neither upload nor replacement nor deletion.
    action: str | None = None


@dataclass(slots=True)
class DocumentModel:
    """One customer's document of one type: its content, and every change that was applied.

    `doubt` is a requested change without a response so far.
    """

    customer: str
    key: str
    current: Stored | None = None
    last_version: int = 0
    events: list[tuple[str, int]] = field(default_factory=list)
    doubt: Change | None = None

    @property
    def path(self) -> str:
        """The document's path in the admin API."""
        return f"/v1/admin/customers/{self.customer}/documents/{self.key}"

    def confirm(self) -> None:
        """Record that the change in doubt was applied."""
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
    """The violations found, by kind; the kinds are figures of a test."""

    counts: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    def add(self, kind: str, detail: str) -> None:
        """Record a violation."""
        self.counts[kind] += 1
        self.details.append(f"{kind}: {detail}")

    def __bool__(self) -> bool:
        """Return whether there is any violation."""
        return bool(self.details)


KINDS = ("lost", "changed", "resurrected", "orphans", "dangling", "unowned", "audit gaps")


class Ledger:
    """Every document that a test has touched."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], DocumentModel] = {}
        self.erased: set[str] = set()
        self.acknowledged: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()

    def document(self, customer: str, key: str) -> DocumentModel:
        """Return a document, missing if it was not touched yet."""
        return self.documents.setdefault((customer, key), DocumentModel(customer, key))

    def forget(self, customer: str) -> None:
        """Record that a customer was erased."""
        self.erased.add(customer)
        self.documents = {
            place: document for place, document in self.documents.items() if place[0] != customer
        }

    async def settle(self, client: httpx.AsyncClient) -> None:
        """Find out whether each change without a response was applied."""
        for document in [
            document for document in self.documents.values() if document.doubt is not None
        ]:
            body = await read(client, document.path)
            assert document.doubt is not None
            if document.doubt.content is None:
                happened = body["upload_state"] == "missing"
            else:
                happened = body["version"] == document.last_version + 1
            self.settled["applied" if happened else "not applied"] += 1
            if happened:
                document.confirm()
            document.doubt = None

    async def check_documents(
        self,
        client: httpx.AsyncClient,
        findings: Findings,
        documents: Iterable[DocumentModel] | None = None,
    ) -> int:
        """Read documents back, all by default; return the number of bytes read."""
        read_bytes = 0
        for document in list(self.documents.values()) if documents is None else documents:
            body = await read(client, document.path)
            content = await client.get(f"{document.path}/content")
            read_bytes += len(content.content)
            _compare(document, body, content, findings)
        return read_bytes


def _compare(
    document: DocumentModel, body: Mapping[str, Any], content: httpx.Response, findings: Findings
) -> None:
    if document.current is None:
        if body["upload_state"] != "missing" or content.status_code != 404:
            findings.add("resurrected", f"{document.path} {body['version']}")
        return
    if content.status_code != 200:
        findings.add("lost", f"{document.path} {content.status_code} {content.text[:200]}")
        return
    file = body["files"][0]
    found = Stored(
        hashlib.sha256(content.content).hexdigest(),
        len(content.content),
        file["filename"],
        content.headers["content-type"],
    )
    if found != document.current or body["version"] != document.last_version:
        findings.add("changed", f"{document.path} is {found}, was {document.current}")


async def read(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return a resource as JSON."""
    response = await client.get(path)
    assert response.status_code == 200, (path, response.status_code, response.text)
    body: dict[str, Any] = response.json()
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
    """Return whether no job or preview is due or under way and no blob in a transitional state."""
    row = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
        " AND NOT EXISTS (SELECT FROM document_versions WHERE previews_due_at IS NOT NULL)"
        " AND NOT EXISTS (SELECT FROM blobs WHERE state <> 'stored')"
    ).fetchone()
    return row == (True,)


def check_store(
    connection: psycopg.Connection[Any], keys: Collection[str], findings: Findings
) -> None:
    """Compare rows and bytes in both directions; reserved bytes may exist or not."""
    rows = dict(connection.execute("SELECT key, state FROM blobs").fetchall())
    for key in set(keys) - rows.keys():
        findings.add("orphans", key)
    for key in rows.keys() - set(keys):
        if rows[key] == "stored":
            findings.add("dangling", key)
    for (key,) in connection.execute(_UNOWNED):
        findings.add("unowned", key)
    for (key,) in connection.execute(_NOT_STORED):
        findings.add("dangling", f"{key} is referenced but not stored")


def check_audit(connection: psycopg.Connection[Any], ledger: Ledger, findings: Findings) -> None:
    """Compare the audit trail with the history of every document."""
    recorded: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for customer, key, action, version in connection.execute(
        _EVENTS, [[UPLOAD, REPLACE, DELETE, COPY]]
    ):
        recorded.setdefault((customer, key), []).append((action, version))
    for place in recorded.keys() | ledger.documents.keys():
        document = ledger.documents.get(place)
        expected = document.events if document else []
        if recorded.get(place, []) != expected:
            findings.add("audit gaps", f"{place}: {recorded.get(place)}, not {expected}")
