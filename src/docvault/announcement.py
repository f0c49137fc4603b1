"""What `docvault serve` tells a person at the terminal when it serves."""

import sys
from pathlib import Path

from docvault.auth.local_tokens import LocalIssuer
from docvault.settings import Settings

_TRY_IT = """
Admin token (12 hours):
{admin}

Try it in another terminal: ask for a contract, make it mandatory, make a customer known (whom
the gate blocks), let the customer upload the contract, and see the gate open.

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

Ctrl-C stops everything; the data stay in {data_dir}.
"""


def announcement(settings: Settings, address: str) -> str:
    """Return what a person at the terminal needs to begin."""
    where = f"docvault serves {address}\nReference: {address}/docs\n"
    if not settings.embedded or settings.jwt_jwks_url is not None:
        return where
    if not sys.stdout.isatty():
        # It may go to a file or a log, where a token that opens everything has no business.
        # As it was called, for it need not be on the path.
        program = sys.argv[0] if Path(sys.argv[0]).name == "docvault" else "docvault"
        return f"{where}For an admin token: {program} token admin\n"
    local = LocalIssuer(settings)
    return where + _TRY_IT.format(
        address=address,
        admin=local.admin_token("admin"),
        customer=local.customer_token("c-1042"),
        data_dir=settings.data_dir,
    )
