"""Changes stored bytes behind the service's back, in either store."""

from docvault.services.resources import Resources


async def stored_keys(resources: Resources) -> list[str]:
    """Return the keys of all stored blobs."""
    return [blob.key async for blob in resources.store.list_blobs()]


async def stored_bytes(resources: Resources, key: str) -> bytes:
    """Return the bytes under a key."""
    reader = await resources.store.open(key)
    try:
        return b"".join([chunk async for chunk in reader.chunks(0, reader.size_bytes)])
    finally:
        await reader.close()


async def delete_stored_bytes(resources: Resources) -> None:
    """Delete all stored blobs."""
    for key in await stored_keys(resources):
        await resources.store.delete(key)


def flipped(body: bytes) -> bytes:
    """Return the bytes with one bit in the middle flipped."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


async def overwrite(resources: Resources, key: str, body: bytes) -> None:
    """Replace the bytes of a key."""
    await resources.store.delete(key)
    spooled = resources.spool.create()
    await spooled.write(body)
    await spooled.finish()
    await resources.store.put(key, spooled.path)
    spooled.discard()
