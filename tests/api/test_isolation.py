"""Every operation, asked by every kind of caller for every kind of object (SECURITY T10).

The operations come from the committed contract, what must happen from the tables below. They are
written by hand and say what is promised, not what the code does; an operation that stands in no
table fails.
"""

import re
from collections.abc import Collection, Iterator
from itertools import product

import httpx
import psycopg
import pytest
from tests.api.good_requests import GOOD_REQUESTS, Good, Listed, good_path, listed_operations
from tests.api.world import (
    ANNA,
    AUDIENCES,
    BERT,
    GONE,
    LEAVING,
    NOBODY,
    World,
    build_world,
)
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables

from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.scopes import Scope
from docvault.services.resources import Resources

# How many requests there are at least, so that none gets lost by a mistake in here.
REQUESTS = {"admin": 3_400, "customer": 980, "integration": 3_500}
UNKNOWN_ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"
OPERATIONS = listed_operations()

Expected = tuple[int, str | None]

NO_CREDENTIAL = (401, "authentication-required")
BAD_TOKEN = (401, "invalid-token")
BAD_KEY = (401, "invalid-api-key")
NO_SCOPE = (403, "insufficient-scope")
CALLER_UNKNOWN = (403, "customer-unknown")
EXPIRED = (401, "token-expired")
ENTERS = (0, None)

# What each caller meets at the door of each audience: admin, customer, integration.
DOORS: dict[str, tuple[Expected, Expected, Expected]] = {
    "anonymous": (NO_CREDENTIAL, NO_CREDENTIAL, NO_CREDENTIAL),
    "basic credentials": (NO_CREDENTIAL, NO_CREDENTIAL, NO_CREDENTIAL),
    "staff": (ENTERS, NO_SCOPE, NO_CREDENTIAL),
    "other staff": (ENTERS, NO_SCOPE, NO_CREDENTIAL),
    "customer A": (NO_SCOPE, ENTERS, NO_CREDENTIAL),
    "customer B": (NO_SCOPE, ENTERS, NO_CREDENTIAL),
    "customer nobody knows": (NO_SCOPE, CALLER_UNKNOWN, NO_CREDENTIAL),
    "customer being erased": (NO_SCOPE, CALLER_UNKNOWN, NO_CREDENTIAL),
    "customer token from before an erasure": (NO_SCOPE, BAD_TOKEN, NO_CREDENTIAL),
    "token without a scope": (NO_SCOPE, NO_SCOPE, NO_CREDENTIAL),
    "token with both scopes": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "expired staff token": (EXPIRED, EXPIRED, NO_CREDENTIAL),
    "expired customer token": (EXPIRED, EXPIRED, NO_CREDENTIAL),
    "staff token for another audience": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "customer token for another audience": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token of another issuer": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token signed by a stranger": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "customer token signed by a stranger": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "token that is none": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token as a key": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key as a bearer token": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "key with every scope": (NO_CREDENTIAL, NO_CREDENTIAL, ENTERS),
    "key without a scope": (NO_CREDENTIAL, NO_CREDENTIAL, NO_SCOPE),
    "key revoked": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key expired": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key of another secret": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key nobody made": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key with a typo": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
}
KEYS = {f"key {word}" for scope in Scope for word in (f"with {scope} alone", f"without {scope}")}
# Who made the uploads of an audience; to everybody else they do not exist.
OWNERS = {"staff", "customer A", "customer B", "key with every scope"}

NOT_HERE = (404, "not-found")
NO_CUSTOMER = (404, "customer-unknown")
NO_TYPE = (404, "document-type-unknown")
INVALID = (422, "validation-error")
LEAVES = (409, "customer-being-erased")
STAFF_ALONE = (403, "admin-only-document")
NO_FIELDS = (422, "fields-not-enabled")
IN_USE = (409, "document-type-in-use")

# What a caller who is let in meets, where it is not the success of the operation.
MISSES: dict[str, Expected] = {
    "absent customer": NO_CUSTOMER,
    "erased customer": NO_CUSTOMER,
    "malformed customer": INVALID,
    "absent type": NO_TYPE,
    "malformed type": NO_TYPE,
    "absent upload": NOT_HERE,
    "deleted upload": NOT_HERE,
    "upload of another caller": NOT_HERE,
    "upload of another customer": NOT_HERE,
    "malformed upload": INVALID,
    "absent key": NOT_HERE,
    "malformed key": INVALID,
    "absent erasure": NOT_HERE,
    "malformed erasure": INVALID,
}
# Objects a caller must not be able to tell from one that never existed.
ALIKE = {
    "erased customer": "absent customer",
    "malformed type": "absent type",
    "deleted upload": "absent upload",
    "upload of another caller": "absent upload",
    "upload of another customer": "absent upload",
}


