"""Every operation, requested by every kind of caller for every kind of object (T10).

The operations come from the committed contract, the expected responses from the tables below.
These are written by hand from the specification, not from the code; an operation that is missing
from them fails.
"""

import re
from collections.abc import Collection, Iterator
from itertools import product

import httpx
import psycopg
import pytest
from tests.api.good_requests import GOOD_REQUESTS, Good, Listed, good_path, listed_operations
from tests.api.world import ABSENT, ANNA, AUDIENCES, BERT, GONE, LEAVING, Scenario, build_scenario
from tests.fixtures.callers import with_headers
from tests.fixtures.database import Tables

from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.scopes import Scope
from docvault.services.resources import Resources

# The minimum number of requests, in case a mistake in this file skips some.
REQUESTS = {"admin": 3_400, "customer": 980, "integration": 3_500}
UNKNOWN_ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"
OPERATIONS = listed_operations()

Expected = tuple[int, str | None]

NO_CREDENTIAL = (401, "authentication-required")
BAD_TOKEN = (401, "invalid-token")
BAD_KEY = (401, "invalid-api-key")
NO_SCOPE = (403, "insufficient-scope")
NOT_REGISTERED = (403, "customer-not-registered")
EXPIRED = (401, "token-expired")
ADMITTED = (0, None)

# What a key may call whatever its scopes.
NEEDS_NO_SCOPE = {"integration_read_key"}

# What auditors may read.
FOR_AUDITORS = {"/v1/admin/audit-events", "/v1/admin/events", "/v1/admin/events/{id}"}

# The response of the guard to each caller, by audience: admin, customer, integration.
GUARD_RESPONSES: dict[str, tuple[Expected, Expected, Expected]] = {
    "anonymous": (NO_CREDENTIAL, NO_CREDENTIAL, NO_CREDENTIAL),
    "basic credentials": (NO_CREDENTIAL, NO_CREDENTIAL, NO_CREDENTIAL),
    "staff": (ADMITTED, NO_SCOPE, NO_CREDENTIAL),
    "other staff": (ADMITTED, NO_SCOPE, NO_CREDENTIAL),
    "customer A": (NO_SCOPE, ADMITTED, NO_CREDENTIAL),
    "customer B": (NO_SCOPE, ADMITTED, NO_CREDENTIAL),
    "unknown customer": (NO_SCOPE, NOT_REGISTERED, NO_CREDENTIAL),
    "customer being erased": (NO_SCOPE, NOT_REGISTERED, NO_CREDENTIAL),
    "customer token from before an erasure": (NO_SCOPE, BAD_TOKEN, NO_CREDENTIAL),
    "token without a scope": (NO_SCOPE, NO_SCOPE, NO_CREDENTIAL),
    "auditor": (NO_SCOPE, NO_SCOPE, NO_CREDENTIAL),
    "auditor who is an admin too": (ADMITTED, NO_SCOPE, NO_CREDENTIAL),
    "auditor who is a customer too": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "token with both scopes": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "expired staff token": (EXPIRED, EXPIRED, NO_CREDENTIAL),
    "expired customer token": (EXPIRED, EXPIRED, NO_CREDENTIAL),
    "staff token for another audience": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "customer token for another audience": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token of another issuer": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token signed with an unknown key": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "customer token signed with an unknown key": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "malformed token": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "staff token as a key": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key as a bearer token": (BAD_TOKEN, BAD_TOKEN, NO_CREDENTIAL),
    "key with every scope": (NO_CREDENTIAL, NO_CREDENTIAL, ADMITTED),
    "key without a scope": (NO_CREDENTIAL, NO_CREDENTIAL, NO_SCOPE),
    "key revoked": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key expired": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key with another secret": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "unknown key": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
    "key with a typo": (NO_CREDENTIAL, NO_CREDENTIAL, BAD_KEY),
}
KEYS = {f"key {word}" for scope in Scope for word in (f"with {scope} alone", f"without {scope}")}
# The callers that created the uploads of an audience; to all others they do not exist.
OWNERS = {"staff", "customer A", "customer B", "key with every scope"}

NOT_FOUND = (404, "not-found")
NO_CUSTOMER = (404, "customer-not-found")
NO_TYPE = (404, "document-type-not-found")
INVALID = (422, "validation-error")
BEING_ERASED = (409, "customer-being-erased")
ADMIN_ONLY = (403, "admin-only-document")
NO_FIELDS = (422, "fields-not-enabled")
IN_USE = (409, "document-type-in-use")

