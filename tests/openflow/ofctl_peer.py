"""A switch that only listens: what ``ovs-ofctl`` really sends to it."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Final

HELLO, ECHO_REQUEST, ECHO_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 0, 2, 3, 20, 21
VERSION: Final = 6
PATIENCE_S: Final = 20.0
_ANSWERS: Final = {ECHO_REQUEST: ECHO_REPLY, BARRIER_REQUEST: BARRIER_REPLY}


def sent_by_ofctl(verb: str, *arguments: str) -> list[bytes]:
    """The OpenFlow messages of one command, but for those of every connection. Raises CalledProcessError when it fails."""
    with (
        tempfile.TemporaryDirectory(prefix="ofctl-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX) as here,
    ):
        path = Path(folder) / "switch"
        here.bind(str(path))
        here.listen()
        here.settimeout(PATIENCE_S)
        said: list[bytes] = []
        listener = threading.Thread(target=_listen, args=(here, said))
        listener.start()
        command = ("ovs-ofctl", "-O", "OpenFlow15", verb, f"unix:{path}", *arguments)
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        listener.join(PATIENCE_S)
    return [each for each in said if each[1] not in (HELLO, *_ANSWERS)]


def _listen(here: socket.socket, said: list[bytes]) -> None:
    peer, _ = here.accept()
    with peer, peer.makefile("rb") as stream:
        peer.settimeout(PATIENCE_S)
        peer.sendall(_message(HELLO, bytes(4)))
        while head := stream.read(8):
            message = head + stream.read(int.from_bytes(head[2:4], "big") - 8)
            said.append(message)
            if message[1] in _ANSWERS:
                peer.sendall(_message(_ANSWERS[message[1]], message[4:8]) + message[8:])


def _message(kind: int, xid: bytes) -> bytes:
    return bytes((VERSION, kind, 0, 8)) + xid