# The same for single operations. An archived type exists for staff alone, and only where it holds
# a file.
EXCEPTIONS: dict[tuple[str, str], Expected] = {
    **{
        (f"{audience}_put_customer", kind): (201, None)
        for audience in ("admin", "integration")
        for kind in ("absent customer", "erased customer")
    },
    **{
        (f"{audience}_delete_customer", "customer being erased"): (202, None)
        for audience in ("admin", "integration")
    },
    ("customer_delete_document", "admin-only type"): (403, "delete-not-allowed"),
    **{
        (f"customer_{operation}", "admin-only type"): STAFF_ALONE
        for operation in ("upload_document", "update_document", "create_upload")
    },
    **{
        (f"{audience}_update_document", "admin-only type"): NO_FIELDS
        for audience in ("admin", "integration")
    },
    ("admin_update_document", "archived type"): NO_FIELDS,
    **{
        (f"{audience}_{verb}_upload", kind): NOT_HERE
        for audience, verb in product(AUDIENCES, ("read", "delete", "complete"))
        for kind in ("admin-only type", "archived type")
        if audience == "admin" or kind == "admin-only type"
    },
    **{
        ("admin_delete_document_type", kind): IN_USE
        for kind in ("used type", "admin-only type", "archived type")
    },
}
WRITES_DOCUMENTS = {"integration_upload_document", "integration_create_upload"}
WRITES_DOCUMENTS |= {"integration_update_document"}
LACK_ADMIN_ONLY = {
    "key with documents:write alone",
    f"key without {Scope.DOCUMENTS_WRITE_ADMIN_ONLY}",
}

# Somebody refused at the door learns nothing of these objects; the many other bad credentials
# are tried on fewer.
AT_THE_DOOR = re.compile("own|B's|absent|malformed|erased|deleted|another customer")
FEWER = re.compile("own|absent")
TRIED_ON_ALL = {"anonymous", "staff", "customer A", "customer B", "key with every scope"}
TRIED_ON_ALL |= {"key without a scope", "key revoked", "expired staff token"}
TRIED_ON_ALL |= {"expired customer token", "staff token for another audience"}


def door(listed: Listed, good: Good, caller: str) -> Expected:
    """Return what a caller meets before any object is looked for."""
    if caller in DOORS:
        return DOORS[caller][AUDIENCES.index(listed.audience)]
    holds = {f"key with {good.scope} alone"} | KEYS - {f"key without {good.scope}"}
    holds -= {f"key with {scope} alone" for scope in Scope if scope != good.scope}
    return ENTERS if caller in holds else NO_SCOPE


def expected(name: str, listed: Listed, caller: str, kind: str) -> Expected:
    """Return what the tables promise."""
    good = GOOD_REQUESTS[name]
    met_first = door(listed, good, caller)
    if met_first != ENTERS:
        return met_first
    if "{upload_id}" in listed.path and caller not in OWNERS and kind in {"own", "B's"}:
        return NOT_HERE
    if name in WRITES_DOCUMENTS and kind == "admin-only type" and caller in LACK_ADMIN_ONLY:
        return NO_SCOPE
    misses = {
        **MISSES,
        "customer being erased": NO_CUSTOMER if listed.method == "GET" else LEAVES,
        "archived type": (good.status, None) if listed.audience == "admin" else NO_TYPE,
    }
    return EXCEPTIONS.get((name, kind)) or misses.get(kind, (good.status, None))


def objects(name: str, listed: Listed, world: World, customer: str) -> Iterator[tuple[str, str]]:
    """Yield every kind of object that an operation can be asked for, with its path."""
    own = good_path(name, world, customer)
    yield "own", own
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(listed.path))
    found = re.fullmatch(pattern, own)
    assert found is not None
    for parameter, kinds in _kinds(listed, world, customer).items():
        for kind, value in kinds.items():
            yield kind, listed.path.format(**found.groupdict() | {parameter: value})
    if "/customers/{id}" in listed.path:
        yield "B's", good_path(name, world, BERT)


