"""P5: the list of one customer's documents, as a front end shows it."""

import itertools
import json
from typing import Any
from urllib.parse import quote

import httpx

from bench import requests, samples
from bench.measure import Contestant, Result, interleave, under_load
from bench.peers.bare_psycopg import bare_psycopg
from bench.peers.directus import Directus, directus
from bench.peers.docvault import Docvault, docvault
from bench.peers.pocketbase import PocketBase, User, pocketbase
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "GET /v1/customer/documents, 10 types, 6 documents, 16 connections"
TARGET = (
    "at least 6 times Directus, 1.5 times PocketBase; "
    "at most 3 times the CPU of a bare psycopg handler"
)
TYPES, FILLED, CUSTOMERS, POCKETBASE_USERS = 10, 6, 100, 20
SIZE_BYTES = 4 * KIBIBYTE
FILENAME = "contract.pdf"
PROPERTIES = {
    "upload_mode": "required",
    "collects_fields": True,
    "field_labels": "Date of issue, Place of issue",
    "instructions": "Both sides, please, and nothing cut off.",
    "accepted_media_types": ["image/jpeg", "image/png", "application/pdf"],
    "max_size_bytes": 10 * 1024 * 1024,
}
VALUES = {"date-of-issue": "2024-05-02", "place-of-issue": "Utrecht"}


def measure(setup: Setup) -> Result:
    """Send the same query to docvault, a bare handler on the same rows, and Directus."""
    result = Result("P5", TITLE, TARGET, "per_second")
    content = samples.pdf(SIZE_BYTES)
    with docvault(setup) as ours, result.peers() as peers:
        ids = fill(ours, content, customers=10 if setup.quick else CUSTOMERS)
        ours.worker.pause()
        all_requests = [
            requests.get("/v1/customer/documents", ours.customer_headers(customer_id))
            for customer_id in ids
        ]
        turn = under_load(
            setup,
            ours.port,
            itertools.cycle(all_requests),
            server=ours.server,
            database=ours.database,
        )
        contestants = [Contestant("docvault", turn)]
        if bare := peers.start("bare psycopg", bare_psycopg(setup, ours.database_url)):
            _require_same_response(ours, bare.port, ids[0])
            all_requests = [requests.get(f"/{customer_id}") for customer_id in ids]
            turn = under_load(
                setup,
                bare.port,
                itertools.cycle(all_requests),
                server=bare.server,
                database=ours.database,
            )
            contestants.append(Contestant("bare psycopg", turn))
        if their := peers.start("directus", directus(setup)):
            _fill_directus(their, content, ids)
            all_requests = [
                requests.get(_query_path(customer_id), their.headers) for customer_id in ids
            ]
            turn = under_load(
                setup,
                their.port,
                itertools.cycle(all_requests),
                server=their.server,
                database=their.database,
            )
            contestants.append(Contestant("directus", turn))
        if base := peers.start("pocketbase", pocketbase(setup)):
            users = _fill_pocketbase(base, content)
            all_requests = [requests.get(f"/api/{_OWN_DOCUMENTS}", user.headers) for user in users]
            turn = under_load(setup, base.port, itertools.cycle(all_requests), server=base.server)
            contestants.append(Contestant("pocketbase", turn))
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "directus", "per_second", at_least=(6, None))
    result.check_ratio("docvault", "pocketbase", "per_second", at_least=(1.5, 3))
    result.check_ratio("docvault", "bare psycopg", "server_cpu_us", at_most=(3, 2))
    if "bare psycopg" in result.rounds:
        needed = result.median("bare psycopg", "server_cpu_us")
        added = result.median("docvault", "server_cpu_us") - needed
        result.notes.append(
            "FastAPI, the guard, domain objects, models, access log and metrics add "
            f"{added:,.0f} µs of CPU to the {needed:,.0f} µs of the bare handler."
        )
    return result


def fill(ours: Docvault, content: bytes, *, customers: int) -> list[str]:
    """Create ten types and upload six documents per customer; return the customers' ids."""
    types, ids = ours.add_types(TYPES, **PROPERTIES), ours.add_customers(customers)
    with ours.client() as client:
        for customer_id, key in itertools.product(ids, types[:FILLED]):
            client.put(
                f"/v1/customer/documents/{key}",
                headers=ours.customer_headers(customer_id),
                files={"file": (FILENAME, content, "application/pdf")},
                data={"field_values": json.dumps(VALUES)},
            ).raise_for_status()
    return ids


