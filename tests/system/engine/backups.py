"""A backup of a running deployment, restored into an empty one."""

import time
from pathlib import Path
from typing import Any

import httpx
from tests.factories import files
from tests.factories.setups import upload_of
from tests.system.engine.deployment import Deployment, deployed
from tests.torture.figures import Figure

CUSTOMERS = 20
PAGE = "/v1/admin/customers"


def restore_elsewhere(deployment: Deployment, port: int) -> dict[str, Figure]:
    """Back up twice, restore into a fresh copy, and compare the two deployments."""
    with deployment.client() as client:
        client.post("/v1/admin/document-types", json={"name": "Kept"})
        for number in range(CUSTOMERS):
            customer = f"{PAGE}/kept-{number}"
            client.put(customer, json={"name": f"Customer {number}"}).raise_for_status()
            upload = upload_of(files.pdf(f"Kept {number}"), "kept")
            client.put(f"{customer}/documents/kept", **upload).raise_for_status()
        kept = contents(client)
    folder = deployment.folder / "backup"
    first = timed(deployment, "deploy/backup.sh")
    second = timed(deployment, "deploy/backup.sh")
    with deployed("docvault-restored", port) as restored:
        took = timed(restored, "deploy/restore.sh", str(folder))
        with restored.client() as client:
            differences = set(kept.items()) ^ set(contents(client).items())
        restored.verify()
    return {
        "customers": len({customer for customer, _ in kept}),
        "documents": len(kept),
        "MiB": size_of(folder) // 2**20,
        "first backup, s": first,
        "second backup, s": second,
        "restore with build and start, s": took,
        "differences": len(differences),
        "missing or corrupt files": 0,
    }


def timed(deployment: Deployment, *command: str) -> int:
    """Run a command; return how many seconds it took."""
    began = time.monotonic()
    deployment.run(*command)
    return round(time.monotonic() - began)


def contents(client: httpx.Client) -> dict[tuple[str, str], str]:
    """Return the hashes of each document, by customer and document type."""
    found = {}
    for customer in pages(client, PAGE):
        for document in pages(client, f"{PAGE}/{customer['id']}/documents"):
            hashes = [file["sha256"] for file in document["files"]]
            found[customer["id"], document["type"]["key"]] = " ".join(hashes)
    return found


def pages(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return the items of all pages of a list."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        response = client.get(path, params={"cursor": cursor} if cursor else {})
        body = response.raise_for_status().json()
        items += body["items"]
        cursor = body.get("next_cursor")
        if cursor is None:
            return items


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
