"""The text that `docvault serve` prints when it has started."""

import sys
from pathlib import Path

from docvault.auth.local_tokens import LocalIssuer
from docvault.settings import Settings

_TRY_IT = """
Admin token (valid for 12 hours):
{admin}

Try it in another terminal: request a contract from every customer, enable the gate, register a
customer (whom the gate blocks), upload the contract as the customer, and see the gate open.

ADMIN={admin}
CUSTOMER={customer}
curl -X POST {address}/v1/admin/document-types -H "Authorization: Bearer $ADMIN" \\
  -H 'Content-Type: application/json' -d '{{"name": "Contract", "upload_mode": "required"}}'
curl -X PATCH {address}/v1/admin/settings/portal -H "Authorization: Bearer $ADMIN" \\
  -H 'If-Match: *' -H 'Content-Type: application/json' -d '{{"gate_enabled": true}}'
curl -X PUT {address}/v1/admin/customers/c-1042 -H "Authorization: Bearer $ADMIN" \\
  -H 'Content-Type: application/json' -d '{{"name": "A. Bakker"}}'
curl {address}/v1/customer/gate -H "Authorization: Bearer $CUSTOMER"
curl -X PUT {address}/v1/customer/documents/contract -H "Authorization: Bearer $CUSTOMER" \\
  -F file=@examples/contract.pdf
curl {address}/v1/customer/gate -H "Authorization: Bearer $CUSTOMER"

Ctrl-C stops docvault; the data is kept in {data_dir}.
"""


def startup_banner(settings: Settings, address: str) -> str:
    """Return the address and, in embedded mode, how to try docvault out."""
    where = f"docvault listens on {address}\nReference: {address}/docs\n"
    if not settings.embedded or settings.has_identity_provider:
        return where
    if not sys.stdout.isatty():
        # Do not print an admin token to a file or log.
        # Show the command as the user typed it.
        program = sys.argv[0] if Path(sys.argv[0]).name == "docvault" else "docvault"
        return f"{where}For an admin token: {program} token admin\n"
    local = LocalIssuer(settings)
    return where + _TRY_IT.format(
        address=address,
        admin=local.admin_token("admin"),
        customer=local.customer_token("c-1042"),
        data_dir=settings.data_dir,
    )
