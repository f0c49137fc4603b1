"""The erasure ledger, which records erased customers where no database restore can undo it.

One record per customer in the blob store, written once and never changed (D8, decision 0023).
"""

import json
from datetime import datetime
from uuid import UUID

from docvault.domain.erasures import Erasure, NewErasure
from docvault.services.resources import Resources
from docvault.storage.base import LEDGER_FOLDER, BlobExists


async def write_record(resources: Resources, erasure: Erasure) -> None:
    """Record an erasure durably; an existing record stays as it is.

    Raises `BlobMissing` if another worker has only begun to write the record.
    """
    body = json.dumps(
        {
            "erasure_id": str(erasure.id),
            "customer_pseudonym": erasure.customer_pseudonym,
            "requested_at": erasure.requested_at.isoformat(),
        }
    )
    spooled = resources.spool.create()
    try:
        await spooled.write(body.encode())
        await spooled.finish()
        await resources.store.put(_key(erasure.customer_id), spooled.path)
    except BlobExists:
        # Or about to exist: the other worker may still fail, and then this job is retried.
        await read_record(resources, erasure.customer_id)
    finally:
        spooled.discard()


async def read_record(resources: Resources, customer_id: UUID) -> NewErasure:
    """Return the record of a customer; raises `BlobMissing`."""
    reader = await resources.store.open(_key(customer_id))
    try:
        body = b"".join([chunk async for chunk in reader.chunks(0, reader.size_bytes)])
    finally:
        await reader.close()
    record = json.loads(body)
    return NewErasure(
        id=UUID(record["erasure_id"]),
        customer_id=customer_id,
        customer_pseudonym=record["customer_pseudonym"],
        requested_at=datetime.fromisoformat(record["requested_at"]),
    )


async def recorded_customers(resources: Resources) -> set[UUID]:
    """Return the internal ids of the customers that have a record."""
    records = resources.store.list_folder(LEDGER_FOLDER)
    return {UUID(record.key.removeprefix(f"{LEDGER_FOLDER}/")) async for record in records}


def _key(customer_id: UUID) -> str:
    return f"{LEDGER_FOLDER}/{customer_id.hex}"
