"""Promises about Services on a running lab: who is cut off, who is given another endpoint, who is refused."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from streams import Streams, wait_for
from test_revocation import UNDISTURBED

from lace_sdn.lab import agent_client, control, netns, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conftest import Bring
    from streams import End

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab

BOOK = Path(__file__).parents[2] / "flows"
Command = "Callable[..., subprocess.CompletedProcess[str]]"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
REFUSED, SILENT = "refused", "silent"
PATIENCE = 20.0
"""Seconds for an answer or a refusal, which take milliseconds on an idle machine."""
SILENCE = 1.5
"""Seconds without an answer that count as silence: a TCP client has sent twice by then."""
BRIEF = 0.2
"""Seconds for an answer that may be lost: it was on its way when its connection was forgotten, or refusals are too many."""
CHANGE = 20.0
"""Seconds from a confirmed change until every client has noticed it, at most."""


class Call(NamedTuple):
    pod: str
    kind: socket.SocketKind
    address: str
    port: int


def _called(lab: Lab, call: Call) -> socket.socket:
    """A socket inside the pod that has just begun to connect or, for UDP, has asked."""
    family = socket.AF_INET6 if ":" in call.address else socket.AF_INET
    with netns.inside(lab.pod_namespace(call.pod)):
        sock = socket.socket(family, call.kind)
    sock.setblocking(False)
    sock.connect_ex((call.address, call.port))
    if call.kind is UDP:
        sock.send(b"who?")
    return sock


def _answer(sock: socket.socket, patience: float = PATIENCE) -> str:
    """The name of the pod that answers, or REFUSED or SILENT."""
    sock.settimeout(max(0.01, patience))
    try:
        return sock.recv(100).decode().strip()
    except ConnectionRefusedError:
        return REFUSED
    except TimeoutError:
        return SILENT


def _ask(sock: socket.socket, patience: float = PATIENCE) -> str:
    """Who answers on a socket that has called before."""
    try:
        sock.send(b"who?")
    except ConnectionRefusedError:
        return REFUSED
    return _answer(sock, patience)


def _outcomes(lab: Lab, calls: Iterable[Call], patience: float = PATIENCE) -> dict[Call, set[str]]:
    """What comes of the calls, all begun at once."""
    found: dict[Call, set[str]] = {}
    with ExitStack() as stack:
        begun = [(call, stack.enter_context(_called(lab, call))) for call in calls]
        deadline = time.monotonic() + patience
        for call, sock in begun:
            found.setdefault(call, set()).add(_answer(sock, deadline - time.monotonic()))
    return found


def _unlike(lab: Lab, calls: Iterable[Call], outcome: str) -> dict[Call, set[str]]:
    """The calls that have another outcome, each with all that it had."""
    found = _outcomes(lab, calls, SILENCE if outcome == SILENT else PATIENCE)
    return {call: seen for call, seen in found.items() if seen != {outcome}}


def _edited(folder: Path, scenario: str, edit: Callable[[str], str]) -> Path:
    """The scenario with each of its documents edited, in ``folder``; one that becomes empty is left out."""
    before = (BOOK / scenario / "cluster.yaml").read_text().split("\n---\n")
    after = [edit(document) for document in before]
    assert after != before
    (folder / "cluster.yaml").write_text("\n---\n".join(filter(None, after)))
    return folder


def _count(end: End) -> tuple[int, int]:
    """Segments of a TCP socket that were sent again, and that were received (struct tcp_info, linux/tcp.h)."""
    info = end.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
    return struct.unpack_from("I", info, 100)[0], struct.unpack_from("I", info, 140)[0]


def _stream(streams: Streams, lab: Lab, call: Call, server: tuple[str, int]) -> None:
    """A TCP stream through a VIP to ``server`` (pod, port), which sends by itself too; it bears the caller's name."""
    with netns.inside(lab.pod_namespace(server[0])):
        listener = socket.create_server(("", server[1]))
    with listener:
        listener.settimeout(PATIENCE)
        near = _called(lab, call)
        far, _ = listener.accept()
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    streams._add(call.pod, [near, far], [None, None])


class Revocation(NamedTuple):
    """``losing`` calls lose what opens the VIP, ``keeping`` does not; ``server`` (pod, port) is behind both."""

    scenario: str
    revoked: Path | Callable[[str], str]
    losing: tuple[Call, ...]
    keeping: Call
    server: tuple[str, int]


REVOCATIONS = {
    "policy": Revocation(
        "service-only",
        lambda document: "" if "kind: ServiceRoutingPolicy" in document else document,
        tuple(Call(f"desk/pod-{number}", TCP, "10.96.135.2", 443) for number in (1, 2)),
        Call("vault/api-1", TCP, "10.96.135.2", 443),
        ("vault/api-0", 8443),
    ),
    "label": Revocation(
        "service-by-namespace",
        BOOK / "service-by-namespace" / "steps" / "01-label-removed",
        tuple(Call(f"team/pod-{number}", TCP, "10.96.137.2", 80) for number in (1, 2)),
        Call("released/tool", TCP, "10.96.137.2", 80),
        ("staging/tool", 8080),
    ),
}


