"""Stored bytes that change behind the service's back, in whichever store a test has."""

from docvault.services.resources import Resources


async def stored_keys(resources: Resources) -> list[str]:
    """Return the keys of everything that is stored."""
    return [blob.key async for blob in resources.store.list_blobs()]


async def stored_bytes(resources: Resources, key: str) -> bytes:
    """Return the bytes under a key."""
    reader = await resources.store.open(key)
    try:
        return b"".join([chunk async for chunk in reader.chunks(0, reader.size_bytes)])
    finally:
        await reader.close()


async def lose_the_bytes(resources: Resources) -> None:
    """Remove everything that is stored."""
    for key in await stored_keys(resources):
        await resources.store.delete(key)


def flipped(body: bytes) -> bytes:
    """Return the bytes with one bit in the middle turned over."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


async def overwrite(resources: Resources, key: str, body: bytes) -> None:
    """Put other bytes under a key, or the first ones."""
    await resources.store.delete(key)
    spooled = resources.spool.create()
    await spooled.write(body)
    await spooled.finish()
    await resources.store.put(key, spooled.path)
    spooled.discard()
