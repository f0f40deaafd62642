"""Where switches connect: unix sockets and TCP ports, each connection handed to the OpenFlow library."""

from __future__ import annotations

import contextlib
import logging
import socket
from pathlib import Path
from typing import Any, Final

import eventlet

from lace_sdn.switch import library

_LOG = logging.getLogger(__name__)

RETRY_FIRST, RETRY_LAST = 0.05, 2.0
"""Seconds until connections are accepted again after that failed."""

CALL_INTERVAL: Final = 0.02
"""Seconds between two calls of a bridge that does not answer."""

TcpAddress = tuple[str, int]
"""Host and port, IPv4 or IPv6; port 0 lets the system choose."""


class _UnixStream:
    """A unix stream for the library, which asks for TCP_NODELAY: an error on this family, where nothing is delayed anyway."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if level != socket.IPPROTO_TCP:
            self._stream.setsockopt(level, option, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Call:
    """Speaks to a bridge by the socket of its own (``BRIDGE.mgmt``, ovs-vswitchd(8)), until ``close``; calls again when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: Any = None
        self._is_closed = False
        library.hub.spawn(self._run)

    def close(self) -> None:
        """Let go of the bridge, which keeps its flows."""
        self._is_closed = True
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._is_closed:
            with contextlib.suppress(OSError):
                self._stream = eventlet.connect(str(self.path), family=socket.AF_UNIX)
                library.serve_datapath(_UnixStream(self._stream), str(self.path))
            self._stream = None
            library.hub.sleep(CALL_INTERVAL)


class Listener:
    """Accepts connections of switches until ``close``. Raises OSError if the address cannot be had."""

    def __init__(self, address: Path | TcpAddress) -> None:
        """``address``: the path of a unix socket (an old one in its place is removed), or host and port."""
        self._path = address if isinstance(address, Path) else None
        if isinstance(address, Path):
            address.unlink(missing_ok=True)
            self._socket = eventlet.listen(str(address), family=socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._socket = eventlet.listen(address, family=family)
        self._greenthread = library.hub.spawn(self._accept)

    @property
    def port(self) -> int:
        """The TCP port; 0 for a unix socket."""
        return 0 if self._path else int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Accept no more. Connections that there are stay."""
        library.hub.kill(self._greenthread)
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _accept(self) -> None:
        """For ever: a process may have too many files open for a time, and a peer may be gone before it is accepted."""
        pause = RETRY_FIRST
        while True:
            try:
                stream, peer = self._socket.accept()
                served = _UnixStream(stream) if self._path else stream
                library.hub.spawn(library.serve_datapath, served, peer or str(self._path))
                pause = RETRY_FIRST
            except Exception:  # noqa: BLE001 (a greenthread that ended would keep every switch out)
                _LOG.exception("event=not_accepted address=%s now=retrying", self._path or self.port)
                eventlet.sleep(pause)
                pause = min(2 * pause, RETRY_LAST)