@pytest.mark.parametrize("what", REVOCATIONS)
def test_a_vip_that_is_closed_again_cuts_its_streams_both_ways_and_no_other(
    standing: Lab, bring: Bring, tmp_path: Path, what: str
) -> None:
    its = REVOCATIONS[what]
    revoked = its.revoked if isinstance(its.revoked, Path) else _edited(tmp_path, its.scenario, its.revoked)
    bring(standing, BOOK / its.scenario)
    agent_client.settle(standing, ())  # its ports are free for servers that send by themselves
    streams = Streams()
    for call in (*its.losing, its.keeping):
        _stream(streams, standing, call, its.server)
    cut = [streams.ends[f"{call.pod}.{side}"] for call in its.losing for side in ("client", "server")]
    kept = [streams.ends[f"{its.keeping.pod}.{side}"] for side in ("client", "server")]
    with streams:
        wait_for("every stream flows", lambda: all(len(end.arrivals) > 20 for end in streams.ends.values()))
        started = time.time()
        bring(standing, revoked)
        before = {end.name: _count(end) for end in cut}
        wait_for(
            "both ends send again and again",
            lambda: all(_count(end)[0] >= before[end.name][0] + 3 for end in cut),
        )
        late = {end.name: _count(end)[1] - before[end.name][1] for end in cut}
        ended = time.time()
    gaps = {end.name: end.largest_gap(started, ended) for end in kept}
    assert set(late.values()) == {0}
    assert max(gaps.values()) <= UNDISTURBED
    assert not _unlike(standing, its.losing, SILENT)
    bring(standing, BOOK / its.scenario)
    assert not _unlike(standing, (*its.losing, its.keeping), its.server[0])


def _hear(talks: Iterable[socket.socket], outcome: str) -> bool:
    return {_ask(sock, BRIEF) for sock in talks} == {outcome}


def test_clients_of_a_removed_udp_endpoint_are_given_another_and_the_others_keep_theirs(
    standing: Lab, bring: Bring
) -> None:
    steps = BOOK / "udp-endpoint-removed" / "steps"
    bring(standing, steps.parent)
    talks: dict[socket.socket, str] = {}
    with ExitStack() as stack, ThreadPoolExecutor(1) as worker:
        for pod, vip in product(("feed/client-1", "feed/client-2"), ("10.96.157.1", "fd00:96::157:1")):
            its: set[str] = set()
            while its != {"feed/source-0", "feed/source-1"}:
                assert len(talks) < 200, f"{pod} is always given {its}"
                sock = stack.enter_context(_called(standing, Call(pod, UDP, vip, 53)))
                talks[sock] = _answer(sock)
                its.add(talks[sock])
        for step, then in (
            ("01-one-gone", "feed/source-0"),
            ("02-none-left", REFUSED),
            ("03-one-back", "feed/source-1"),
        ):
            change = worker.submit(bring, standing, steps / step)
            while not wait([change], 0.05).done:
                for sock, now in talks.items():
                    if now == then:
                        assert _ask(sock) == now
                    else:
                        assert _ask(sock, BRIEF) in {now, then, SILENT}
            change.result()
            wait_for(f"{step}: {then}", partial(_hear, talks, then), CHANGE)
            talks = dict.fromkeys(talks, then)


def test_datagrams_go_on_when_their_service_gets_another_name(
    standing: Lab, bring: Bring, tmp_path: Path
) -> None:
    """From the same port to the same VIP and endpoint, by a ServiceRoutingPolicy."""
    bring(standing, BOOK / "service-only")
    old, new = "name: leader, namespace: vault", "name: chief, namespace: vault"
    with ExitStack() as stack:
        calls = [Call(f"desk/pod-{number}", UDP, "10.96.135.2", 443) for number in (1, 2)]
        talks = [stack.enter_context(_called(standing, call)) for call in calls]
        assert {_answer(sock) for sock in talks} == {"vault/api-0"}
        bring(standing, _edited(tmp_path, "service-only", lambda text: text.replace(old, new)))
        wait_for("answers again", partial(_hear, talks, "vault/api-0"), CHANGE)


VIPS = "10.96.153.", "fd00:96::153:"
CLIENTS = "void/client-1", "void/client-2"
IN_VAIN = [
    Call(pod, kind, f"{vip}{service}", port)
    for pod in CLIENTS
    for vip in VIPS
    for service, kind, port in ((1, TCP, 80), (1, UDP, 53), (2, TCP, 80), (4, TCP, 81), (4, UDP, 80))
]
"""No endpoint, none that is ready, and what a VIP with endpoints does not have: a port, a protocol."""
ANSWERED = [Call(pod, TCP, f"{vip}4", 80) for pod in CLIENTS for vip in VIPS]


