"""Two customers with data of every kind, and every kind of credential."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.factories.webhooks import make_webhook
from tests.fixtures.callers import with_headers

from docvault.auth import api_keys
from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.scopes import ADMIN_SCOPE, AUDITOR_SCOPE, CUSTOMER_SCOPE, Scope
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

# Every value of a customer contains that customer's name; ids and digests cannot.
ANNA, BERT = "customer-anna", "customer-bert"
LEAVING, GONE, BACK, ABSENT = "customer-leaving", "customer-gone", "customer-back", "customer-x"
AUDIENCES = ("admin", "customer", "integration")

Headers = Mapping[str, str]
EXPIRE = "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"
UNSCOPE = "UPDATE api_keys SET scopes = '{}' WHERE id = :id"
# Uses are recorded once a minute; from here on never, so that rows can be compared.
NO_USE = "UPDATE api_keys SET last_used_at = now() + interval '1 day'"

# The id of the event log, so that cursors are known.
LOG = UUID("0197aa6c-2f4e-7d11-8b5f-2c9d0e1f2a3b")
NUMBER_LOG = "UPDATE event_log SET log = :log"
# An address that is refused before anything is sent.
NO_ADDRESS = "UPDATE webhooks SET url = 'http://localhost/'"
DELIVERY = """
    INSERT INTO webhook_deliveries (id, webhook_id, position, event_id, type)
    SELECT gen_random_uuid(), :webhook, 0, id, type FROM events
    WHERE type = 'document_type.created' LIMIT 1
    RETURNING id
