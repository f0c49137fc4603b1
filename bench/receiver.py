"""A receiver of webhooks that accepts everything: `python -m bench.receiver PORT`."""

import asyncio
import sys

RESPONSE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
LENGTH = b"content-length:"


async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one request and respond."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
    await reader.readexactly(sum(int(line.removeprefix(LENGTH)) for line in lengths))
    writer.write(RESPONSE)
    await writer.drain()
    writer.close()


async def main(port: int) -> None:
    """Receive until the process is ended."""
    server = await asyncio.start_server(receive, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
