"""Both ends use one port each, as gossip, SIP, WireGuard and IKE do: what is allowed passes, whatever conntrack remembers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from conversation import places, programs, simulated
from states import assemble, pod

from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import Endpoint, Network, NetworkType, Node, RoutingPolicy, Subnet
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp, Tracker
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline.constants import GATEWAY_ETHER

NODES = tuple(Node(f"node{index}", (ip_address(f"192.168.50.{index + 1}"),)) for index in range(2))
ANN, BOB, TWIN = (
    Network(
        name,
        NetworkType.L3,
        key,
        (Subnet(ip_network(f"10.{octet}.0.0/16"), 24), Subnet(ip_network(f"fd00:{octet}::/48"), 64)),
    )
    for name, key, octet in (("ann", 10, 1), ("bob", 20, 2), ("twin", 30, 1))
)
PORT = 500


def policy(source: Network, destination: Network) -> RoutingPolicy:
    return RoutingPolicy(
        f"{source.name}-to-{destination.name}",
        NetworkSelector(name=source.name),
        NetworkSelector(name=destination.name),
    )


THERE, BACK, TWIN_THERE = policy(ANN, BOB), policy(BOB, ANN), policy(TWIN, BOB)


class Stage:
    """ann's pod0 on node0, bob's pod1 on ``node``, and twin's pod2 with the address of pod0, on node1."""

    def __init__(self, tracker: Tracker, node: int, *policies: RoutingPolicy) -> None:
        twin = replace(pod(2, TWIN, 0, 2), node="node1")
        self.pods = {"ann": pod(0, ANN, 0, 2), "bob": pod(1, BOB, node, 2), "twin": twin}
        self.state = assemble(NODES, (ANN, BOB, TWIN), policies, tuple(self.pods.values()))
        self.places = {name: places(self.state)[each.id] for name, each in self.pods.items()}
        self.fabric: Fabric = simulated(self.state, None, tracker)

    def now(self, *policies: RoutingPolicy) -> None:
        state = replace(self.state, routing_policies=policies)
        for name, program in programs(state).items():
            self.fabric.install(name, program)

    def arrives(self, source: str, destination: str, packet: Packet) -> Packet | None:
        """At that pod, and nowhere else; None: nowhere."""
        found = self.fabric.inject(*self.places[source][:2], packet).deliveries
        assert [each[:2] for each in found] in ([], [self.places[destination][:2]])
        return found[0].packet if found else None

    def udp(
        self, source: str, destination: str, family: int, ports: tuple[int, int] = (PORT, PORT)
    ) -> Packet | None:
        return self.arrives(
            source, destination, Packet.udp(ends(self.pods[source], self.pods[destination], family), ports)
        )

    def syn(
        self, source: str, destination: str, ports: tuple[int, int], flags: int = Tcp.SYN
    ) -> Packet | None:
        return self.arrives(
            source, destination, Packet.tcp(ends(self.pods[source], self.pods[destination], 4), ports, flags)
        )


def ends(source: Endpoint, destination: Endpoint, family: int) -> Ends:
    one, other = (
        next(each for each in endpoint.addresses if each.version == family)
        for endpoint in (source, destination)
    )
    return Ends(parse_mac(source.mac), GATEWAY_ETHER, one, other)


everywhere = pytest.mark.parametrize(
    ("tracker", "node", "family"),
    [(tracker, node, family) for tracker in Tracker for node in (0, 1) for family in (4, 6)],
)


@everywhere
def test_a_policy_is_turned_round(tracker: Tracker, node: int, family: int) -> None:
    stage = Stage(tracker, node, THERE)
    assert stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)
    stage.now(BACK)
    assert not stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)
    assert stage.udp("ann", "bob", family)
    stage.now(THERE)
    assert not stage.udp("bob", "ann", family)
    assert stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)


@everywhere
def test_one_of_two_policies_is_removed(tracker: Tracker, node: int, family: int) -> None:
    stage = Stage(tracker, node, THERE, BACK)
    assert stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)
    stage.now(BACK)
    assert not stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)
    assert stage.udp("ann", "bob", family)


@everywhere
def test_nothing_is_allowed_any_more(tracker: Tracker, node: int, family: int) -> None:
    stage = Stage(tracker, node, THERE)
    assert stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)
    stage.now()
    for _ in range(2):
        assert not stage.udp("ann", "bob", family)
        assert not stage.udp("bob", "ann", family)


@pytest.mark.parametrize("tracker", Tracker)
def test_a_stream_starts_by_its_syn_alone(tracker: Tracker) -> None:
    """Of what ended no packet passes because the other end may start streams too."""
    stage = Stage(tracker, 1, THERE, BACK)
    assert stage.syn("ann", "bob", (PORT, PORT))
    assert stage.syn("bob", "ann", (PORT, PORT), Tcp.SYN | Tcp.ACK)
    assert stage.syn("ann", "bob", (PORT, PORT), Tcp.ACK)
    stage.now(BACK)
    assert not stage.syn("bob", "ann", (PORT, PORT), Tcp.ACK | Tcp.PSH)
    assert not stage.syn("ann", "bob", (PORT, PORT), Tcp.ACK)


@everywhere
def test_equal_clients_of_networks_that_overlap_are_served_both(
    tracker: Tracker, node: int, family: int
) -> None:
    """As at once, so one after the other: conntrack may know of a client that is no more."""
    stage = Stage(tracker, node, THERE, TWIN_THERE)
    assert stage.udp("ann", "bob", family)
    first = stage.udp("bob", "ann", family)
    assert first
    seen = stage.udp("twin", "bob", family)
    assert seen
    port = next(value for field, value in seen.headers.items() if field.name == "udp_src")
    assert port != PORT
    answered = stage.arrives(
        "bob", "twin", Packet.udp(ends(stage.pods["bob"], stage.pods["twin"], family), (PORT, port))
    )
    assert answered
    assert {each.name: value for each, value in answered.headers.items()}["udp_dst"] == PORT
    assert stage.udp("twin", "bob", family)
    assert stage.udp("ann", "bob", family)
    assert stage.udp("bob", "ann", family)


@pytest.mark.parametrize("tracker", Tracker)
@pytest.mark.parametrize("node", [0, 1])
def test_a_reset_of_a_twin_ends_no_stream_of_another(tracker: Tracker, node: int) -> None:
    """Conntrack would take the stream for closed, and the twin's next SYN for the first of its place: bob's data would be the twin's."""
    stage = Stage(tracker, node, THERE, TWIN_THERE)
    assert stage.syn("ann", "bob", (PORT, 80))
    assert stage.syn("bob", "ann", (80, PORT), Tcp.SYN | Tcp.ACK)
    assert stage.syn("ann", "bob", (PORT, 80), Tcp.ACK)
    for flags in (Tcp.RST, Tcp.RST | Tcp.ACK):
        assert not stage.syn("twin", "bob", (PORT, 80), flags)
    stage.syn("twin", "bob", (PORT, 80))
    assert stage.syn("bob", "ann", (80, PORT), Tcp.ACK | Tcp.PSH)
    assert stage.syn("ann", "bob", (PORT, 80), Tcp.ACK)
