"""``/healthz``, ``/readyz`` and ``/metrics`` over HTTP, by a thread of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable


def serve(
    address: str, health: Callable[[], str], ready: Callable[[], str], registry: CollectorRegistry
) -> Server:
    """``address``: HOST:PORT (0: any free port). ``health`` and ``ready``: "" means well, any other text is the answer 503.

    Raises OSError when the address is not to be had, ValueError for one that is none.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        raise ValueError(f"{address!r} is no HOST:PORT, such as 0.0.0.0:9404")
    return Server((host.strip("[]"), int(port)), health, ready, registry)


class Server:
    """Serves until it is closed. ``address``: where, with the port."""

    def __init__(
        self,
        where: tuple[str, int],
        health: Callable[[], str],
        ready: Callable[[], str],
        registry: CollectorRegistry,
    ) -> None:
        self._http = _Http(where, {"/healthz": health, "/readyz": ready}, registry)
        host, port = self._http.server_address[:2]
        self.address = f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, where: tuple[str, int], probes: dict[str, Callable[[], str]], registry: CollectorRegistry
    ) -> None:
        self.probes = probes
        self.registry = registry
        self.address_family = AF_INET6 if ":" in where[0] else AF_INET
        super().__init__(where, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they like."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
        elif path in self.server.probes:
            trouble = self.server.probes[path]()
            self._answer(
                503 if trouble else 200, f"{trouble or 'ok'}\n".encode(), "text/plain; charset=utf-8"
            )
        else:
            self._answer(404, b"expected /healthz, /readyz or /metrics\n", "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes come every few seconds."""
