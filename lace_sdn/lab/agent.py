"""The lab's agent: one process that listens inside every pod, host and node and sends probes from them. ``python -m lace_sdn.lab.agent SOCKET``.

It is asked over a unix socket, one JSON object a line, one line back: {"places": [...]}, {"probes": [...]}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from lace_sdn.lab.probes import Probe, Resident
from lace_sdn.lab.residents import Arrivals, Inhabitant
from lace_sdn.lab.sending import Sender

LONGEST_LINE = 1 << 27
"""Bytes; a million probes."""


class Agent:
    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._inhabitants: dict[str, Inhabitant] = {}
        self._namespaces: dict[str, str] = {}
        self._sender = Sender(self._namespaces, self._arrivals)

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Raises OSError, KeyError or ValueError for what cannot be done."""
        if "places" in question:
            return await self._settle([Resident.from_json(place) for place in question["places"]])
        probes = [Probe.from_json(probe) for probe in question["probes"]]
        seen = await self._sender.send_all(probes)
        return {"observations": [observation.as_json() for observation in seen]}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                try:
                    answer = await self.answer(json.loads(line))
                except (OSError, KeyError, ValueError) as problem:
                    answer = {"error": f"{type(problem).__name__}: {problem}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _settle(self, residents: list[Resident]) -> dict[str, Any]:
        """Live in exactly these places; what is unchanged is not touched."""
        wanted = {resident.id: resident for resident in residents}
        for place, inhabitant in list(self._inhabitants.items()):
            if place not in wanted or not wanted[place].is_same_place(inhabitant.resident):
                inhabitant.close()
                del self._inhabitants[place], self._namespaces[place]
        await asyncio.sleep(0)  # closed transports let go of their sockets in the next turn
        for place, resident in wanted.items():
            if place not in self._inhabitants:
                self._inhabitants[place] = Inhabitant(resident, self._arrivals)
                self._namespaces[place] = resident.namespace
            await self._inhabitants[place].set_ports(resident)
        return {"places": len(wanted)}


async def main(path: Path) -> None:
    """Serve until SIGTERM."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    agent = Agent()
    # The socket appears under its name when it is listening, so a client that sees it can connect.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    server = await asyncio.start_unix_server(agent.serve, draft, limit=LONGEST_LINE)
    draft.replace(path)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