def _require_same_response(ours: Docvault, port: int, customer_id: str) -> None:
    """Check that the bare handler returns the same content as docvault."""
    with ours.client() as client:
        expected = client.get(
            "/v1/customer/documents", headers=ours.customer_headers(customer_id)
        ).json()
    response = httpx.get(f"http://127.0.0.1:{port}/{customer_id}").json()
    if response != expected:
        raise AssertionError(f"the bare handler returned {response}, docvault {expected}")


def _fill_pocketbase(base: PocketBase, content: bytes) -> list[User]:
    """Create ten documents per user, six of them with files, which list their types with them."""
    shared = {name: PROPERTIES[name] for name in _SHARED}
    fields = [{"key": name, "label": name, "required": False} for name in VALUES]
    types = [
        base.add_type(
            {
                "key": f"document-{number}",
                "name": f"Document {number}",
                "position": number,
                "max_files": 1,
                "fields": fields,
                **shared,
            }
        )
        for number in range(TYPES)
    ]
    users = [base.add_user() for _ in range(POCKETBASE_USERS)]
    for user, (number, type_id) in itertools.product(users, enumerate(types)):
        values = {"type": type_id, "version": "1", "field_values": json.dumps(VALUES)}
        base.add_document(user, content if number < FILLED else None, **values)
    found = base.send("GET", _OWN_DOCUMENTS, users[0].headers)["items"]
    if [bool(document["file"]) for document in found] != [n < FILLED for n in range(TYPES)]:
        raise AssertionError(f"PocketBase returned {found}")
    return users


_OWN_DOCUMENTS = "collections/documents/records?sort=type.position&expand=type&skipTotal=1"


def _fill_directus(their: Directus, content: bytes, ids: list[str]) -> None:
    """Create the schema of a project on Directus: types, documents of customers, files."""
    types = [
        *_fields("string", "key", "name", "upload_mode"),
        *_fields("text", "instructions"),
        *_fields("json", "accepted_media_types", "fields"),
        *_fields("integer", "max_size_bytes", "max_files", "position"),
    ]
    documents = [
        {"field": "customer", "type": "string", "schema": {"is_indexed": True}, "meta": {}},
        *_fields("integer", "type", "version"),
        *_fields("uuid", "file"),
        *_fields("timestamp", "uploaded_at"),
        *_fields("json", "field_values"),
    ]
    their.create("/collections", _collection("types", types))
    their.create("/collections", _collection("documents", documents))
    alias = {"field": "documents", "type": "alias", "meta": {"special": ["o2m"]}}
    their.create("/fields/types", alias)
    their.create("/relations", _relation("type", "types", {"one_field": "documents"}))
    their.create("/relations", _relation("file", "directus_files", {}))
    for number in range(1, TYPES + 1):
        one = {
            "key": f"document-{number}",
            "name": f"Document {number}",
            "position": number,
            "max_files": 1,
            "fields": [
                {"key": name, "label": name, "kind": "text", "required": False} for name in VALUES
            ],
            **{name: PROPERTIES[name] for name in _SHARED},
        }
        their.create("/items/types", one)
    files = [their.upload(content, FILENAME)["id"] for _ in range(FILLED)]
    for customer_id in ids:
        filled = [
            {
                "customer": customer_id,
                "type": number,
                "version": 1,
                "file": file,
                "uploaded_at": "2026-01-01T00:00:00Z",
                "field_values": VALUES,
            }
            for number, file in enumerate(files, 1)
        ]
        their.create("/items/documents", filled)


_SHARED = ("upload_mode", "instructions", "accepted_media_types", "max_size_bytes")


def _collection(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"collection": name, "schema": {}, "meta": {}, "fields": fields}


def _relation(field: str, to: str, meta: dict[str, str]) -> dict[str, Any]:
    return {
        "collection": "documents",
        "field": field,
        "related_collection": to,
        "schema": {},
        "meta": meta,
    }


def _fields(kind: str, *names: str) -> list[dict[str, Any]]:
    meta = {"special": ["cast-json"]} if kind == "json" else {}
    return [{"field": name, "type": kind, "schema": {}, "meta": meta} for name in names]


def _query_path(customer_id: str) -> str:
    """Return the Directus query for every type with the customer's document."""
    of_type = ("key", "name", *_SHARED, "max_files", "fields")
    of_document = ("version", "uploaded_at", "field_values")
    of_file = ("filename_download", "type", "filesize")
    names = [*of_type, *(f"documents.{name}" for name in of_document)]
    names += [f"documents.file.{name}" for name in of_file]
    deep = json.dumps({"documents": {"_filter": {"customer": {"_eq": customer_id}}}})
    return f"/items/types?sort=position&fields={','.join(names)}&deep={quote(deep)}"
