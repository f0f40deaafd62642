"""The way from a lab's node to the API server: a TCP relay. ``python -m lace_sdn.lab.api.relay NAMESPACE PORT HOST PORT``.

It listens on loopback inside the node's namespace and connects from where it was started. TLS passes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys

from lace_sdn.lab import netns

_CHUNK = 1 << 16


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: tuple[str, int]) -> None:
    """One connection, until both sides have ended, or one is broken."""
    try:
        their_reader, their_writer = await asyncio.open_connection(*to)
    except OSError:
        # The client sees a connection that is reset, as from a server that is gone.
        writer.transport.abort()
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, their_writer))
            both.create_task(_pump(their_reader, writer))
    except* OSError:
        their_writer.transport.abort()
        writer.transport.abort()
    finally:
        for each in (writer, their_writer):
            each.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def main(namespace: str, port: int, to: tuple[str, int]) -> None:
    """Serve until SIGTERM."""
    with netns.inside(namespace):
        listener = socket.create_server(("127.0.0.1", port))
    server = await asyncio.start_server(lambda reader, writer: relay(reader, writer, to), sock=listener)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), (sys.argv[3], int(sys.argv[4]))))