def test_what_has_no_endpoint_is_refused_at_once(standing: Lab, bring: Bring) -> None:
    bring(standing, BOOK / "no-endpoints")
    assert not _unlike(standing, IN_VAIN, REFUSED)
    assert not _unlike(standing, ANSWERED, "void/ready")
    strangers = [call._replace(pod="outside/pod") for call in (*IN_VAIN, *ANSWERED)]
    assert not _unlike(standing, strangers, SILENT)


def test_a_local_service_is_silent_where_no_endpoint_is_and_refused_where_none_is_anywhere(
    standing: Lab, bring: Bring
) -> None:
    bring(standing, BOOK / "local-policy")
    api, leader, nothing = (f"10.96.155.{number}" for number in (1, 2, 3))
    clients = [f"near/client-{number}" for number in (1, 2, 3)]
    silent = [Call(clients[2], TCP, api, 80), *(Call(pod, TCP, leader, 80) for pod in clients[1:])]
    refused = [Call(pod, *door) for pod in clients for door in ((TCP, nothing, 80), (UDP, nothing, 53))]
    assert not _unlike(standing, silent, SILENT)
    assert not _unlike(standing, refused, REFUSED)
    for vip, number in ((api, 1), (api, 2), (leader, 1)):
        assert not _unlike(standing, [Call(f"near/client-{number}", TCP, vip, 80)] * 5, f"near/api-{number}")


def test_without_a_controller_refusals_are_silent_and_connections_are_made_as_before(
    standing: Lab, bring: Bring
) -> None:
    bring(standing, BOOK / "no-endpoints")
    with ExitStack() as stack:
        running = [stack.enter_context(_called(standing, call)) for call in ANSWERED]
        assert {_answer(stream) for stream in running} == {"void/ready"}
        for pid in processes.find(control.mark(standing)):
            os.kill(pid, signal.SIGKILL)
        wait_for("the controller is gone", lambda: not control.is_running(standing))
        assert not _unlike(standing, IN_VAIN, SILENT)
        assert not _unlike(standing, ANSWERED, "void/ready")
        assert {_ask(stream) for stream in running} == {"void/ready"}
        bring(standing, BOOK / "no-endpoints")
        wait_for("refused again", lambda: not _unlike(standing, IN_VAIN, REFUSED))
        assert {_ask(stream) for stream in running} == {"void/ready"}


def test_affinity_gives_a_client_one_endpoint_until_that_is_removed(
    standing: Lab, bring: Bring, tmp_path: Path
) -> None:
    bring(standing, BOOK / "local-policy")  # so that no switch remembers an endpoint of these clients
    bring(standing, BOOK / "affinity")
    vips = [f"{prefix}{number}" for prefix in ("10.96.152.", "fd00:96::152:") for number in (1, 2)]
    first = [Call("sticky/client-1", TCP, vip, 80) for vip in vips]
    together = _outcomes(standing, [Call("sticky/client-2", TCP, vip, 80) for vip in vips for _ in range(20)])
    in_a_row = [_outcomes(standing, first) for _ in range(20)]
    had = {call: set().union(*(each[call] for each in in_a_row)) for call in first} | together
    assert all(len(names) == 1 and names < {"sticky/api-0", "sticky/api-1"} for names in had.values())
    (gone,) = had[first[0]]
    (other,) = {"sticky/api-0", "sticky/api-1"} - {gone}
    named = f"name: {gone.removeprefix('sticky/')}, namespace: sticky"
    label = ", labels: {app: api}"
    with _called(standing, first[0]) as stream:
        assert _answer(stream) == gone
        bring(standing, _edited(tmp_path, "affinity", lambda text: text.replace(named + label, named)))
        wait_for("another endpoint", lambda: not _unlike(standing, had, other), CHANGE)
        assert _ask(stream) == gone, "a connection that was there stays where it is"


def test_another_timeout_counts_at_once_also_for_clients_that_are_remembered(
    standing: Lab, bring: Bring, command: Command, tmp_path: Path
) -> None:
    """The switch learns when it next counts packets, a second later at most."""
    bring(standing, BOOK / "local-policy")  # so that no switch remembers an endpoint of these clients
    bring(standing, BOOK / "affinity")
    call, node = Call("sticky/client-1", TCP, "10.96.152.1", 80), "node1"
    dump = (
        "lab",
        "node",
        "--name",
        standing.name,
        node,
        "--",
        "ovs-ofctl",
        "dump-flows",
        "br-int",
        "table=106",
    )

    def is_remembered(seconds: int) -> bool:
        return f"idle_timeout={seconds}" in command(*dump, "-OOpenFlow15").stdout

    _outcomes(standing, [call])
    wait_for("it is remembered", lambda: is_remembered(600))
    shown = command("flows", "--name", standing.name, "--node", node, "--table", "Affinity")
    assert "client of Service sticky/minutes TCP 80 (learned)" in shown.stdout, shown.stderr
    other = "timeoutSeconds: 600", "timeoutSeconds: 30"
    bring(standing, _edited(tmp_path, "affinity", lambda text: text.replace(*other)))
    assert not is_remembered(600)
    _outcomes(standing, [call])
    wait_for("it is remembered anew", lambda: is_remembered(30))
