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


@everywhere
@pytest.mark.parametrize("before", [THERE, BACK])
def test_a_namesake_comes_in_the_place_of_a_client(
    before: RoutingPolicy, tracker: Tracker, node: int, family: int
) -> None:
    """Of another network, with its address and port; what conntrack remembers is permitted to nobody any more."""
    stage = Stage(tracker, node, before)
    first, second = ("ann", "bob") if before is THERE else ("bob", "ann")
    assert stage.udp(first, second, family)
    assert stage.udp(second, first, family)
    stage.now(TWIN_THERE)
    assert stage.udp("twin", "bob", family)
    assert stage.udp("bob", "twin", family)
    assert not stage.udp("ann", "bob", family)


@everywhere
def test_a_twin_of_the_one_who_is_called_calls(tracker: Tracker, node: int, family: int) -> None:
    """From the port that is called: neither is taken for the other."""
    stage = Stage(tracker, node, BACK, TWIN_THERE)
    assert stage.udp("bob", "ann", family)
    assert stage.udp("ann", "bob", family)
    seen = stage.udp("twin", "bob", family)
    assert seen
    port = next(value for field, value in seen.headers.items() if field.name == "udp_src")
    back = Packet.udp(ends(stage.pods["bob"], stage.pods["twin"], family), (PORT, port))
    assert stage.arrives("bob", "twin", back)
    assert stage.udp("bob", "ann", family)
    assert stage.udp("ann", "bob", family)


@pytest.mark.parametrize(("tracker", "node"), [(tracker, node) for tracker in Tracker for node in (0, 1)])
@pytest.mark.parametrize("client", ["ann", "bob"])
def test_a_reset_of_a_twin_ends_no_stream_of_another(client: str, tracker: Tracker, node: int) -> None:
    """Nor does a SYN after it take the stream over, whichever end has called."""
    server = "bob" if client == "ann" else "ann"
    stage = Stage(tracker, node, THERE if client == "ann" else BACK, TWIN_THERE)
    ports = (PORT, PORT)
    assert stage.syn(client, server, ports)
    assert stage.syn(server, client, ports, Tcp.SYN | Tcp.ACK)
    assert stage.syn(client, server, ports, Tcp.ACK)
    for flags in (Tcp.RST, Tcp.SYN, Tcp.RST, Tcp.FIN | Tcp.ACK, Tcp.SYN):
        stage.syn("twin", "bob", ports, flags)
    assert stage.syn("bob", "ann", ports, Tcp.ACK | Tcp.PSH)
    assert stage.syn("ann", "bob", ports, Tcp.ACK | Tcp.PSH)
    assert stage.syn("bob", "ann", ports, Tcp.ACK)


@pytest.mark.parametrize(("tracker", "node"), [(tracker, node) for tracker in Tracker for node in (0, 1)])
def test_streams_of_equal_clients_are_whole(tracker: Tracker, node: int) -> None:
    """From SYN to FIN, beside another that has the addresses and ports."""
    stage = Stage(tracker, node, THERE, TWIN_THERE)
    for client in ("ann", "twin"):
        seen = stage.syn(client, "bob", (PORT, PORT))
        assert seen
        port = next(value for field, value in seen.headers.items() if field.name == "tcp_src")
        assert stage.syn("bob", client, (PORT, port), Tcp.SYN | Tcp.ACK)
        assert stage.syn(client, "bob", (PORT, PORT), Tcp.ACK)
        assert stage.syn("bob", client, (PORT, port), Tcp.FIN | Tcp.ACK)
        assert stage.syn(client, "bob", (PORT, PORT), Tcp.FIN | Tcp.ACK)
        assert stage.syn("bob", client, (PORT, port), Tcp.ACK)


@pytest.mark.parametrize(("tracker", "node"), [(tracker, node) for tracker in Tracker for node in (0, 1)])
def test_the_first_answer_to_one_who_was_never_answered_before(tracker: Tracker, node: int) -> None:
    """Its address is called another's from now on; the kernel's conntrack has it as new still."""
    heir = Network("heir", NetworkType.L3, 25, BOB.subnets)
    pods = {"ann": pod(0, ANN, 0, 2), "bob": pod(1, BOB, node, 2), "heir": pod(3, heir, node, 2)}
    state = assemble(NODES, (ANN, BOB, heir), (THERE,), tuple(pods.values()))
    at = {name: places(state)[each.id][:2] for name, each in pods.items()}
    fabric = simulated(state, None, tracker)

    def heard(source: str, destination: str) -> list[tuple[str, int]]:
        packet = Packet.udp(ends(pods[source], pods[destination], 4), (PORT, PORT))
        return [each[:2] for each in fabric.inject(*at[source], packet).deliveries]

    assert [heard("ann", "bob") for _ in range(2)] == [[at["bob"]]] * 2
    for name, program in programs(replace(state, routing_policies=(policy(ANN, heir),))).items():
        fabric.install(name, program)
    assert heard("ann", "heir") == [at["heir"]]
    assert heard("heir", "ann") == [at["ann"]]
    assert heard("bob", "ann") == []