def _kinds(listed: Listed, world: World, customer: str) -> dict[str, dict[str, str]]:
    """Return by path parameter the other values it can have."""
    kinds: dict[str, dict[str, str]] = {}
    if "/customers/{id}" in listed.path:
        kinds["id"] = {
            "absent customer": NOBODY,
            "erased customer": GONE,
            "customer being erased": LEAVING,
            "malformed customer": "not%20an%20id",
        }
    if "/api-keys/{id}" in listed.path:
        kinds["id"] = {"revoked key": world.keys["revoked"]}
        kinds["id"] |= {"absent key": UNKNOWN_ID, "malformed key": "x"}
    if "/erasures/{id}" in listed.path:
        kinds["id"] = {"completed erasure": world.erasures[GONE]}
        kinds["id"] |= {"absent erasure": UNKNOWN_ID, "malformed erasure": "x"}
    if "{key}" in listed.path:
        kinds["key"] = {
            "absent type": "nothing",
            "malformed type": "No~Key!",
            "archived type": "old",
            "admin-only type": "report",
        }
    if "/document-types/{key}" in listed.path:
        kinds["key"]["used type"] = "contract"
    if "{upload_id}" in listed.path:
        other = "customer" if listed.audience == "admin" else "admin"
        stranger = ANNA if customer == BERT else BERT
        kinds["upload_id"] = {
            "absent upload": UNKNOWN_ID,
            "malformed upload": "x",
            "deleted upload": world.uploads[listed.audience, f"given up by {customer}"],
            "upload of another caller": world.uploads[other, customer],
            "upload of another customer": world.uploads[listed.audience, stranger],
        }
    return kinds


def met(answer: httpx.Response) -> Expected:
    """Return status and code of an answer."""
    if answer.status_code < 400:
        return answer.status_code, None
    return answer.status_code, answer.json()["code"]