"""


@dataclass(slots=True)
class Scenario:
    """The existing objects, by the names that the tests use."""

    callers: dict[str, Headers]
    # Ids: of upload sessions by audience and customer, of keys and erasures by name.
    uploads: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    erasures: dict[str, str] = field(default_factory=dict)
    # The id of the oldest event.
    event: str = ""
    webhook: str = ""
    delivery: str = ""


async def build_scenario(
    http: httpx.AsyncClient, issuer: LocalIssuer, resources: Resources
) -> Scenario:
    """Create everything over HTTP, as staff, customers and a third party."""
    tokens = _Tokens(issuer)
    scenario = Scenario(callers={})
    admin = with_headers(http, bearer(issuer.admin_token("staff-1")))
    await _make_types(admin)
    old = issuer.customer_token(BACK)
    for customer in (ANNA, BERT, LEAVING, GONE, BACK):
        await make_customer(admin, customer, name=customer, email=f"{customer}@example.org")
    await _make_keys(admin, scenario)
    scenario.callers |= tokens.headers() | {"customer token from before an erasure": bearer(old)}
    await _erase(admin, resources, scenario)
    for customer in (ANNA, BERT):
        await _fill(http, scenario, customer)
    await patch_type(admin, "old", archived=True)
    await patch_portal(admin, customer_may_delete=True)
    events = await admin.get("/v1/admin/events", params={"limit": 1})
    scenario.event = events.json()["items"][0]["id"]
    async with resources.database.transaction() as session:
        await session.execute(text(EXPIRE), {"id": scenario.keys["expired"]})
        await session.execute(text(UNSCOPE), {"id": scenario.keys["without a scope"]})
        await session.execute(text(NO_USE))
        await session.execute(text(NUMBER_LOG), {"log": LOG})
    await _make_webhook(admin, resources, scenario)
    return scenario


def bearer(token: str) -> dict[str, str]:
    """Return the headers for a bearer token."""
    return {"Authorization": f"Bearer {token}"}


def document_path(audience: str, customer: str, key: str) -> str:
    """Return the path of a customer's document in an audience's API."""
    middle = "" if audience == "customer" else f"/customers/{customer}"
    return f"/v1/{audience}{middle}/documents/{key}"


def upload_request(customer: str) -> dict[str, Any]:
    """Return the request body that reserves `upload_bytes`."""
    body = upload_bytes(customer)
    digest = hashlib.sha256(body).hexdigest()
    return {"filename": f"{customer}.pdf", "size_bytes": len(body), "sha256": digest}


def upload_bytes(customer: str) -> bytes:
    """Return a file whose content names the customer."""
    return files.pdf(f"of {customer}")


async def _make_types(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract", collects_fields=True, field_labels="Signed by", max_files=3)
    for name in ("Passport", "Old", "Spare"):
        await make_type(admin, name)
    await make_type(admin, "Report", upload_mode="admin_only")


async def _make_keys(admin: httpx.AsyncClient, scenario: Scenario) -> None:
    every = [scope.value for scope in Scope]
    made = {"with every scope": every, "without a scope": [], "revoked": every, "expired": every}
    made |= {f"without {scope}": [s for s in every if s != scope] for scope in every}
    made |= {f"with {scope} alone": [scope] for scope in every}
    for name, scopes in made.items():
        # A key without scopes cannot be created; its scopes are removed below.
        data = {"name": name, "scopes": scopes or every}
        response = await admin.post("/v1/admin/api-keys", json=data)
        assert response.status_code == 201, response.text
        scenario.keys[name] = response.json()["id"]
        scenario.callers[f"key {name}"] = {"X-API-Key": response.json()["key"]}
    await admin.delete(f"/v1/admin/api-keys/{scenario.keys['revoked']}")
    good = scenario.callers["key with every scope"]["X-API-Key"]
    body = f"{good[:17]}{api_keys.generate_key()[1].secret}"
    scenario.callers |= {
        "key with another secret": {"X-API-Key": body + api_keys._compute_checksum(body)},
        "unknown key": {"X-API-Key": api_keys.generate_key()[0]},
        "key with a typo": {"X-API-Key": good[:-1] + ("x" if good[-1] != "x" else "y")},
        "key as a bearer token": bearer(good),
    }


async def _make_webhook(admin: httpx.AsyncClient, resources: Resources, scenario: Scenario) -> None:
    scenario.webhook = (await make_webhook(admin))["id"]
    async with resources.database.transaction() as session:
        await session.execute(text(NO_ADDRESS))
        made = await session.execute(text(DELIVERY), {"webhook": scenario.webhook})
        scenario.delivery = str(made.scalar_one())


async def _erase(admin: httpx.AsyncClient, resources: Resources, scenario: Scenario) -> None:
    for customer in (GONE, BACK):
        response = await admin.delete(f"/v1/admin/customers/{customer}")
        scenario.erasures[customer] = response.headers["location"].rpartition("/")[2]
    await finish_erasures(resources)
    response = await admin.delete(f"/v1/admin/customers/{LEAVING}")
    scenario.erasures[LEAVING] = response.headers["location"].rpartition("/")[2]
    await make_customer(admin, BACK)


async def _fill(http: httpx.AsyncClient, scenario: Scenario, customer: str) -> None:
    """Upload every document, open a session for each audience, and send its bytes."""
    caller = "customer A" if customer == ANNA else "customer B"
    clients = {
        "customer": with_headers(http, dict(scenario.callers[caller])),
        "admin": with_headers(http, dict(scenario.callers["staff"])),
        "integration": with_headers(http, dict(scenario.callers["key with every scope"])),
    }
    for key in ("contract", "passport", "old", "report"):
        audience = "admin" if key == "report" else "customer"
        values = {"field_values": json.dumps({"signed-by": customer})} if key == "contract" else {}
        response = await clients[audience].put(
            document_path(audience, customer, key),
            **upload_of(upload_bytes(customer), f"{customer}.pdf", **values),
        )
        assert response.status_code == 201, response.text
    added = await clients["customer"].post(
        f"{document_path('customer', customer, 'contract')}/files",
        **upload_of(upload_bytes(customer), f"{customer}.pdf"),
    )
    assert added.status_code == 201, added.text
    for audience, client in clients.items():
        path = f"{document_path(audience, customer, 'contract')}/uploads"
        for name in (customer, f"cancelled by {customer}"):
            opened = await client.post(path, json=upload_request(customer))
            assert opened.status_code == 201, opened.text
            session = opened.json()
            scenario.uploads[audience, name] = session["id"]
            sent = await send_bytes(http, session, upload_bytes(customer))
            assert sent.is_success, sent.text
        await client.delete(f"{path}/{session['id']}")


class _Tokens:
    """Valid and invalid tokens of the local issuer."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self._issuer = issuer

    def headers(self) -> dict[str, Headers]:
        staff: dict[str, Any] = {"scope": ADMIN_SCOPE}
        customer: dict[str, Any] = {"scope": CUSTOMER_SCOPE, "sub": ANNA}
        past = {"iat": int(time.time()) - 4000, "exp": int(time.time()) - 400}
        good = self._token(**staff)
        unknown_key = ECKey.generate_key("P-256")
        made = {
            "staff": good,
            "other staff": self._token(**staff, sub="staff-2"),
            "customer A": self._token(**customer),
            "customer B": self._token(**customer | {"sub": BERT}),
            "unknown customer": self._token(**customer | {"sub": ABSENT}),
            "customer being erased": self._token(**customer | {"sub": LEAVING}),
            "token without a scope": self._token(scope=""),
            "auditor": self._token(scope=AUDITOR_SCOPE, sub="auditor-1"),
            "auditor who is an admin too": self._token(
                scope=f"{AUDITOR_SCOPE} {ADMIN_SCOPE}", sub="auditor-1"
            ),
            "auditor who is a customer too": self._token(scope=f"{AUDITOR_SCOPE} {CUSTOMER_SCOPE}"),
            "token with both scopes": self._token(scope=f"{ADMIN_SCOPE} {CUSTOMER_SCOPE}"),
            "expired staff token": self._token(**staff | past),
            "expired customer token": self._token(**customer | past),
            "staff token for another audience": self._token(**staff, aud="portal"),
            "customer token for another audience": self._token(**customer, aud="portal"),
            "staff token of another issuer": self._token(**staff, iss="https://idp.example"),
            "staff token signed with an unknown key": self._token(**staff, key=unknown_key),
            "customer token signed with an unknown key": self._token(**customer, key=unknown_key),
            "malformed token": "a.b.c",
        }
        return {
            "anonymous": {},
            "basic credentials": {"Authorization": "Basic c3RhZmY6c3RhZmY="},
            "staff token as a key": {"X-API-Key": good},
            **{name: bearer(token) for name, token in made.items()},
        }

    def _token(self, key: ECKey | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self._issuer.issuer, "aud": "docvault", "sub": "staff-1"}
        claims |= {"iat": now, "exp": now + 3600} | changes
        own = self._issuer._key
        header = {"alg": "ES256", "typ": "at+jwt", "kid": own.kid}
        return jwt.encode(header, claims, key or own, algorithms=["ES256"])