# The response to an authorized caller, where it is not the success of the operation.
FAILURES: dict[str, Expected] = {
    "absent customer": NO_CUSTOMER,
    "erased customer": NO_CUSTOMER,
    "malformed customer": INVALID,
    "absent type": NO_TYPE,
    "malformed type": NO_TYPE,
    "absent upload": NOT_FOUND,
    "deleted upload": NOT_FOUND,
    "upload of another caller": NOT_FOUND,
    "upload of another customer": NOT_FOUND,
    "malformed upload": INVALID,
    "absent key": NOT_FOUND,
    "malformed key": INVALID,
    "absent erasure": NOT_FOUND,
    "malformed erasure": INVALID,
    "absent event": NOT_FOUND,
    "malformed event": INVALID,
    "absent webhook": NOT_FOUND,
    "malformed webhook": INVALID,
    "absent delivery": NOT_FOUND,
    "malformed delivery": INVALID,
}
# Objects that a caller must not be able to distinguish from one that never existed.
EQUIVALENT = {
    "erased customer": "absent customer",
    "malformed type": "absent type",
    "deleted upload": "absent upload",
    "upload of another caller": "absent upload",
    "upload of another customer": "absent upload",
}


# The same for single operations. An archived type exists only for staff, and only where it has
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
        (f"customer_{operation}", "admin-only type"): ADMIN_ONLY
        for operation in (
            "upload_document",
            "update_document",
            "add_file",
            "remove_file",
            "create_upload",
            "complete_upload",
        )
    },
    # The other types accept one file, and have it.
    **{
        (f"{audience}_{verb}_file", kind): refusal
        for audience, kind in (
            ("admin", "admin-only type"),
            ("admin", "archived type"),
            ("integration", "admin-only type"),
        )
        for verb, refusal in (("add", (422, "too-many-files")), ("remove", (404, "file-not-found")))
    },
    **{
        (f"{audience}_update_document", "admin-only type"): NO_FIELDS
        for audience in ("admin", "integration")
    },
    ("admin_update_document", "archived type"): NO_FIELDS,
    **{
        (f"{audience}_{verb}_upload", kind): NOT_FOUND
        for audience, verb in product(AUDIENCES, ("read", "delete", "complete"))
        for kind in ("admin-only type", "archived type")
        if audience == "admin" or kind == "admin-only type"
        # Completing is a write, which customers may not do here.
        if (audience, verb) != ("customer", "complete")
    },
    **{
        ("admin_delete_document_type", kind): IN_USE
        for kind in ("used type", "admin-only type", "archived type")
    },
}
WRITES_DOCUMENTS = {"integration_upload_document", "integration_create_upload"}
WRITES_DOCUMENTS |= {"integration_update_document", "integration_complete_upload"}
WRITES_DOCUMENTS |= {"integration_add_file", "integration_remove_file"}
LACK_ADMIN_ONLY = {
    "key with documents:write alone",
    f"key without {Scope.DOCUMENTS_WRITE_ADMIN_ONLY}",
}

# A caller that the guard rejects learns nothing about these objects; the many other invalid
# credentials are tried on fewer.
TRIED_WHEN_REJECTED = re.compile("own|B's|absent|malformed|erased|deleted|another customer")
FEWER = re.compile("own|absent")
TRIED_ON_ALL = {"anonymous", "staff", "customer A", "customer B", "key with every scope"}
TRIED_ON_ALL |= {"auditor", "key without a scope", "key revoked", "expired staff token"}
TRIED_ON_ALL |= {"expired customer token", "staff token for another audience"}


def guard_response(listed: Listed, good: Good, caller: str) -> Expected:
    """Return the response before any object is looked up."""
    if caller == "auditor" and listed.path in FOR_AUDITORS:
        return ADMITTED
    if caller in GUARD_RESPONSES:
        return GUARD_RESPONSES[caller][AUDIENCES.index(listed.audience)]
    holds = {f"key with {good.scope} alone"} | KEYS - {f"key without {good.scope}"}
    holds -= {f"key with {scope} alone" for scope in Scope if scope != good.scope}
    return ADMITTED if caller in holds else NO_SCOPE


def expected(name: str, listed: Listed, caller: str, kind: str) -> Expected:
    """Return the response according to the tables."""
    good = GOOD_REQUESTS[name]
    at_guard = guard_response(listed, good, caller)
    if at_guard == NO_SCOPE and name in NEEDS_NO_SCOPE and caller.startswith("key "):
        at_guard = ADMITTED
    if at_guard != ADMITTED:
        return at_guard
    if "{upload_id}" in listed.path and caller not in OWNERS and kind in {"own", "B's"}:
        return NOT_FOUND
    if name in WRITES_DOCUMENTS and kind == "admin-only type" and caller in LACK_ADMIN_ONLY:
        return NO_SCOPE
    failures = {
        **FAILURES,
        "customer being erased": NO_CUSTOMER if listed.method == "GET" else BEING_ERASED,
        "archived type": (good.status, None) if listed.audience == "admin" else NO_TYPE,
    }
    return EXCEPTIONS.get((name, kind)) or failures.get(kind, (good.status, None))


