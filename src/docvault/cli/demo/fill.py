"""Fill a running service through its API, as staff and customers would."""

from dataclasses import dataclass
from typing import Any

import httpx

from docvault.auth.local_tokens import LocalIssuer
from docvault.cli.demo.content import CUSTOMERS, DOCUMENT_TYPES, PORTAL_SETTINGS, DemoCustomer
from docvault.cli.demo.files import Drawing
from docvault.cli.failures import CommandFailed

_TIMEOUT_SECONDS = 60
_FILE_NAMES = {b"\xff\xd8": "photo.jpg", b"%P": "scan.pdf"}


@dataclass(frozen=True, slots=True)
class FilledCustomer:
    """A customer of the demo, and what the gate says about them."""

    id: str
    name: str
    gate: str


def fill_service(url: str, issuer: LocalIssuer) -> list[FilledCustomer]:
    """Create document types, customers and documents; what exists already is kept.

    Raises `CommandFailed` if the service is not reachable or refuses a request.
    """
    with httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS) as client:
        demo = _Demo(client, issuer)
        try:
            demo.define_documents()
            return [demo.fill_customer(customer) for customer in CUSTOMERS]
        except httpx.TransportError as error:
            raise CommandFailed(
                f"no service responds at {url}; start one with `make run`, or name its port:"
                f" `make demo PORT=…` ({error})"
            ) from None


class _Demo:
    def __init__(self, client: httpx.Client, issuer: LocalIssuer) -> None:
        self._client = client
        self._issuer = issuer

    def define_documents(self) -> None:
        existing = {item["key"] for item in self._admin("GET", "/document-types").json()["items"]}
        for document_type in DOCUMENT_TYPES:
            if document_type["key"] not in existing:
                self._admin("POST", "/document-types", json=document_type)
        etag = self._admin("GET", "/settings/portal").headers["etag"]
        headers = {"If-Match": etag}
        self._admin("PATCH", "/settings/portal", json=PORTAL_SETTINGS, headers=headers)

    def fill_customer(self, customer: DemoCustomer) -> FilledCustomer:
        path = f"/customers/{customer.id}"
        self._admin("PUT", path, json={"name": customer.name, "tags": ["demo"]})
        listed = self._admin("GET", f"{path}/documents").json()["items"]
        filled = {item["type"]["key"] for item in listed if item["upload_state"] != "missing"}
        for key, draw in customer.sends.items():
            if key not in filled:
                self._send_as_customer(customer, key, draw)
        for key, draw in customer.staff_send.items():
            if key not in filled:
                files = _form_file(draw(customer.name))
                self._admin("PUT", f"{path}/documents/{key}", files=files)
        gate = self._admin("GET", f"{path}/gate").json()["decision"]
        return FilledCustomer(customer.id, customer.name, gate)

    def _send_as_customer(self, customer: DemoCustomer, key: str, draw: Drawing) -> None:
        token = self._issuer.customer_token(customer.id)
        path = f"/v1/customer/documents/{key}"
        for _ in range(2 if key in customer.replaces else 1):
            self._request("PUT", path, token, files=_form_file(draw(customer.name)))
        if key == "passport" and customer.field_values:
            values = {"field_values": dict(customer.field_values)}
            self._request("PATCH", path, token, json=values)

    def _admin(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - options of httpx
        return self._request(
            method, f"/v1/admin{path}", self._issuer.admin_token("demo"), **options
        )

    def _request(self, method: str, path: str, token: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - options of httpx
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        response = self._client.request(method, path, headers=headers, **options)
        if response.is_error:
            raise CommandFailed(f"{method} {path} was refused: {response.text}")
        return response


def _form_file(body: bytes) -> dict[str, tuple[str, bytes]]:
    return {"file": (_FILE_NAMES[body[:2]], body)}
