"""Nodes with their bridges, joined by an underlay: a packet in at a port, packets out at ports of the same or other nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.openflow.actions import Learn
from lace_sdn.openflow.fields import TUN_DST, TUN_IPV6_DST, TUN_IPV6_SRC, TUN_SRC, Port
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.simulator.conntrack import Conntrack, Tracker
from lace_sdn.openflow.simulator.machine import Bridge, Fragments, run
from lace_sdn.openflow.simulator.strays import Held
from lace_sdn.openflow.simulator.table_index import TableIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.flow import Bucket, Group
    from lace_sdn.openflow.simulator.conntrack import Parts
    from lace_sdn.openflow.simulator.machine import Chooser, Emission, Step
    from lace_sdn.openflow.simulator.packet import Packet

    Address = IPv4Address | IPv6Address


class Delivery(NamedTuple):
    """A packet that came out of a port which is no tunnel."""

    node: str
    port: int
    packet: Packet


class Passage(NamedTuple):
    """One bridge's part of a packet's way."""

    node: str
    in_port: int
    steps: tuple[Step, ...]


class Astray(NamedTuple):
    """Where a fragment of a packet came out, beside another one; ``sender``: node and port that the packet had come in by."""

    sender: tuple[str, int]
    delivery: Delivery


@dataclass(frozen=True)
class Journey:
    """All that came of one packet: where it arrived, every lookup on the way, and what was handed to the controller.

    ``to_controller``: by the port that the packet had come in by. ``astray``: fragments of packets, this one or earlier ones,
    that came out where neither the whole packet had come out nor its sender is (``Fabric.strays``).
    """

    deliveries: tuple[Delivery, ...]
    passages: tuple[Passage, ...]
    to_controller: tuple[Delivery, ...] = ()
    astray: tuple[Astray, ...] = ()


def first_bucket(group: Group, packet: Packet) -> Bucket:  # noqa: ARG001 - a chooser may look at the packet
    """The chooser when nobody says: always the first bucket."""
    return group.buckets[0]


def nth_bucket(number: int) -> Chooser:
    """Always the bucket of this number, counted from 0 and round again."""
    return lambda group, _packet: group.buckets[number % len(group.buckets)]


@dataclass
class _Node:
    addresses: tuple[Address, ...]
    program: BridgeProgram
    bridge: Bridge
    conntrack: Conntrack
    held: Held


class _Arrival(NamedTuple):
    """A packet at a bridge, the ``number``-th that the fabric was given; ``is_stray``: a fragment of it, beside another."""

    node: str
    port: int
    packet: Packet
    tunnel: Mapping[Field, int]
    number: int
    is_stray: bool = False


class _Goals(NamedTuple):
    """Nodes and ports where a packet had come in (``sender``), and where it or a part of it may come out."""

    sender: tuple[str, int]
    all: frozenset[tuple[str, int]]


@dataclass
class _Trip:
    """What has come of one packet so far, and of what came beside it."""

    deliveries: list[tuple[int, Delivery]] = field(default_factory=list)
    to_controller: list[tuple[int, Delivery]] = field(default_factory=list)
    strays: list[tuple[int, Delivery]] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)


@dataclass
class Fabric:
    """Bridges of many nodes. ``tunnel_port``: the number of each bridge's flow-based tunnel port.

    ``strays``: as if every packet were a fragment of a large datagram, so many of earlier ones come out at each ``ct``.
    The one thing here with a state of its own: the programs installed and the connections tracked.
    """

    tunnel_port: int
    tracker: Tracker = Tracker.USERSPACE
    choose: Chooser = first_bucket
    strays: int = 0
    _nodes: dict[str, _Node] = field(default_factory=dict)
    _goals: list[_Goals] = field(default_factory=list)

    def add(self, node: str, addresses: Iterable[Address], program: BridgeProgram | None = None) -> None:
        """A node with its underlay addresses; an empty bridge drops everything."""
        installed = program or BridgeProgram()
        self._nodes[node] = _Node(
            tuple(addresses), installed, self._bridge(installed), Conntrack(self.tracker), Held(self.strays)
        )

    def install(self, node: str, program: BridgeProgram) -> None:
        """Replace the program, as one bundle does: connections stay, and what was learned while a flow learns it.

        Raises KeyError for an unknown node.
        """
        learning = {
            (each.table, each.cookie)
            for flow in program.flows
            for each in flow.actions
            if isinstance(each, Learn)
        }
        known = self._nodes[node].bridge.learned
        kept = {key: flow for key, flow in known.items() if (flow.table, flow.cookie) in learning}
        self._nodes[node].program = program
        self._nodes[node].bridge = replace(self._bridge(program), learned=kept)

    def program(self, node: str) -> BridgeProgram:
        return self._nodes[node].program

    def conntrack(self, node: str) -> Conntrack:
        return self._nodes[node].conntrack

    def forget(self, node: str, zone: int) -> None:
        """Flush one conntrack zone of ``node``."""
        self._nodes[node].conntrack = self._nodes[node].conntrack.forget(zone)

    def forget_matching(self, node: str, protocol: int, original: Parts, reply: Parts) -> None:
        """Flush the connections of ``node`` that are like both."""
        self._nodes[node].conntrack = self._nodes[node].conntrack.forget_matching(protocol, original, reply)

    def copy(self, choose: Chooser | None = None) -> Fabric:
        """A fabric in the same state that goes its own way from now on, and chooses buckets by ``choose`` if given."""
        chooser = choose or self.choose
        nodes = {
            name: replace(each, bridge=replace(each.bridge, choose=chooser), held=each.held.copy())
            for name, each in self._nodes.items()
        }
        return replace(self, choose=chooser, _nodes=nodes, _goals=list(self._goals))

    def inject(
        self, node: str, port: int, packet: Packet, tunnel: Mapping[Field, int] | None = None
    ) -> Journey:
        """``packet`` comes into ``node`` by ``port``; ``tunnel``: its tunnel fields, if it comes from one.

        Raises KeyError for an unknown node, SimulationError for a program that a switch would not run.
        """
        number = len(self._goals)
        trip = _Trip()
        waiting = [_Arrival(node, port, packet, tunnel or {}, number)]
        while waiting:
            arrival = waiting.pop(0)
            for left, emission in self._pass(arrival, trip):
                came = trip.strays if left.is_stray else trip.deliveries
                if emission.port == Port.CONTROLLER:
                    told = trip.strays if left.is_stray else trip.to_controller
                    told.append((left.number, Delivery(left.node, left.port, emission.packet)))
                elif emission.port != self.tunnel_port:
                    came.append((left.number, Delivery(left.node, emission.port, emission.packet)))
                elif (onward := self._arrival(left, emission)) is not None:
                    waiting.append(onward)
        goals = {each[:2] for _, each in (*trip.deliveries, *trip.to_controller)}
        self._goals.append(_Goals((node, port), frozenset({(node, port), *goals})))
        return Journey(
            tuple(each for _, each in trip.deliveries),
            tuple(trip.passages),
            tuple(each for _, each in trip.to_controller),
            tuple(
                Astray(self._goals[whose].sender, each)
                for whose, each in trip.strays
                if each[:2] not in self._goals[whose].all
            ),
        )

    def _pass(self, arrival: _Arrival, trip: _Trip) -> list[tuple[_Arrival, Emission]]:
        """Through one bridge: what leaves it, and whether that is the packet or fragments beside it."""
        bridge = self._nodes[arrival.node]
        fragments = Fragments(arrival.number, bridge.held, arrival.is_stray)
        meets = replace(bridge.bridge, fragments=fragments)
        result = run(meets, bridge.conntrack, arrival.port, arrival.packet, arrival.tunnel)
        left = [(arrival, emission) for emission in result.emissions]
        if arrival.is_stray:
            return left
        bridge.conntrack = result.conntrack
        if result.learned:
            bridge.bridge = replace(bridge.bridge, learned={**bridge.bridge.learned, **result.learned})
        trip.passages.append(Passage(arrival.node, arrival.port, tuple(result.steps)))
        beside = (
            (arrival._replace(number=number, is_stray=True), emission)
            for number, emission in fragments.astray
        )
        return [*left, *beside]

    def _bridge(self, program: BridgeProgram) -> Bridge:
        return Bridge(
            TableIndex(program.flows),
            {group.id: group for group in program.groups},
            self.choose,
            meters=frozenset(meter.id for meter in program.meters),
        )

    def _arrival(self, sender: _Arrival, emission: Emission) -> _Arrival | None:
        """At the node that has the tunnel's destination, if any; the outer source is the sender's first address of its family.

        Without one the packet stays where it is.
        """
        ipv4, ipv6 = emission.tunnel[TUN_DST], emission.tunnel[TUN_IPV6_DST]
        target = IPv4Address(ipv4) if ipv4 else IPv6Address(ipv6)
        name = next((name for name, each in self._nodes.items() if target in each.addresses), None)
        own = self._nodes[sender.node].addresses
        source = next((each for each in own if each.version == target.version), None)
        if name is None or source is None:
            return None
        tunnel = dict(emission.tunnel)
        tunnel[TUN_SRC if source.version == 4 else TUN_IPV6_SRC] = int(source)
        return _Arrival(name, self.tunnel_port, emission.packet, tunnel, sender.number, sender.is_stray)
