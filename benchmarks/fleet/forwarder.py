"""``python -m benchmarks.fleet.forwarder PORT TARGET``: forwards connections to PORT on loopback to the port TARGET.

While this process is stopped (SIGSTOP), nothing of any connection arrives, in either direction, and nothing is closed:
a link that is cut. What was sent waits and arrives after SIGCONT, as TCP would send it again.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from edge_emotion.mqtt.local_broker import HOST

BLOCK = 2**16


async def forward(port: int, target: int) -> None:
    """Until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(connected, HOST, port)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that is read, until one of the two is closed; then close the other."""
    with suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(forward(int(sys.argv[1]), int(sys.argv[2])))
