"""Real Open vSwitch spreads new connections to a VIP over its endpoints: evenly over few, over very many to every one."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conversation import Stage, programs
from dummy import wait_until
from dummy_fabric import DummyFabric
from frames import decode, encode
from states import assemble, pod
from vips import call

from lace_sdn.model.objects import (
    Backend,
    Network,
    NetworkType,
    Node,
    Protocol,
    Service,
    ServicePort,
    Subnet,
)
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, TCP_DST, TCP_SRC
from lace_sdn.pipeline.constants import GATEWAY_ETHER
from lace_sdn.policy.ends import SERVICE_PREFIX
from lace_sdn.policy.oracle import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator import Packet

pytestmark = pytest.mark.switch

QUEUE = 100
"""Packets that a dummy port holds; it drops further ones (netdev-dummy.c: NETDEV_DUMMY_MAX_QUEUE)."""

NODES = tuple(Node(f"node{index}", (IPv4Address(f"192.168.50.{index + 1}"),)) for index in range(2))
NETWORK = Network(
    "shop",
    NetworkType.L3,
    100,
    (Subnet(ip_network("10.1.0.0/16"), 24), Subnet(ip_network("fd00:1::/48"), 64)),
)
VIPS = (ip_address("10.96.0.1"), ip_address("fd00:96::1"))
VIP_PORT = 80
CLIENTS, MOST = 4, 60_000
"""Clients, and the most connections that they open together."""


@pytest.fixture(scope="module")
def fabric() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=len(NODES), ports=CLIENTS + 8) as started:
        yield started


class Server(NamedTuple):
    """A listening port of a pod (by id)."""

    pod: str
    port: int


class Seen(NamedTuple):
    """A packet and the port of a pod that it came out of."""

    node: str
    port: int
    packet: Packet


def served(homes: Sequence[int], listening: Sequence[int]) -> ClusterState:
    """Clients on node 0, and a Service of pods on the nodes ``homes`` that listen on all ports of ``listening``."""
    clients = [replace(pod(each, NETWORK, 0, 200 + each), name=f"client{each}") for each in range(CLIENTS)]
    servers = [
        replace(pod(100 + each, NETWORK, home, 5 + each), name=f"server{each}")
        for each, home in enumerate(homes)
    ]
    backends = [
        Backend(address, number, each.node, each.id)
        for each in servers
        for address in each.addresses
        for number in listening
    ]
    backends.sort(key=lambda each: (each.address.version, int(each.address), each.port))
    port = ServicePort(Protocol.TCP, VIP_PORT, "", tuple(backends))
    state = assemble(NODES, (NETWORK,), (), (*clients, *servers))
    return replace(state, services=(Service("pods", "shop", NETWORK.name, VIPS, (port,)),))


@dataclass(frozen=True)
class Shop:
    """A Service on real switches."""

    stage: Stage
    fabric: DummyFabric

    @classmethod
    def on(cls, fabric: DummyFabric, state: ClusterState) -> Shop:
        """Freshly installed."""
        fabric.reset(programs(state))
        return cls(Stage.of(state, fabric), fabric)

    @property
    def servers(self) -> set[Server]:
        (service,) = self.stage.state.services
        return {Server(each.pod, each.port) for each in service.ports[0].backends}

    def reached(self, client: int, family: int, ports: Sequence[int]) -> Iterator[Server]:
        """Who gets each of the new connections that a client opens from ``ports``, which are at most ``QUEUE``."""
        source = f"pods/client{client}"
        asked = Connection(source, f"{SERVICE_PREFIX}pods/shop", Protocol.TCP, VIP_PORT, family)
        frames = [encode(call(self.stage.state, asked, each)) for each in ports]
        entry = self.stage.places[source]
        arrived = list(self._delivered(entry.node, f"v{entry.port}", frames))
        assert sorted(each.packet.headers[TCP_SRC] for each in arrived) == sorted(ports)
        ids = {place[:2]: endpoint for endpoint, place in self.stage.places.items()}
        for each in arrived:
            server = ids[each.node, each.port]
            headers = each.packet.headers
            assert (headers[ETH_DST], headers[ETH_SRC]) == (self.stage.places[server].mac, GATEWAY_ETHER)
            yield Server(server, headers[TCP_DST])

    def _delivered(self, node: str, name: str, frames: list[bytes]) -> Iterator[Seen]:
        """What comes out at pods of what goes in at port ``name``, and through tunnels."""
        far = []
        for out, frame in self._through(node, name, frames):
            if out == "p0":
                far.append(frame)
            else:
                yield Seen(node, int(out.removeprefix("v")), decode(frame))
        for home in {self.fabric._home(each) for each in far}:
            yield from self._delivered(home, "p0", [each for each in far if self.fabric._home(each) == home])

    def _through(self, node: str, name: str, frames: list[bytes]) -> list[tuple[str, bytes]]:
        """(Port, frame) that come out of ``node``, once they are as many as went in at port ``name``."""
        switch = self.fabric.nodes[node]
        switch.control("netdev-dummy/receive", name, *(each.hex() for each in frames))
        found: list[tuple[str, bytes]] = []

        def are_out() -> bool:
            found.extend((port, each) for port in switch._positions for each in switch._sent(port))
            return len(found) >= len(frames)

        wait_until(are_out, f"{len(frames)} frames from {node}")
        return found


@pytest.mark.parametrize("family", [4, 6])
def test_five_endpoints_share_new_connections(
    family: int, fabric: DummyFabric, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 1,000 of one client each gets 10 % to 30 %, on its own node and on another."""
    # 25 or 26 of 128 hash values each, one more for the first: 30 % is more than 7 sigma off.
    shop = Shop.on(fabric, served((0, 0, 0, 1, 1), (8080,)))
    counts: Counter[Server] = Counter()
    for first in range(10000, 11000, QUEUE):
        counts.update(shop.reached(0, family, range(first, first + QUEUE)))
    with capsys.disabled():
        print(f"\nOpen vSwitch, IPv{family}, 5 endpoints of {counts.total()}: {sorted(counts.values())}")
    assert counts.total() == 1000
    assert counts.keys() == shop.servers
    assert all(100 <= each <= 300 for each in counts.values()), counts