def objects(
    name: str, listed: Listed, scenario: Scenario, customer: str
) -> Iterator[tuple[str, str]]:
    """Yield every kind of object that an operation can be requested for, with its path."""
    own = good_path(name, scenario, customer)
    yield "own", own
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(listed.path))
    found = re.fullmatch(pattern, own)
    assert found is not None
    for parameter, kinds in _kinds(listed, scenario, customer).items():
        for kind, value in kinds.items():
            yield kind, listed.path.format(**found.groupdict() | {parameter: value})
    if "/customers/{id}" in listed.path:
        yield "B's", good_path(name, scenario, BERT)


def _kinds(listed: Listed, scenario: Scenario, customer: str) -> dict[str, dict[str, str]]:
    """Return the other values of each path parameter."""
    kinds: dict[str, dict[str, str]] = {}
    if "/customers/{id}" in listed.path:
        kinds["id"] = {
            "absent customer": ABSENT,
            "erased customer": GONE,
            "customer being erased": LEAVING,
            "malformed customer": "not%20an%20id",
        }
    if "/api-keys/{id}" in listed.path:
        kinds["id"] = {"revoked key": scenario.keys["revoked"]}
        kinds["id"] |= {"absent key": UNKNOWN_ID, "malformed key": "x"}
    if "/erasures/{id}" in listed.path:
        kinds["id"] = {"completed erasure": scenario.erasures[GONE]}
        kinds["id"] |= {"absent erasure": UNKNOWN_ID, "malformed erasure": "x"}
    if "/events/{id}" in listed.path:
        kinds["id"] = {"absent event": UNKNOWN_ID, "malformed event": "x"}
    if "/webhooks/{id}" in listed.path:
        kinds["id"] = {"absent webhook": UNKNOWN_ID, "malformed webhook": "x"}
    if "{delivery_id}" in listed.path:
        kinds["delivery_id"] = {"absent delivery": UNKNOWN_ID, "malformed delivery": "x"}
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
        other_customer = ANNA if customer == BERT else BERT
        kinds["upload_id"] = {
            "absent upload": UNKNOWN_ID,
            "malformed upload": "x",
            "deleted upload": scenario.uploads[listed.audience, f"cancelled by {customer}"],
            "upload of another caller": scenario.uploads[other, customer],
            "upload of another customer": scenario.uploads[listed.audience, other_customer],
        }
    return kinds


def outcome(response: httpx.Response) -> Expected:
    """Return status and code of a response."""
    if response.status_code < 400:
        return response.status_code, None
    return response.status_code, response.json()["code"]


