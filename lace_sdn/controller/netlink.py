"""The process that makes pods' links, asked by many greenthreads; started again when it ended."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.node import NodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

PATIENCE: Final = 20.0
"""Seconds for one answer."""


class Netlink:
    """Promises of ``lace_sdn.node.worker``, as calls that raise NodeError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[threading.Event, dict[str, Any]]] = {}
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def plug(self, link: dict[str, Any]) -> None:
        """Make a link (``attachment.Link`` as a dict), or complete it."""
        self._ask({"do": "plug", "link": link})

    def faults(self, link: dict[str, Any]) -> list[str]:
        """What of a link is not as it was made."""
        return [str(fault) for fault in self._ask({"do": "faults", "link": link})]

    def unplug(self, peer: str) -> bool:
        """Remove a link by its end in the node; False if it was not there."""
        return bool(self._ask({"do": "unplug", "peer": peer}))

    def links(self) -> list[str]:
        """The names of all interfaces of pods in the node."""
        return [str(name) for name in self._ask({"do": "links"})]

    def namespaces(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths that are network namespaces."""
        return [str(path) for path in self._ask({"do": "namespaces", "paths": list(paths)})]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._drop()

    def _ask(self, request: dict[str, Any]) -> Any:
        number = next(self._numbers)
        done, answer = self._waiting[number] = (threading.Event(), {})
        try:
            with self._lock:
                connection = self._connect()
                connection.sendall(json.dumps({**request, "id": number}).encode() + b"\n")
            if not done.wait(PATIENCE):
                self._give_up(connection)
                raise NodeError(f"netlink: no answer within {PATIENCE:.0f} s to {request['do']}")
        except OSError as error:
            with self._lock:
                self._drop()
            raise NodeError(f"netlink: {error}") from None
        finally:
            del self._waiting[number]
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def _give_up(self, connection: socket.socket) -> None:
        """A process that hangs is ended, for the next request to start another; unless somebody has done so already."""
        with self._lock:
            if self._connection is connection:
                log.warning(
                    "netlink: the process does not answer and is ended; it is started again when it is needed"
                )
                self._drop()

    def _connect(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                program = [sys.executable, "-m", "lace_sdn.node.worker", str(theirs.fileno())]
                self._process = subprocess.Popen(
                    program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            self._connection = ours
            threading.Thread(target=self._listen, args=(ours,), daemon=True).start()
        return self._connection

    def _listen(self, connection: socket.socket) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                *lines, held = (held + chunk).split(b"\n")
                for line in lines:
                    self._answered(json.loads(line))
        with self._lock:
            if self._connection is connection:
                log.warning("netlink: the process has ended; it is started again when it is needed")
                self._drop()

    def _answered(self, said: dict[str, Any]) -> None:
        waiting = self._waiting.get(said.pop("id"))
        if waiting:
            waiting[1].update(said)
            waiting[0].set()

    def _drop(self) -> None:
        """Whoever waits is told."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for done, answer in self._waiting.values():
            answer.setdefault("error", "netlink: the process has ended")
            done.set()
