"""Serves, uploads a file and asks for its preview; run by `test_any_account.py`."""

import io
import os
import subprocess
import sys

import httpx
from PIL import Image


def main() -> None:
    """Print the status of an upload, of its preview and of readiness, and the user id."""
    command = os.environ.pop("DOCVAULT")
    serve = subprocess.Popen([command, "serve", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert serve.stdout is not None
        url = next(line.split()[-1] for line in serve.stdout if line.startswith("docvault listens"))
        token = subprocess.run(
            [command, "token", "admin"], check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as staff:
            staff.post("/v1/admin/document-types", json={"name": "Photo"}).raise_for_status()
            staff.put("/v1/admin/customers/c-1", json={}).raise_for_status()
            picture = io.BytesIO()
            Image.new("RGB", (40, 30), "red").save(picture, "PNG")
            document = "/v1/admin/customers/c-1/documents/photo"
            stored = staff.put(document, files={"file": ("a.png", picture.getvalue())})
            preview = staff.get(f"{document}/preview")
            ready = staff.get("/readyz")
        sys.stdout.write(f"{stored.status_code} {preview.status_code} {ready.status_code} ")
        sys.stdout.write(f"{os.geteuid()}\n")
    finally:
        serve.terminate()
        serve.wait(60)


if __name__ == "__main__":
    main()