def shape(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return the whole response except the request id."""
    request_id = response.headers["x-request-id"]
    # What is left of the limit becomes less with each request, whatever it is about.
    same = {name: text for name, text in response.headers.items() if name != "ratelimit"}
    headers = sorted((name, text.replace(request_id, "")) for name, text in same.items())
    return response.status_code, response.content.replace(request_id.encode(), b""), headers


class Rows:
    """The rows of the database, without the audit trail, which denials may add to."""

    def __init__(self, database_url: str) -> None:
        self._tables = Tables(database_url)
        self._start = self._tables.rows()
        with psycopg.connect(database_url) as connection:
            self._ids = {
                customer: [i.encode() for (i,) in connection.execute(ALL_IDS, [customer] * 2)]
                for customer in (ANNA, BERT)
            }

    def restore(self) -> None:
        """Restore the initial rows."""
        self._tables.restore(self._start)

    def changed_tables(self) -> set[str]:
        """Return the tables that differ from the initial rows."""
        now = self._tables.rows()
        return {name for name, rows in self._start.items() if rows != now[name]} - AUDIT_TABLES

    def has_changed_for(self, customer: str) -> bool:
        """Return whether any row of a customer has changed."""
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
# A customer's upload is counted even when it is rejected.
COUNTED = {"customer_upload_document", "customer_save_document_batch", "customer_create_upload"}
COUNTED |= {"customer_complete_upload", "customer_update_document"}
COUNTED |= {"customer_add_file", "customer_remove_file"}
COUNTS = {"rate_limits"}
# The ids of all rows of a customer.
ALL_IDS = """
WITH c AS (SELECT id FROM customers WHERE external_id = %s),
    d AS (SELECT documents.id FROM documents JOIN c ON customer_id = c.id)
SELECT id::text FROM c UNION SELECT id::text FROM d UNION SELECT %s
UNION SELECT v.id::text FROM document_versions v JOIN d ON document_id = d.id
UNION SELECT b.id::text FROM blobs b JOIN c ON customer_id = c.id
UNION SELECT u.id::text FROM upload_sessions u JOIN c ON customer_id = c.id
"""


class Matrix:
    """Sends the requests of one audience and checks the responses."""

    def __init__(self, http: httpx.AsyncClient, scenario: Scenario, rows: Rows) -> None:
        self._world = scenario
        self._rows = rows
        self._clients = {
            name: with_headers(http, dict(headers)) for name, headers in scenario.callers.items()
        }
        self.findings: list[str] = []
        self.sent = 0

    def check(self, good: bool, *case: object) -> None:
        """Record a case that failed."""
        if not good:
            self.findings.append(" | ".join(str(part) for part in case))

    async def check_rejected(self, name: str, listed: Listed, callers: Collection[str]) -> None:
        """Check that the rejection does not depend on the object, and that nothing changed."""
        for caller in callers:
            first = None
            kinds = TRIED_WHEN_REJECTED if caller in TRIED_ON_ALL else FEWER
            for kind, path in objects(name, listed, self._world, ANNA):
                if not kinds.search(kind):
                    continue
                response = await self._send(name, listed, caller, ANNA, path)
                first = first or shape(response)
                wanted = expected(name, listed, caller, kind)
                self.check(outcome(response) == wanted, name, caller, kind, outcome(response))
                self.check(shape(response) == first, name, caller, kind, "distinguishable")
                challenged = "www-authenticate" in response.headers
                self.check(challenged == (response.status_code == 401), name, "challenge")
        self.check(not self._rows.changed_tables(), name, self._rows.changed_tables())

    async def check_authorized(self, name: str, listed: Listed, caller: str) -> None:
        """Check the responses, and that no other customer is changed or disclosed."""
        customer = BERT if caller == "customer B" else ANNA
        rejections = {}
        for kind, path in objects(name, listed, self._world, customer):
            about = BERT if kind == "B's" else customer
            response = await self._send(name, listed, caller, about, path)
            wanted = expected(name, listed, caller, kind)
            self.check(outcome(response) == wanted, name, caller, kind, outcome(response))
            if response.status_code >= 400:
                rejections[kind] = shape(response)
                continue
            other = ANNA if about == BERT else BERT
            about_one = listed.audience == "customer" or "/customers/{id}" in listed.path
            if about_one:
                disclosed = other.encode() in response.content
                self.check(not disclosed, name, caller, kind, "discloses another customer")
            if GOOD_REQUESTS[name].changes:
                touched = about_one and self._rows.has_changed_for(other)
                self.check(not touched, name, caller, kind, "changes another customer")
                self._rows.restore()
        for kind, shown in rejections.items():
            like = rejections.get(EQUIVALENT.get(kind, kind), shown)
            self.check(shown == like, name, caller, kind, "differs from", EQUIVALENT.get(kind))
        changed = self._rows.changed_tables()
        counts = COUNTS & changed if name in COUNTED else set()
        self.check(changed == counts, name, changed)
        if counts:
            self._rows.restore()

    async def _send(
        self, name: str, listed: Listed, caller: str, customer: str, path: str
    ) -> httpx.Response:
        self.sent += 1
        arguments = GOOD_REQUESTS[name].arguments(customer)
        return await self._clients[caller].request(listed.method, path, **arguments)


def test_every_operation_is_classified() -> None:
    assert GOOD_REQUESTS.keys() == OPERATIONS.keys()
    for name, listed in OPERATIONS.items():
        needs_scope = listed.audience == "integration" and name not in NEEDS_NO_SCOPE
        assert (GOOD_REQUESTS[name].scope is not None) == needs_scope, name
        assert str(GOOD_REQUESTS[name].status) in listed.contract["responses"], name


@pytest.mark.req("R-065", "R-112", "R-113", "B-255")
@pytest.mark.parametrize("audience", AUDIENCES)
async def test_every_caller_gets_expected_access_to_every_object(
    audience: str,
    http: httpx.AsyncClient,
    issuer: LocalIssuer,
    resources: Resources,
    database_url: str,
) -> None:
    scenario = await build_scenario(http, issuer, resources)
    assert scenario.callers.keys() == GUARD_RESPONSES.keys() | KEYS
    matrix = Matrix(http, scenario, Rows(database_url))
    callers = [*GUARD_RESPONSES, *(sorted(KEYS) if audience == "integration" else ())]
    for name, listed in OPERATIONS.items():
        if listed.audience != audience:
            continue
        inside = {c for c in callers if guard_response(listed, GOOD_REQUESTS[name], c) == ADMITTED}
        assert inside, name
        await matrix.check_rejected(name, listed, [c for c in callers if c not in inside])
        for caller in sorted(inside):
            await matrix.check_authorized(name, listed, caller)
    assert matrix.findings == []
    assert matrix.sent >= REQUESTS[audience]
