"""The HTTP side of the fake API server: requests read, watches written, faults made."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from refusals import Refused, bad_request, expired

if TYPE_CHECKING:
    from api_faults import Faults
    from apiserver import ApiServer
    from kinds import Served

Data = dict[str, Any]

_TICK = 0.25
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}


class Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], its: ApiServer) -> None:
        self.its = its
        self.open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Clients go away as they like."""

    def break_all(self) -> None:
        """Every connection is reset."""
        for each in list(self.open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Http

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        its = self.server.its
        asked = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(asked.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length) if length else b""
        if asked.path.startswith("/fake/"):
            self._fake(asked.path, text)
            return
        try:
            self._disturb(its.faults)
            if asked.path in ("/healthz", "/readyz", "/livez"):
                self._send(200, b"ok", "text/plain")
                return
            self._serve(method, asked.path, query, text)
        except Refused as refused:
            self._send_json(refused.code, refused.status())
        except _Broken:
            self.close_connection = True

    def _disturb(self, faults: Faults) -> None:
        if faults.status or faults.refuse:
            self.server.its.requests[self.headers.get("User-Agent", ""), "disturbed", "", ""] += 1
        if faults.refuse:
            raise _Broken
        while faults.hang:
            time.sleep(0.05)
        if faults.delay:
            time.sleep(faults.delay)
        if faults.status:
            raise Refused(faults.status, "InternalError", "a fault that a test asked for")

    def _serve(self, method: str, path: str, query: dict[str, str], text: bytes) -> None:
        its = self.server.its
        parts = path.strip("/").split("/")
        if (
            path == "/version"
            or parts[0] not in ("api", "apis")
            or len(parts) <= (2 if parts[0] == "api" else 3)
        ):
            if parts[0] not in ("api", "apis", "version"):
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            self._send_json(200, its.discovery(path))
            return
        group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
        version, rest = rest[0], rest[1:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        served = its.served(group, version, rest[0])
        name, subresource = [*rest[1:3], "", ""][:2]
        if subresource and not (subresource == "status" and served.has_status):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        verb = _VERBS[method]
        if verb == "get" and not name:
            verb = "watch" if query.get("watch") in ("1", "true") else "list"
        what = f"{served.plural}/{subresource}" if subresource else served.plural
        its.requests[self.headers.get("User-Agent", ""), verb, group, what] += 1
        if verb == "watch":
            self._watch(served, namespace, query)
        elif verb == "list":
            self._send_json(200, its.list(served, namespace, query))
        elif verb == "get":
            self._send_json(200, its.name_of(served, namespace, name))
        else:
            self._write(served, (namespace, name, subresource), method, query, text)

    def _write(
        self, served: Served, place: tuple[str, str, str], method: str, query: dict[str, str], text: bytes
    ) -> None:
        its = self.server.its
        try:
            body = json.loads(text) if text else None
        except ValueError:
            raise bad_request("the body of the request is not JSON") from None
        code, answer = its.write(
            served, place, method, body, query, self.headers.get("Content-Type", "").partition(";")[0]
        )
        if its.faults.lose_answer:
            its.faults.lose_answer -= 1
            if not its.faults.lose_answer:
                raise _Broken
        self._send_json(code, answer)

    def _watch(self, served: Served, namespace: str, query: dict[str, str]) -> None:
        its = self.server.its
        storage = its.storage
        chosen = its.chosen(served, namespace, query)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        ends = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        with_bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        try:
            with storage.lock:
                if query.get("resourceVersion") in (None, "", "0"):
                    version = storage.version
                    lines = [
                        json.dumps({"type": "ADDED", "object": body}).encode() + b"\n"
                        for _, body in sorted(storage.objects[served.id].items())
                        if chosen(body)
                    ]
                else:
                    version, lines = its.checked_version(served, query["resourceVersion"]), []
            self._chunks(lines)
            self._follow(served, chosen, version, ends, with_bookmarks)
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except Refused as refused:
            self._chunks([json.dumps({"type": "ERROR", "object": refused.status()}).encode() + b"\n"])
            self.wfile.write(b"0\r\n\r\n")

    def _follow(self, served: Served, chosen: Any, version: int, ends: float, with_bookmarks: bool) -> None:
        its = self.server.its
        storage = its.storage
        began = bookmarked = time.monotonic()
        while True:
            with storage.lock:
                if version < storage.compacted[served.id]:
                    raise expired(version, storage.compacted[served.id])
                events = list(storage.events_after(served.id, version))
                present = storage.version
                if not events:
                    storage.changed.wait(_TICK)
            lines = []
            for event in events:
                version = event.version
                if kind := _seen_as(event, chosen):
                    lines.append(event.line(kind))
            if its.faults.silent:
                continue
            clock = time.monotonic()
            limit = its.faults.watch_seconds
            is_over = clock >= ends or (limit and clock - began >= limit)
            if (
                with_bookmarks
                and not events
                and (clock - bookmarked >= its.bookmarks or (is_over and not limit))
            ):
                bookmarked = clock
                version = max(version, present)
                body = {
                    "kind": served.kind,
                    "apiVersion": served.api_version,
                    "metadata": {"resourceVersion": str(version)},
                }
                lines.append(json.dumps({"type": "BOOKMARK", "object": body}).encode() + b"\n")
            self._chunks(lines)
            if is_over:
                return

    def _chunks(self, lines: list[bytes]) -> None:
        if lines:
            data = b"".join(lines)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def _fake(self, path: str, text: bytes) -> None:
        its = self.server.its
        if path == "/fake/faults":
            asked = json.loads(text or b"{}")
            if asked.pop("expire", False):
                its.storage.expire()
            breaks = asked.pop("break", False)
            its.faults.set(**asked)
            self._send_json(200, {})
            if breaks:
                its.break_connections()
        elif path == "/fake/requests":
            self._send_json(200, {"requests": [[*key, count] for key, count in sorted(its.requests.items())]})
        else:
            self._send_json(404, {})

    def _send_json(self, code: int, body: Data) -> None:
        self._send(code, json.dumps(body, separators=(",", ":")).encode(), "application/json")

    def _send(self, code: int, data: bytes, content: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(data)))
        if code in (429, 503) and self.server.its.faults.retry_after:
            self.send_header("Retry-After", str(self.server.its.faults.retry_after))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


class _Broken(Exception):  # noqa: N818
    """No answer at all."""


def _seen_as(event: Any, chosen: Any) -> str:
    """What a watch with a selector sees of an event; "" for nothing."""
    if event.kind == "DELETED":
        return "DELETED" if chosen(event.old or event.body) else ""
    is_now, was = chosen(event.body), event.old is not None and chosen(event.old)
    if is_now:
        return "MODIFIED" if was else "ADDED"
    return "DELETED" if was else ""
