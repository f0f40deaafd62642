"""Nodes with their bridges, joined by an underlay: a packet in at a port, packets out at ports of the same or other nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.openflow.actions import Learn
from lace_sdn.openflow.fields import TUN_DST, TUN_IPV6_DST, TUN_IPV6_SRC, TUN_SRC, Port
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.simulator.conntrack import Conntrack, Tracker
from lace_sdn.openflow.simulator.machine import Bridge, run
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


@dataclass(frozen=True)
class Journey:
    """All that came of one packet: where it arrived, every lookup on the way, and what was handed to the controller.

    ``to_controller``: by the port that the packet had come in by.
    """

    deliveries: tuple[Delivery, ...]
    passages: tuple[Passage, ...]
    to_controller: tuple[Delivery, ...] = ()


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


@dataclass
class Fabric:
    """Bridges of many nodes. ``tunnel_port``: the number of each bridge's flow-based tunnel port.

    The one thing here with a state of its own: the programs installed and the connections tracked.
    """

    tunnel_port: int
    tracker: Tracker = Tracker.USERSPACE
    choose: Chooser = first_bucket
    _nodes: dict[str, _Node] = field(default_factory=dict)

    def add(self, node: str, addresses: Iterable[Address], program: BridgeProgram | None = None) -> None:
        """A node with its underlay addresses; an empty bridge drops everything."""
        installed = program or BridgeProgram()
        self._nodes[node] = _Node(
            tuple(addresses), installed, self._bridge(installed), Conntrack(self.tracker)
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
            name: replace(each, bridge=replace(each.bridge, choose=chooser))
            for name, each in self._nodes.items()
        }
        return Fabric(self.tunnel_port, self.tracker, chooser, nodes)

    def inject(
        self, node: str, port: int, packet: Packet, tunnel: Mapping[Field, int] | None = None
    ) -> Journey:
        """``packet`` comes into ``node`` by ``port``; ``tunnel``: its tunnel fields, if it comes from one.

        Raises KeyError for an unknown node, SimulationError for a program that a switch would not run.
        """
        deliveries: list[Delivery] = []
        passages: list[Passage] = []
        to_controller: list[Delivery] = []
        waiting = [(node, port, packet, tunnel or {})]
        while waiting:
            here, in_port, current, fields = waiting.pop(0)
            bridge = self._nodes[here]
            result = run(bridge.bridge, bridge.conntrack, in_port, current, fields)
            bridge.conntrack = result.conntrack
            if result.learned:
                bridge.bridge = replace(bridge.bridge, learned={**bridge.bridge.learned, **result.learned})
            passages.append(Passage(here, in_port, tuple(result.steps)))
            for emission in result.emissions:
                if emission.port == Port.CONTROLLER:
                    to_controller.append(Delivery(here, in_port, emission.packet))
                    continue
                if emission.port != self.tunnel_port:
                    deliveries.append(Delivery(here, emission.port, emission.packet))
                    continue
                arrival = self._arrival(here, emission)
                if arrival is not None:
                    waiting.append(arrival)
        return Journey(tuple(deliveries), tuple(passages), tuple(to_controller))

    def _bridge(self, program: BridgeProgram) -> Bridge:
        return Bridge(
            TableIndex(program.flows),
            {group.id: group for group in program.groups},
            self.choose,
            meters=frozenset(meter.id for meter in program.meters),
        )

    def _arrival(self, sender: str, emission: Emission) -> tuple[str, int, Packet, dict[Field, int]] | None:
        """At the node that has the tunnel's destination, if any; the outer source is the sender's first address of its family.

        Without one the packet stays where it is.
        """
        ipv4, ipv6 = emission.tunnel[TUN_DST], emission.tunnel[TUN_IPV6_DST]
        target = IPv4Address(ipv4) if ipv4 else IPv6Address(ipv6)
        name = next((name for name, each in self._nodes.items() if target in each.addresses), None)
        own = self._nodes[sender].addresses
        source = next((each for each in own if each.version == target.version), None)
        if name is None or source is None:
            return None
        tunnel = dict(emission.tunnel)
        tunnel[TUN_SRC if source.version == 4 else TUN_IPV6_SRC] = int(source)
        return name, self.tunnel_port, emission.packet, tunnel