@pytest.mark.parametrize("endpoints", [3, 12, 33, 63])
def test_shares_are_even_for_every_number_of_endpoints(endpoints: int, fabric: DummyFabric) -> None:
    """Nobody has half as much as others, nor twice: 16 slots for 12 endpoints would give 4 of them twice as much."""
    # 4 slots at least and 6 at most, for the first: of 200 a share these limits are 5 sigma and more away.
    shop = Shop.on(fabric, served((0,), range(10000, 10000 + endpoints)))
    counts: Counter[Server] = Counter()
    for first in range(10000, 10000 + 200 * endpoints, QUEUE):
        counts.update(shop.reached(0, 4, range(first, first + QUEUE)))
    mean = counts.total() / endpoints
    assert counts.keys() == shop.servers
    assert all(mean / 1.65 < each < mean * 1.9 for each in counts.values()), sorted(counts.values())


@pytest.mark.parametrize("family", [4, 6])
def test_each_of_two_thousand_endpoints_is_chosen(
    family: int, fabric: DummyFabric, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups of groups leave nobody out: the two choices of a connection do not depend on each other."""
    # A share is 1/32 * 1/64 at least: all of MOST connections miss one of them with probability 2,000 * exp(-29), 4e-10.
    shop = Shop.on(fabric, served((0,) * 8, range(10000, 10250)))
    begin = time.monotonic()
    counts: Counter[Server] = Counter()
    for first in range(10000, 10000 + MOST // CLIENTS, QUEUE):
        for client in range(CLIENTS):
            counts.update(shop.reached(client, family, range(first, first + QUEUE)))
        if len(counts) == 2000:
            break
    with capsys.disabled():
        spent = time.monotonic() - begin
        print(f"\nOpen vSwitch, IPv{family}, {len(counts)} endpoints of {counts.total()}: {spent:.1f} s")
    assert counts.keys() == shop.servers
