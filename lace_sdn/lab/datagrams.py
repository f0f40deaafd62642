"""A listener of UDP that answers from the very address that was called, however many its place has."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_DATAGRAMS_A_TURN = 64
_LONGEST = 2048
_RECEIVE = {
    socket.AF_INET: (socket.IPPROTO_IP, 8),  # linux/in.h: IP_PKTINFO
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
}
_INFO = {
    socket.AF_INET: (socket.IPPROTO_IP, 8, struct.Struct("=I4s4s")),  # ip(7): in_pktinfo
    socket.AF_INET6: (
        socket.IPPROTO_IPV6,
        socket.IPV6_PKTINFO,
        struct.Struct("=16sI"),
    ),  # RFC 3542: in6_pktinfo
}


class Datagrams:
    """Serves a bound socket until it is closed; ``answer`` says what is sent back for what came in."""

    def __init__(self, listening: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        self._socket = listening
        self._answer = answer
        self._socket.setsockopt(*_RECEIVE[self._family], 1)
        asyncio.get_running_loop().add_reader(self._socket, self._serve)

    def close(self) -> None:
        """Let go of the port at once."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AddressFamily(self._socket.family)

    def _serve(self) -> None:
        level, kind, info = _INFO[self._family]
        with contextlib.suppress(OSError):  # nothing more, or no way back to the caller
            for _ in range(_DATAGRAMS_A_TURN):
                received, ancillary, _, caller = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(info.size))
                called = [value for its, what, value in ancillary if (its, what) == (level, kind)]
                from_there = [(level, kind, self._from(value)) for value in called]
                self._socket.sendmsg([self._answer(received)], from_there, 0, caller)

    def _from(self, called: bytes) -> bytes:
        """What sends from the address that ``called`` names, by whatever link leads to the caller."""
        *_, info = _INFO[self._family]
        values: tuple[Any, ...] = info.unpack(called)
        if self._family == socket.AF_INET:
            return info.pack(0, values[1], b"")
        return info.pack(values[0], 0)