def shape(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all of an answer but the id of the request."""
    request_id = answer.headers["x-request-id"]
    headers = sorted((k, v.replace(request_id, "")) for k, v in answer.headers.items())
    return answer.status_code, answer.content.replace(request_id.encode(), b""), headers


class Rows:
    """What the database holds, without the audit trail, which refusals may add to."""

    def __init__(self, database_url: str) -> None:
        self._tables = Tables(database_url)
        self._start = self._tables.rows()
        with psycopg.connect(database_url) as connection:
            self._ids = {
                customer: [i.encode() for (i,) in connection.execute(ALL_IDS, [customer] * 2)]
                for customer in (ANNA, BERT)
            }

    def bring_back(self) -> None:
        """Undo everything since the beginning."""
        self._tables.bring_back(self._start)

    def changed_tables(self) -> set[str]:
        """Return the tables that are not as in the beginning."""
        now = self._tables.rows()
        return {name for name, rows in self._start.items() if rows != now[name]} - AUDIT_TABLES

    def has_changed_for(self, customer: str) -> bool:
        """Return whether anything of a customer's is not as in the beginning."""
        now = self._tables.rows()
        return self._about(customer, now) != self._about(customer, self._start)

    def _about(self, customer: str, rows: dict[str, list[bytes]]) -> list[bytes]:
        ids = self._ids[customer]
        return [
            row
            for name in sorted(rows.keys() - AUDIT_TABLES)
            for row in rows[name]
            if any(i in row for i in ids)
        ]


AUDIT_TABLES = {"audit_events", "audit_details"}
# An upload of a customer is counted also when it is refused (D18).
COUNTED = {"customer_upload_document", "customer_save_document_batch", "customer_create_upload"}
COUNTS = {"rate_limits"}
# The ids of everything of a customer's.
ALL_IDS = """
WITH c AS (SELECT id FROM customers WHERE external_id = %s),
    d AS (SELECT documents.id FROM documents JOIN c ON customer_id = c.id)
SELECT id::text FROM c UNION SELECT id::text FROM d UNION SELECT %s
UNION SELECT v.id::text FROM document_versions v JOIN d ON document_id = d.id
UNION SELECT b.id::text FROM blobs b JOIN c ON customer_id = c.id
UNION SELECT u.id::text FROM upload_sessions u JOIN c ON customer_id = c.id
"""


class Matrix:
    """Asks and judges the operations of one audience."""

    def __init__(self, http: httpx.AsyncClient, world: World, rows: Rows) -> None:
        self._world = world
        self._rows = rows
        self._clients = {
            name: with_headers(http, dict(headers)) for name, headers in world.callers.items()
        }
        self.findings: list[str] = []
        self.asked = 0

    def check(self, good: bool, *case: object) -> None:
        """Keep a case that is not good."""
        if not good:
            self.findings.append(" | ".join(str(part) for part in case))

    async def refused_at_the_door(
        self, name: str, listed: Listed, callers: Collection[str]
    ) -> None:
        """All kinds of objects are refused alike, and nothing has changed."""
        for caller in callers:
            first = None
            kinds = AT_THE_DOOR if caller in TRIED_ON_ALL else FEWER
            for kind, path in objects(name, listed, self._world, ANNA):
                if not kinds.search(kind):
                    continue
                answer = await self._ask(name, listed, caller, ANNA, path)
                first = first or shape(answer)
                promised = expected(name, listed, caller, kind)
                self.check(met(answer) == promised, name, caller, kind, met(answer))
                self.check(shape(answer) == first, name, caller, kind, "told apart")
                challenged = "www-authenticate" in answer.headers
                self.check(challenged == (answer.status_code == 401), name, "challenge")
        self.check(not self._rows.changed_tables(), name, self._rows.changed_tables())

    async def let_in(self, name: str, listed: Listed, caller: str) -> None:
        """Each kind of object is answered as promised; nobody else's is touched or told."""
        customer = BERT if caller == "customer B" else ANNA
        refusals = {}
        for kind, path in objects(name, listed, self._world, customer):
            about = BERT if kind == "B's" else customer
            answer = await self._ask(name, listed, caller, about, path)
            promised = expected(name, listed, caller, kind)
            self.check(met(answer) == promised, name, caller, kind, met(answer))
            if answer.status_code >= 400:
                refusals[kind] = shape(answer)
                continue
            other = ANNA if about == BERT else BERT
            about_one = listed.audience == "customer" or "/customers/{id}" in listed.path
            if about_one:
                told = other.encode() in answer.content
                self.check(not told, name, caller, kind, "tells of another customer")
            if GOOD_REQUESTS[name].changes:
                touched = about_one and self._rows.has_changed_for(other)
                self.check(not touched, name, caller, kind, "touches another customer")
                self._rows.bring_back()
        for kind, shown in refusals.items():
            like = refusals.get(ALIKE.get(kind, kind), shown)
            self.check(shown == like, name, caller, kind, "told apart from", ALIKE.get(kind))
        changed = self._rows.changed_tables()
        counts = COUNTS & changed if name in COUNTED else set()
        self.check(changed == counts, name, changed)
        if counts:
            self._rows.bring_back()

    async def _ask(
        self, name: str, listed: Listed, caller: str, customer: str, path: str
    ) -> httpx.Response:
        self.asked += 1
        arguments = GOOD_REQUESTS[name].arguments(customer)
        return await self._clients[caller].request(listed.method, path, **arguments)


def test_every_operation_is_classified() -> None:
    assert GOOD_REQUESTS.keys() == OPERATIONS.keys()
    for name, listed in OPERATIONS.items():
        assert (GOOD_REQUESTS[name].scope is not None) == (listed.audience == "integration"), name
        assert str(GOOD_REQUESTS[name].status) in listed.contract["responses"], name


@pytest.mark.req("R-065", "R-112", "R-113")
@pytest.mark.parametrize("audience", AUDIENCES)
async def test_every_caller_gets_what_is_promised_for_every_object(
    audience: str,
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
) -> None:
    world = await build_world(http, issuer, resources)
    assert world.callers.keys() == DOORS.keys() | KEYS
    matrix = Matrix(http, world, Rows(database_url))
    callers = [*DOORS, *(sorted(KEYS) if audience == "integration" else ())]
    for name, listed in OPERATIONS.items():
        if listed.audience != audience:
            continue
        inside = {c for c in callers if door(listed, GOOD_REQUESTS[name], c) == ENTERS}
        assert inside, name
        await matrix.refused_at_the_door(name, listed, [c for c in callers if c not in inside])
        for caller in sorted(inside):
            await matrix.let_in(name, listed, caller)
    assert matrix.findings == []
    assert matrix.asked >= REQUESTS[audience]
