"""Requests to the API server: every failure says what it is, and no wait is without end."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from apiserver import kubeconfig_of

from lace_sdn.kube.api import client
from lace_sdn.kube.api.client import Api, ApiError, ApiUnreachable, Cause
from lace_sdn.kube.api.resources import NETWORKS, NODES, PODS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from apiserver import ApiServer

STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}


class Canned(ThreadingHTTPServer):
    """Answers everything with the same; ``heard``: the headers of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        self.code, self.body, self.headers = 200, b"{}", {}
        self.heard: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Canned)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def say(self, code: int, body: Any, **headers: str) -> None:
        self.code, self.headers = code, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


class _Canned(BaseHTTPRequestHandler):
    server: Canned

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        its = self.server
        its.heard.append({key.lower(): value for key, value in self.headers.items()})
        self.send_response(its.code)
        for name, value in {"Content-Length": str(len(its.body)), **its.headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(its.body)


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked(canned: Canned, tmp_path: Path) -> Api:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_of(canned.url))
    return Api.connect(path)


@contextmanager
def refused() -> Iterator[list[ApiError]]:
    """The error, once the block has ended."""
    found: list[ApiError] = []
    with pytest.raises(ApiError) as caught:
        yield found
    found.append(caught.value)


def network(name: str, **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": NETWORKS.api_version, "kind": NETWORKS.kind}
    return {**kind, "metadata": {"name": name}, "spec": spec}


# What an error says.


def test_a_status_says_all_that_it_has(asked: Api, canned: Canned) -> None:
    cause = {"field": "spec.type", "reason": "FieldValueInvalid", "message": "is bad"}
    canned.say(
        422, {**STATUS, "code": 422, "reason": "Invalid", "message": "no", "details": {"causes": [cause]}}
    )
    with refused() as found:
        asked.get(NODES, "n1")
    (error,) = found
    assert (error.status, error.reason, error.message) == (422, "Invalid", "no")
    assert error.causes == (Cause("spec.type", "FieldValueInvalid", "is bad"),)
    assert str(error) == "422 Invalid: no"


def test_what_is_invalid_names_its_fields(api: Api) -> None:
    with refused() as found:
        api.create(NETWORKS, network("red", type="l3", ipv4Subnet={"prefix": 5}))
    assert found[0].is_invalid
    assert [each.field for each in found[0].causes] == ["spec.ipv4Subnet.prefix"]


@pytest.mark.parametrize(
    ("code", "reason", "question"),
    [
        (404, "NotFound", "is_not_found"),
        (409, "AlreadyExists", "is_already_exists"),
        (409, "Conflict", "is_conflict"),
        (410, "Expired", "is_expired"),
        (410, "Gone", "is_expired"),
        (422, "Invalid", "is_invalid"),
    ],
)
def test_each_error_is_one_kind_of_error(
    asked: Api, canned: Canned, code: int, reason: str, question: str
) -> None:
    canned.say(code, {**STATUS, "code": code, "reason": reason})
    with refused() as found:
        asked.get(NODES, "n1")
    questions = ("is_not_found", "is_already_exists", "is_conflict", "is_expired", "is_invalid")
    assert [name for name in questions if getattr(found[0], name)] == [question]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"", b"[1]", b"null"])
def test_an_error_of_a_gateway_is_one_too(asked: Api, canned: Canned, body: bytes) -> None:
    canned.say(502, body)
    with refused() as found:
        asked.get(NODES, "n1")
    assert (found[0].status, found[0].reason, found[0].causes) == (502, "Bad Gateway", ())


def test_how_long_to_wait_is_said_by_header_or_status(asked: Api, canned: Canned) -> None:
    canned.say(429, {**STATUS, "code": 429, "details": {"retryAfterSeconds": 7}})
    with refused() as by_status:
        asked.get(NODES, "n1")
    canned.say(429, {**STATUS, "code": 429}, Retry_After="9")
    with refused() as by_header:
        asked.get(NODES, "n1")
    assert (by_status[0].retry_after, by_header[0].retry_after) == (7.0, 9.0)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"[1]", b"null", b"{\xff}"])
def test_an_answer_that_cannot_be_read_is_none(asked: Api, canned: Canned, body: bytes) -> None:
    canned.say(200, body)
    with pytest.raises(ApiUnreachable):
        asked.get(NODES, "n1")


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": [], "metadata": {}}, {"metadata": None}])
def test_a_list_without_a_version_is_none(asked: Api, canned: Canned, body: Any) -> None:
    """Nothing could be watched from there, and everything would seem to be gone."""
    canned.say(200, body)
    with pytest.raises(ApiUnreachable):
        asked.list(NODES)


@pytest.mark.parametrize(
    "line", [b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {}}\n', b"[]\n", b"x\n"]
)
def test_an_event_without_an_object_is_none(asked: Api, canned: Canned, line: bytes) -> None:
    canned.say(200, line)
    with pytest.raises(ApiUnreachable):
        list(asked.watch(NODES, resource_version="1", timeout=5))


def test_half_an_event_is_none(asked: Api, canned: Canned) -> None:
    whole = b'{"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "5"}}}'
    canned.say(200, whole + b"\n" + whole[:40])
    watch = asked.watch(NODES, resource_version="1", timeout=5)
    assert next(watch)["type"] == "ADDED"
    with pytest.raises(ApiUnreachable, match="inside of an event"):
        next(watch)


def test_an_error_in_a_watch_is_raised(asked: Api, canned: Canned) -> None:
    canned.say(200, {"type": "ERROR", "object": {**STATUS, "code": 410, "reason": "Expired"}})
    canned.body += b"\n"
    with refused() as found:
        list(asked.watch(NODES, resource_version="1", timeout=5))
    assert found[0].is_expired


# No answer.


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig_of(f"http://127.0.0.1:{free.getsockname()[1]}"))
        with pytest.raises(ApiUnreachable, match="refused"):
            Api.connect(path).get(NODES, "n1")


def test_an_answer_that_does_not_begin_is_given_up(
    server: ApiServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.1)
    server.faults.set(hang=True)
    with pytest.raises(ApiUnreachable, match="timed out"):
        api.get(NODES, "n1")
    server.faults.set()


def test_a_write_whose_answer_is_lost_may_have_been_done(server: ApiServer, api: Api) -> None:
    server.faults.set(lose_answer=1)
    with pytest.raises(ApiUnreachable):
        api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert api.get(NODES, "n1")["metadata"]["name"] == "n1"


def test_a_write_is_sent_once(server: ApiServer, api: Api) -> None:
    """Whoever asks again does so by himself: a second create would be another's."""
    server.faults.set(lose_answer=1)
    with pytest.raises(ApiUnreachable):
        api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert server.requests["lace-sdn", "create", "", "nodes"] == 1


def test_a_watch_that_is_left_is_closed(server: ApiServer, api: Api) -> None:
    """Its connection is given to no later request."""
    watch = api.watch(NODES, resource_version="1", timeout=30)
    api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert next(watch)["type"] == "ADDED"
    watch.close()
    assert api.get(NODES, "n1")["kind"] == "Node"


def test_items_of_a_list_say_what_they_are(api: Api) -> None:
    api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    ((item,), _) = api.list(NODES)
    assert (item["apiVersion"], item["kind"]) == ("v1", "Node")


def test_paths_are_those_of_kubernetes() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("shop", "web") == "/api/v1/namespaces/shop/pods/web"
    assert NETWORKS.path("", "red", "status") == "/apis/lace-cni.io/v1alpha1/networks/red/status"
    assert NETWORKS.path("ignored") == "/apis/lace-cni.io/v1alpha1/networks"
