"""The page in docs/how-to/portal-in-70-lines.md works in a browser, from another origin."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.factories import files
from tests.fixtures.pages import program_of
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.system.test_browser import FrontEnd, serving, visit

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "portal-in-70-lines.md"
# What a customer does: wait for the list, send one right and one wrong file, report what is shown.
CUSTOMER = """
<script type="module">
const shown = async (text) => {
  while (!document.body.innerText.includes(text)) await new Promise((go) => setTimeout(go, 50));
};
const choose = (name, bytes) => {
  const input = document.querySelector("#passport input[type=file]");
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
  input.files = transfer.files;
  input.dispatchEvent(new Event("change"));
};
await shown("1 still needed");
choose("passport.pdf", "PDF");
await shown("incomplete");
document.querySelector("#passport [name=number]").value = "NL-1";
document.querySelector("#passport form").requestSubmit();
await shown("nothing is missing");
choose("other.pdf", "AAEC");
while (!document.querySelector("[role=alert]").textContent)
  await new Promise((go) => setTimeout(go, 50));
await fetch("/ran?" + encodeURIComponent(document.body.innerText));
</script>
"""


def page() -> str:
    """Return the page."""
    return program_of(PAGE, "html portal")


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir) as running:
        yield running


def token(server: RunningServer, *arguments: str) -> str:
    """Return a token that the deployment issues."""
    command = [DOCVAULT, "token", *arguments]
    return subprocess.check_output(command, env=server.environment, text=True).split()[-1]


def test_page_has_at_most_70_lines() -> None:
    assert len(page().splitlines()) <= 70


@pytest.mark.req("B-261")
def test_customer_sends_a_file_with_its_data_and_reads_why_another_is_refused(
    server: RunningServer, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {token(server, 'admin')}"}
    with httpx.Client(base_url=f"{server.url}/v1/admin", headers=headers, timeout=60) as admin:
        passport = {
            "name": "Passport",
            "upload_mode": "required",
            "max_files": 2,
            "collects_fields": True,
            "fields": [{"label": "Number", "required": True}],
        }
        assert admin.post("/document-types", json=passport).status_code == 201
        assert admin.put("/customers/c-1", json={"name": "Ada"}).status_code == 201
        end = FrontEnd(server.url, {})
        script = CUSTOMER.replace('"PDF"', f'"{base64.b64encode(files.pdf()).decode()}"')
        body = page().replace("http://127.0.0.1:8000", server.url) + script
        end.pages["/portal.html"] = ("text/html; charset=utf-8", body.encode())
        own = token(server, "customer", "c-1")
        with serving(end):
            # The fragment is not part of the request.
            visit(f"{end.url}/portal.html#{own}", tmp_path)
        document = admin.get("/customers/c-1/documents/passport").json()
    assert [file["filename"] for file in document["files"]] == ["passport.pdf"]
    assert document["field_values"] == {"number": "NL-1"}
    assert len(end.ran) == 1
    assert "Ada" in end.ran[0]
