"""Back doors, tried with frames that no honest sender makes: spoofed sources, forged tunnels, routers that pods pretend to be."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from frames import Outer, encapsulate, encode

from lace_sdn.lab import datapath, links, netns
from lace_sdn.openflow.fields import ICMPV6_TYPE, IpProto
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Packet
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline.constants import GATEWAY_ETHER, HOST_ADDRESS, NODE_PORT_ADDRESS, TUNNEL_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState

    Bring = Callable[[Lab, Path], Built]

BOOK = Path(__file__).parents[2] / "flows"
PATIENCE = 20.0
ALL_PACKETS = 0x0300  # htons(ETH_P_ALL)
_numbers = itertools.count(1)


class Watch:
    """What comes in at every pod, read from its own interface."""

    def __init__(self, lab: Lab, pods: list[str]) -> None:
        self.sockets: dict[str, socket.socket] = {}
        for pod in pods:
            with netns.inside(lab.pod_namespace(pod)):
                its = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
                its.bind((links.POD_DEVICE, 3))
            its.setblocking(False)
            self.sockets[pod] = its

    def close(self) -> None:
        for each in self.sockets.values():
            each.close()

    def who_sees(self, *tokens: bytes, until: bytes) -> dict[bytes, set[str]]:
        """Token -> the pods that got it, read until ``until`` has come to somebody: what was sent before has come by then."""
        found: dict[bytes, set[str]] = {token: set() for token in (*tokens, until)}
        deadline = time.monotonic() + PATIENCE
        while not found[until] and time.monotonic() < deadline:
            select.select(list(self.sockets.values()), [], [], 0.1)
            for pod, its in self.sockets.items():
                for frame, is_outgoing in _frames(its):
                    if not is_outgoing and not _is_error(frame):
                        for token, seen in found.items():
                            if token in frame:
                                seen.add(pod)
        assert found[until], "the honest packet did not arrive: nothing was judged"
        return found


def _frames(its: socket.socket) -> Iterator[tuple[bytes, bool]]:
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, where = its.recvfrom(4096)
            yield frame, where[2] == socket.PACKET_OUTGOING


def _is_error(frame: bytes) -> bool:
    """An ICMP error: it quotes the packet that it is about."""
    four, six = frame[12:14] == b"\x08\x00", frame[12:14] == b"\x86\xdd"
    return (four and frame[23] == IpProto.ICMP and frame[34] == 3) or (
        six and frame[20] == IpProto.ICMPV6 and frame[54] == 1
    )


def _send(namespace: str, device: str, *frames: bytes) -> None:
    with netns.inside(namespace):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind((device, 0))
        for frame in frames:
            sender.send(frame)


def _token() -> bytes:
    return b"back-door-%06d" % next(_numbers)


def _datagram(source: str, destination: str, token: bytes, macs: tuple[int, int], port: int = 8080) -> bytes:
    ends = Ends(*macs, ip_address(source), ip_address(destination))
    return encode(Packet.udp(ends, (41000, port), token))


def _mac(namespace: str, device: str) -> int:
    return parse_mac(links.mac(namespace, device))


@pytest.fixture
def watch(standing: Lab) -> Iterator[Callable[[ClusterState], Watch]]:
    made: list[Watch] = []

    def over(state: ClusterState) -> Watch:
        made.append(Watch(standing, [each.id for each in state.endpoints]))
        return made[-1]

    yield over
    for each in made:
        each.close()


def _honest(state: ClusterState, lab: Lab, source: str, destination: str) -> tuple[bytes, str, bytes]:
    """A token, the pod that it is for, and the frame with it from another pod of its network."""
    token = _token()
    one, other = state.endpoint_by_id[source], state.endpoint_by_id[destination]
    macs = (parse_mac(one.mac), GATEWAY_ETHER)
    return token, other.id, _datagram(str(one.addresses[0]), str(other.addresses[0]), token, macs)


def test_sources_from_outside_that_look_like_ours_reach_nobody(
    standing: Lab, bring: Bring, watch: Callable[[ClusterState], Watch]
) -> None:
    """A host of no Network, and one that may reach the pods, with sources of pods, of the node, of the data path itself."""
    state = bring(standing, BOOK / "no-identity").state
    watching = watch(state)
    pods = {each.id: each for each in state.endpoints}
    target = pods["apps/api-2"]
    node = state.node_by_name["node1"]
    tokens: dict[bytes, str] = {}
    for host in ("stranger", "desk"):
        namespace = standing.host_namespace(host)
        macs = (
            _mac(namespace, links.HOST_DEVICE),
            _mac(standing.node_namespace("node1"), datapath.of(standing).underlay_device),
        )
        for version in (4, 6):
            called = next(str(each) for each in target.addresses if each.version == version)
            spoofed = [
                next(str(each) for each in pods["apps/api-1"].addresses if each.version == version),
                next(str(each) for each in node.addresses if each.version == version),
                str(HOST_ADDRESS[version]),
                str(NODE_PORT_ADDRESS[version]),
                "169.254.0.1" if version == 4 else "64:ff9b:1::a9fe:1",
                "169.254.127.253" if version == 4 else "fe80::1",
                "127.0.0.1" if version == 4 else "::1",
            ]
            for source in spoofed:
                token = _token()
                tokens[token] = f"{host} as {source}"
                _send(namespace, links.HOST_DEVICE, _datagram(source, called, token, macs))
    honest, meant, frame = _honest(state, standing, "apps/api-1", "apps/api-2")
    _send(standing.pod_namespace("apps/api-1"), links.POD_DEVICE, frame)
    seen = watching.who_sees(*tokens, until=honest)
    assert {tokens[token]: who for token, who in seen.items() if token != honest and who} == {}
    assert seen[honest] == {meant}


def _tunnelled(
    state: ClusterState, token: bytes, outer: tuple[int, int, str, str], pod: str, source_key: int
) -> bytes:
    """A forged tunnel packet, as a node would send it: from a network into the one of ``pod``."""
    target = state.endpoint_by_id[pod]
    key = state.network_by_name[target.network].key
    ends = Ends(
        TUNNEL_SOURCE | source_key,
        parse_mac("0a:00:00:00:00:00"),
        ip_address("10.9.9.9"),
        target.addresses[0],
    )
    inner = encode(Packet.udp(ends, (41000, 8080), token))
    return encapsulate(Outer(outer[0], outer[1], ip_address(outer[2]), ip_address(outer[3]), key), inner)  # type: ignore[arg-type]


def test_tunnel_packets_from_who_is_no_node_reach_nobody(
    standing: Lab, bring: Bring, watch: Callable[[ClusterState], Watch]
) -> None:
    """From a host's own address; from a pod, whose packets the other node would see with a node's address."""
    state = bring(standing, BOOK / "back-doors").state
    watching = watch(state)
    key = state.network_by_name["bank"].key
    node_mac = _mac(standing.node_namespace("node1"), datapath.of(standing).underlay_device)
    web = standing.host_namespace("web")
    by_host, by_pod, by_own_node = _token(), _token(), _token()
    outer = (_mac(web, links.HOST_DEVICE), node_mac, "203.0.113.10", "172.18.0.11")
    _send(web, links.HOST_DEVICE, _tunnelled(state, by_host, outer, "bank/vault-1", key))
    evil = state.endpoint_by_id["tenant/evil-1"]
    for token, node, pod in (
        (by_pod, "172.18.0.12", "bank/vault-2"),
        (by_own_node, "172.18.0.11", "bank/vault-1"),
    ):
        outer = (parse_mac(evil.mac), GATEWAY_ETHER, str(evil.addresses[0]), node)
        _send(standing.pod_namespace(evil.id), links.POD_DEVICE, _tunnelled(state, token, outer, pod, key))
    honest, meant, frame = _honest(state, standing, "bank/vault-1", "bank/vault-2")
    _send(standing.pod_namespace("bank/vault-1"), links.POD_DEVICE, frame)
    seen = watching.who_sees(by_host, by_pod, by_own_node, until=honest)
    assert seen == {by_host: set(), by_pod: set(), by_own_node: set(), honest: {meant}}


def test_pods_are_no_routers(standing: Lab, bring: Bring, watch: Callable[[ClusterState], Watch]) -> None:
    """Router advertisements, neighbour discovery and other link-local packets of a pod come to no pod and to no node."""
    state = bring(standing, BOOK / "back-doors").state
    watching = watch(state)
    evil = state.endpoint_by_id["tenant/evil-1"]
    mac = parse_mac(evil.mac)
    tokens: dict[bytes, str] = {}
    frames = []
    for source, destination, ether in _link_local(evil.addresses[1]):
        for kind in (133, 134, 135, 136, 128):
            token = _token()
            tokens[token] = f"type {kind} from {source} to {destination}"
            ends = Ends(mac, ether, ip_address(source), ip_address(destination))
            frames.append(encode(Packet.echo(ends, 7, token).with_headers({ICMPV6_TYPE: kind})))
    with netns.inside(standing.node_namespace("node1")):
        node = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        node.bind(("lace-gw0", 3))
    with node:
        node.setblocking(False)
        _send(standing.pod_namespace(evil.id), links.POD_DEVICE, *frames)
        honest, meant, frame = _honest(state, standing, "tenant/evil-1", "tenant/evil-2")
        _send(standing.pod_namespace(evil.id), links.POD_DEVICE, frame)
        seen = watching.who_sees(*tokens, until=honest)
        assert {tokens[token]: who for token, who in seen.items() if token != honest and who} == {}
        assert seen[honest] == {meant}
        came = [frame for frame, is_outgoing in _frames(node) if not is_outgoing]
    assert [tokens[token] for token in tokens if any(token in frame for frame in came)] == []


def _link_local(own: object) -> Iterator[tuple[str, str, int]]:
    multicast = parse_mac("33:33:00:00:00:01")
    for source in ("fe80::1", "fe80::66", str(own)):
        yield source, "ff02::1", multicast
        yield source, "fe80::1", GATEWAY_ETHER
