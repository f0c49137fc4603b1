"""PocketBase, what many take instead of a larger backend: users, rules, records and files."""

import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.processes import NotStarted, Tree, free_port, responses, running
from bench.setup import Missing, Setup

# From its wheel, which has no module.
PROGRAM = Path(sys.executable).with_name("pocketbase")
MAIL, PASSWORD = "bench@example.org", "bench-password"
TOKEN_SECONDS = 12 * 3600
OWN = "owner = @request.auth.id"
SIGNED_IN = "@request.auth.id != ''"


@dataclass(frozen=True, slots=True)
class User:
    """A user with the headers of their requests."""

    id: str
    headers: dict[str, str]


@dataclass(slots=True)
class PocketBase:
    """A running PocketBase; its collections are `types`, `documents` and its own `users`."""

    port: int
    server: Tree
    headers: dict[str, str]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(self, method: str, path: str, headers: Mapping[str, str], **content: Any) -> Any:
        """Send a request of the set-up; return the response's JSON."""
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        response = httpx.request(method, url, headers=headers, timeout=60, **content)
        if response.is_error:
            raise NotStarted(f"PocketBase rejected {path}: {response.text}")
        return response.json()

    def add_user(self) -> User:
        """Create a user; signing in costs a password hash, so it is done once."""
        mail = f"u{next(self._numbers)}@example.org"
        secret = {"password": PASSWORD, "passwordConfirm": PASSWORD}
        records = "collections/users/records"
        user = self.send("POST", records, self.headers, json={"email": mail, **secret})
        return User(user["id"], self._sign_in("users", mail))

    def add_type(self, properties: Mapping[str, Any]) -> str:
        """Create a document type; return its id."""
        created = self.send("POST", "collections/types/records", self.headers, json=properties)
        type_id: str = created["id"]
        return type_id

    def add_document(self, user: User, content: bytes | None, **values: str) -> str:
        """Create a document of a user, with or without a file; return the path of the file."""
        files = {"file": ("contract.pdf", content, "application/pdf")} if content else None
        record = self.send(
            "POST",
            "collections/documents/records",
            user.headers,
            data={"owner": user.id, **values},
            files=files,
        )
        return f"/api/files/documents/{record['id']}/{record['file']}"

    def file_token(self, user: User) -> str:
        """Return what opens the protected files of a user."""
        token: str = self.send("POST", "files/token", user.headers)["token"]
        return token

    def _sign_in(self, collection: str, mail: str) -> dict[str, str]:
        path = f"collections/{collection}/auth-with-password"
        token = self.send("POST", path, {}, json={"identity": mail, "password": PASSWORD})["token"]
        return {"Authorization": token}

    def create_collections(self) -> None:
        """Create the schema of a project: types, and documents that only their owners reach."""
        self.headers = self._sign_in("_superusers", MAIL)
        long = {"duration": TOKEN_SECONDS}
        tokens = {"fileToken": long, "authToken": long}
        users = self.send("PATCH", "collections/users", self.headers, json=tokens)
        types = self._create(
            "types",
            {"listRule": SIGNED_IN, "viewRule": SIGNED_IN},
            _fields("text", "key", "name", "upload_mode", "instructions")
            + _fields("json", "accepted_media_types", "fields")
            + _fields("number", "max_size_bytes", "max_files", "position"),
        )
        file = {
            "type": "file",
            "name": "file",
            "maxSelect": 1,
            "maxSize": 25 * 1024 * 1024,
            "mimeTypes": ["application/pdf", "image/jpeg", "image/png"],
            "protected": True,
        }
        self._create(
            "documents",
            {"listRule": OWN, "viewRule": OWN, "createRule": "@request.body." + OWN},
            [
                _relation("owner", users["id"]),
                _relation("type", types),
                file,
                *_fields("number", "version"),
                *_fields("json", "field_values"),
                {"type": "autodate", "name": "uploaded_at", "onCreate": True},
            ],
            indexes=["CREATE INDEX ix_documents_owner ON documents (owner)"],
        )

    def _create(
        self, name: str, rules: Mapping[str, str], fields: list[dict[str, Any]], **more: Any
    ) -> str:
        body = {"name": name, "type": "base", "fields": fields, **rules, **more}
        collection_id: str = self.send("POST", "collections", self.headers, json=body)["id"]
        return collection_id


@contextmanager
def pocketbase(setup: Setup) -> Iterator[PocketBase]:
    """Run PocketBase until the block ends; raise `Missing`.

    Its database is on the disk like docvault's, its files are where docvault's are. It has no rate
    limits by default.
    """
    if not PROGRAM.exists():
        raise Missing("PocketBase is not installed (make install)")
    folder = setup.folder("pocketbase")
    data = ["--dir", str(folder / "data")]
    superuser: list[str | Path] = [PROGRAM, "superuser", "upsert", MAIL, PASSWORD, *data]
    subprocess.run(superuser, check=True, stdout=subprocess.DEVNULL, timeout=60)
    (folder / "data" / "storage").symlink_to(setup.store_folder("pocketbase"))
    port = free_port()
    command: list[str | Path] = [PROGRAM, "serve", "--http", f"127.0.0.1:{port}", *data]
    ready = responses(port, "/api/health")
    with running(command, folder / "log", ready=ready) as server:
        their = PocketBase(port, server, {})
        their.create_collections()
        yield their


def _fields(kind: str, *names: str) -> list[dict[str, Any]]:
    return [{"type": kind, "name": name} for name in names]


def _relation(name: str, to: str) -> dict[str, Any]:
    return {"type": "relation", "name": name, "collectionId": to, "maxSelect": 1}
