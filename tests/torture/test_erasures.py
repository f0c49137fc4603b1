"""Erasure removes everything, even if killed midway; others lose nothing (T60)."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_type
from tests.factories.webhooks import make_webhook
from tests.fixtures.postgres_programs import postgres_program
from tests.fixtures.seaweedfs import BUCKET, S3Server
from tests.fixtures.sockets import free_port
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.model import Change, Content, Findings, Ledger, read, stored
from tests.torture.settling import Settler, settler_of

pytestmark = pytest.mark.torture

VERSIONS = 3
PREVIEW_EVERY = 5
OTHERS = 3
STEPS = {"filesystem": "unlink", "s3": "S3 DeleteObject"}


@dataclass(slots=True)
class Canary:
    """A customer whose every field, file and header contains one word."""

    client: httpx.AsyncClient
    documents: int
    word: str = field(default_factory=lambda: f"canary-{token_hex(6)}")
    previews: int = 0

    @property
    def path(self) -> str:
        """The customer's path in the admin API."""
        return f"/v1/admin/customers/{self.word}"

    async def store_word(self) -> None:
        """Store the word wherever a customer can store something."""
        word = self.word
        known = {"name": f"N {word}", "email": f"{word}@example.org", "tags": [word]}
        assert (await self.client.put(self.path, json=known)).status_code == 201
        for number in range(self.documents):
            await self._fill(f"{self.path}/documents/type-{number}", number)
        await self._send_by_session(f"{self.path}/documents/type-0")
        response = await self.client.get("/v1/admin/customers", params={"q": word})
        assert [item["id"] for item in response.json()["items"]] == [word]
        # Gives the events their positions, and with these the deliveries to the webhook.
        assert (await self.client.get("/v1/admin/events")).status_code == 200

    async def _fill(self, path: str, number: int) -> None:
        for version in range(VERSIONS):
            body = files.pdf(f"{self.word} {number} {version}", pages=2)
            headers = {"Idempotency-Key": f"{self.word}-{number}-{version}"}
            await self._put(path, body, headers)
        response = await self.client.patch(path, json={"field_values": {"note": self.word * 2}})
        assert response.status_code == 200, response.text
        assert (await self.client.get(f"{path}/content")).status_code == 200
        if number % PREVIEW_EVERY == 0:
            for page in (1, 2):
                query = {"size": "small", "page": page}
                response = await self.client.get(f"{path}/preview", params=query)
                assert response.status_code == 200, response.text
                self.previews += 1

    async def _put(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        response = await self.client.put(
            path,
            files={"file": (f"{self.word}.pdf", body, "application/pdf")},
            data={"field_values": json.dumps({"note": self.word})},
            headers={"User-Agent": self.word, **headers},
        )
        assert response.status_code in {200, 201}, response.text

    async def _send_by_session(self, path: str) -> None:
        body = files.pdf(f"{self.word} by session")
        content = Content(body, f"{self.word}.pdf", "application/pdf")
        declared = {
            "filename": content.filename,
            "size_bytes": len(body),
            "sha256": content.sha256,
        }
        session = (await self.client.post(f"{path}/uploads", json=declared)).json()
        url = session["url"]
        if urlsplit(url).path.startswith("/uploads/"):
            url = str(self.client.base_url.join(urlsplit(url).path))
        async with httpx.AsyncClient(trust_env=False, timeout=30) as anyone:
            response = await anyone.put(url, content=body, headers=session["headers"])
        assert response.is_success, response.text
        done = await self.client.post(f"{path}/uploads/{session['id']}/complete")
        assert done.status_code == 200, done.text


class Search:
    """Searches for a word in everything that a deployment stores."""

    def __init__(self, deployment: Deployment, server: S3Server | None) -> None:
        self._deployment = deployment
        self._server = server

    def describe_blobs(self, word: str) -> set[str]:
        """Return where the word occurs, as text or as bytes of a binary column."""
        needles = (word.encode(), word.encode().hex().encode())
        return {
            place.split("/")[0]
            for place, body in self._everything()
            if any(needle in body.lower() for needle in needles) or word in place
        }

    def _everything(self) -> Iterator[tuple[str, bytes]]:
        yield "database", postgres_program("pg_dump", self._deployment.database_url)
        yield "log", self._deployment.log_text().encode()
        root = self._deployment.data_dir
        for path in root.rglob("*"):
            if path.is_file():
                place = "spool" if ".spool" in path.parts else "files"
                yield f"{place}/{path.relative_to(root)}", path.read_bytes()
        if self._server is not None:
            client = self._server.client()
            prefix = urlsplit(self._deployment.environment["DOCVAULT_STORAGE_URL"]).path[1:]
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
            for page in pages:
                for item in page.get("Contents", []):
                    response = client.get_object(Bucket=BUCKET, Key=item["Key"])
                    yield f"files/{item['Key']}", response["Body"].read()


async def fill_others(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """Give other customers a document each of two types."""
    for number in range(OTHERS):
        customer = f"other-{number}"
        assert (await client.put(f"/v1/admin/customers/{customer}", json={})).is_success
        for key in ("type-0", "type-1"):
            document = ledger.document(customer, key)
            content = Content(files.pdf(f"{customer} {key}"), f"{key}.pdf", "application/pdf")
            document.doubt = Change(stored(content))
            part = (content.filename, content.body)
            assert (await client.put(document.path, files={"file": part})).status_code == 201
            document.confirm()


async def erase_with_a_kill(
    deployment: Deployment, settler: Settler, canary: Canary, step: str, call: int
) -> tuple[dict[str, Any], bool]:
    """Erase, killing the worker at one of its deletions; return the erasure and whether it died."""
    response = await canary.client.delete(canary.path)
    assert response.status_code == 202, response.text
    armed = deployment.folder / "armed"
    armed.touch()
    worker = deployment.start_worker(
        {"armed": str(armed), "name": step, "call": call, "before": bool(call % 2)}
    )
    died = worker.wait() == -9
    armed.unlink()
    await settler.settle()
    return await read(canary.client, response.headers["location"]), died


@pytest.mark.guarantee(
    "T60",
    promise="An erased customer leaves no trace, and no other customer loses anything.",
    tried="A customer has one random word in its id, name, e-mail address, tags, field values, "
    "file names, file contents, idempotency keys, headers and a search, with three versions of "
    "each document, previews, and an upload through a session. A webhook, whose receiver does not "
    "respond, gets every event. Staff erase the customer; the "
    "worker receives SIGKILL at a random deletion, and the next worker continues. The word is "
    "then searched for in a dump of the database, in every file and object, in the spool and in "
    "every log; before the erasure the same search must find it in the first two. The documents "
    "of three other customers are read back.",
    not_shown="Free pages of the database's files and of the store that are not yet overwritten; "
    "backups.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
async def test_erased_customer_leaves_no_trace(
    store: str,
    request: pytest.FixtureRequest,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    documents, rounds = size.of(ci=3, full=50), size.of(ci=2, full=20)
    deployment = make_deployment(
        store,
        DOCVAULT_WORKER="external",
        DOCVAULT_LOG_LEVEL="info",
        DOCVAULT_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    server = request.getfixturevalue("s3_server") if store == "s3" else None
    search, ledger, findings, chance = (
        Search(deployment, server),
        Ledger(),
        Findings(),
        random.Random(0),
    )
    previews = traces = kills = 0
    async with settler_of(deployment) as settler:
        client = deployment.start()
        for number in range(documents):
            await make_type(client, f"Type {number}", collects_fields=True, field_labels="Note")
        await make_webhook(client, url=f"http://127.0.0.1:{free_port()}/")
        await fill_others(client, ledger)
        for _ in range(rounds):
            canary = Canary(client, documents)
            await canary.store_word()
            assert search.describe_blobs(canary.word) == {"database", "files"}
            call = chance.randint(1, documents * VERSIONS)
            erasure, died = await erase_with_a_kill(deployment, settler, canary, STEPS[store], call)
            assert erasure["state"] == "completed"
            kills += died
            previews += canary.previews
            found = search.describe_blobs(canary.word)
            traces += len(found)
            for place in found:
                findings.add("traces", f"{canary.word} in {place}")
            await ledger.check_documents(client, findings)
        events = (await client.get("/v1/admin/audit-events?action=customer.erase")).json()["items"]
    audited = [
        e for e in events if e["actor"]["id"] == "staff-1" and e["customer"].startswith("anon-")
    ]
    figures["customers erased"] = rounds
    figures["versions per customer"] = documents * VERSIONS + 1
    figures["previews in total"] = previews
    figures["kills during the deletions"] = kills
    figures["erasures not completed"] = 0
    figures["places with a trace"] = traces
    figures["other customers' documents lost or changed"] = (
        findings.counts["lost"] + findings.counts["changed"]
    )
    figures["erasures in the audit trail, under a pseudonym"] = len(audited)
    assert not findings, "\n".join(findings.details[:20])
    assert (kills, len(audited)) == (rounds, rounds)
