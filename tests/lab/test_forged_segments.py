"""Segments that belong to no connection of their sender go nowhere, although conntrack does not judge sequence numbers (docs/decisions/0026)."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from frames import encode
from test_back_doors import Watch, _honest, _mac, _send, _token

from lace_sdn.lab import agent_client, datapath, links, netns, processes
from lace_sdn.lab.switches import Switch
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline.constants import GATEWAY_ETHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Bring

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState

pytestmark = pytest.mark.lab
BOOK = Path(__file__).parents[2] / "flows"
FORGED = (Tcp.RST, Tcp.RST | Tcp.ACK, Tcp.ACK, Tcp.FIN | Tcp.ACK, Tcp.SYN | Tcp.ACK)
PATIENCE = 10.0
CLIENT_PORTS = itertools.count(45000, 10)
STRANGER = "203.0.113.10"
NEIGHBOURS = {"desk/pod-1": "desk/pod-2", "vault/api-1": "vault/api-0"}
Way = tuple[tuple[str, int], tuple[str, int]]
"""From and to: address and port."""


@dataclass(frozen=True)
class Connection:
    """``client`` and ``door``: what the client sees; ``server``: who answers, by its own address and port."""

    near: socket.socket
    far: socket.socket
    client: tuple[str, int]
    door: tuple[str, int]
    server: tuple[str, int]

    def lives(self) -> bool:
        """Both ends hear each other."""
        for one, other in ((self.near, self.far), (self.far, self.near)):
            one.sendall(b"still there?")
            if other.recv(100) != b"still there?":
                return False
        return True


@contextmanager
def _connected(
    lab: Lab, namespace: str, door: tuple[str, int], server: tuple[str, int]
) -> Iterator[Connection]:
    """``server``: a pod, and its port."""
    with ExitStack() as stack:
        with netns.inside(lab.pod_namespace(server[0])):
            listener = stack.enter_context(socket.create_server(("", server[1])))
        listener.settimeout(PATIENCE)
        with netns.inside(namespace):
            near = stack.enter_context(socket.socket())
        near.settimeout(PATIENCE)
        near.bind(("", next(CLIENT_PORTS)))
        near.connect(door)
        far = stack.enter_context(listener.accept()[0])
        far.settimeout(PATIENCE)
        yield Connection(near, far, near.getsockname(), door, far.getsockname())


def _known(lab: Lab, port: int) -> list[str]:
    """The states in which the switches know connections from this client port."""
    found = []
    for folder in sorted(lab.nodes.iterdir()):
        environment = {**os.environ, **Switch(lab, folder.name).environment()}
        dump = processes.run(["ovs-appctl", "-t", "ovs-vswitchd", "dpctl/dump-conntrack"], env=environment)
        found += [line.rpartition("protoinfo=")[2] for line in dump.splitlines() if f"sport={port}," in line]
    return found


def _segments(token: bytes, macs: tuple[int, int], *ways: Way) -> list[bytes]:
    """One with each of the flags and the token, every way; none is in the window of a connection."""
    return [
        encode(
            Packet.tcp(Ends(*macs, ip_address(source), ip_address(target)), (port, target_port), flags, token)
        )
        for (source, port), (target, target_port) in ways
        for flags in FORGED
    ]


def _as_either_end(its: Connection) -> tuple[Way, ...]:
    return (
        (its.client, its.server),
        (its.client, its.door),
        (its.server, its.client),
        (its.door, its.client),
    )


@pytest.fixture
def watch(standing: Lab) -> Iterator[Callable[[ClusterState], Watch]]:
    with ExitStack() as stack:

        def over(state: ClusterState) -> Watch:
            made = Watch(standing, [each.id for each in state.endpoints])
            stack.callback(made.close)
            return made

        yield over


def test_pods_that_forge_segments_of_a_connection_reach_nobody(
    standing: Lab, bring: Bring, watch: Callable[[ClusterState], Watch]
) -> None:
    """Neighbours of either end, with an address of the connection; one also with its own address, towards a pod that it may not call."""
    state = bring(standing, BOOK / "service-only").state
    agent_client.settle(standing, ())
    watching = watch(state)
    desk, api = (state.endpoint_by_id[name] for name in ("desk/pod-1", "vault/api-1"))
    namespace = standing.pod_namespace("desk/pod-2")
    with _connected(standing, namespace, ("10.96.135.2", 443), ("vault/api-0", 8443)) as its:
        assert its.lives()
        before = _known(standing, its.client[1])
        own: Way = (str(desk.addresses[0]), its.client[1]), its.server
        forged = _token()
        for pod, ways in ((desk, (own, *_as_either_end(its))), (api, _as_either_end(its))):
            frames = _segments(forged, (parse_mac(pod.mac), GATEWAY_ETHER), *ways)
            _send(standing.pod_namespace(pod.id), links.POD_DEVICE, *frames)
        last = []
        for pod in (desk, api):
            honest, receiver, frame = _honest(state, standing, pod.id, NEIGHBOURS[pod.id])
            _send(standing.pod_namespace(pod.id), links.POD_DEVICE, frame)
            last.append(watching.who_sees(forged, until=honest))
            assert last[-1][honest] == {receiver}
        assert [seen[forged] for seen in last] == [set(), set()]
        assert its.lives()
        assert _known(standing, its.client[1]) == before == ["(state=ESTABLISHED)"] * 2


@pytest.mark.parametrize(
    ("door", "honest_door", "nodes"),
    [
        (("172.18.0.12", 30080), ("172.18.0.12", 30053), ["node2"]),
        (("10.96.24.1", 80), ("10.96.24.1", 53), ["node1", "node2"]),
    ],
)
def test_segments_of_hosts_that_may_not_call_reach_nobody_and_forged_ones_end_nothing(  # noqa: PLR0913, PLR0917 - fixtures
    standing: Lab,
    bring: Bring,
    watch: Callable[[ClusterState], Watch],
    door: tuple[str, int],
    honest_door: tuple[str, int],
    nodes: list[str],
) -> None:
    """By every node that takes them, to the NodePort or VIP and to the pod. With the client's address they are the client's to the switch; the ends know better."""
    state = bring(standing, BOOK / "nodeport-denied").state
    agent_client.settle(standing, ())
    watching = watch(state)
    desk, stranger = standing.host_namespace("desk"), standing.host_namespace("web")
    with _connected(standing, desk, door, ("apps/api-1", 8080)) as its:
        assert its.lives()
        own, forged, honest = _token(), _token(), _token()
        for node in nodes:
            underlay = datapath.of(standing).underlay_device
            macs = _mac(stranger, links.HOST_DEVICE), _mac(standing.node_namespace(node), underlay)
            own_end = (STRANGER, its.client[1])
            ways = (own_end, its.door), (own_end, its.server)
            _send(stranger, links.HOST_DEVICE, *_segments(own, macs, *ways))
            _send(stranger, links.HOST_DEVICE, *_segments(forged, macs, (its.client, its.door)))
        with netns.inside(desk), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(honest, honest_door)
        seen = watching.who_sees(own, forged, until=honest)
        assert seen[own] == set()
        assert seen[forged] <= seen[honest] == {"apps/api-1"}
        assert its.lives()
