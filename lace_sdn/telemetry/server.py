"""``/healthz``, ``/readyz`` and ``/metrics`` over HTTP, in a thread of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_TEXT = "text/plain; charset=utf-8"


def _well() -> str:
    return ""


class Telemetry:
    """``health`` and ``ready`` say what is wrong, "" for nothing: then the answer is 200, else 503 with the words."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        *,
        health: Callable[[], str] = _well,
        ready: Callable[[], str] = _well,
    ) -> None:
        """``address``: HOST:PORT, the host in brackets if it is IPv6, "" for all; port 0 for any. Raises ValueError for another text."""
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdecimal():
            raise ValueError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:9470")
        self._address = (host.strip("[]"), int(port))
        self._answers: dict[str, Callable[[], tuple[int, bytes, str]]] = {
            "/healthz": lambda: _judged(health()),
            "/readyz": lambda: _judged(ready()),
            "/metrics": lambda: (200, generate_latest(registry), CONTENT_TYPE_LATEST),
        }
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """Where it listens, after ``start``."""
        return int(self._server.server_address[1]) if self._server else self._address[1]

    def start(self) -> None:
        """Raises OSError if the address cannot be listened at."""
        self._server = _Server(self._address, self._answers)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], answers: dict[str, Callable[[], tuple[int, bytes, str]]]
    ) -> None:
        import socket  # noqa: PLC0415 - the one that may be patched

        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answers = answers
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        code, body, content = (
            answer() if answer else (404, b"there are /healthz, /readyz and /metrics\n", _TEXT)
        )
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes come every few seconds."""


def _judged(wrong: str) -> tuple[int, bytes, str]:
    return (503, f"{wrong}\n".encode(), _TEXT) if wrong else (200, b"ok\n", _TEXT)
