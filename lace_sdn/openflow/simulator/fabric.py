"""Nodes with their bridges, joined by an underlay: a packet in at a port, packets out at ports of the same or other nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.openflow.fields import TUN_DST, TUN_IPV6_DST, TUN_IPV6_SRC, TUN_SRC
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.simulator.conntrack import Conntrack, Tracker
from lace_sdn.openflow.simulator.machine import Bridge, run
from lace_sdn.openflow.simulator.table_index import TableIndex

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.flow import Bucket, Group
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
    """All that came of one packet: where it arrived, what was encapsulated, and every lookup on the way."""

    deliveries: tuple[Delivery, ...]
    passages: tuple[Passage, ...]


def first_bucket(group: Group, packet: Packet) -> Bucket:  # noqa: ARG001 - a chooser may look at the packet
    """The chooser when nobody says: always the first bucket."""
    return group.buckets[0]


@dataclass
class _Node:
    address: Address
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

    def add(self, node: str, address: Address, program: BridgeProgram | None = None) -> None:
        """A node with its underlay address; an empty bridge drops everything."""
        installed = program or BridgeProgram()
        self._nodes[node] = _Node(address, installed, self._bridge(installed), Conntrack(self.tracker))

    def install(self, node: str, program: BridgeProgram) -> None:
        """Replace the program, as one bundle does: connections stay. Raises KeyError for an unknown node."""
        self._nodes[node].program = program
        self._nodes[node].bridge = self._bridge(program)

    def program(self, node: str) -> BridgeProgram:
        return self._nodes[node].program

    def conntrack(self, node: str) -> Conntrack:
        return self._nodes[node].conntrack

    def forget(self, node: str, zone: int) -> None:
        """Flush one conntrack zone of ``node``."""
        self._nodes[node].conntrack = self._nodes[node].conntrack.forget(zone)

    def copy(self) -> Fabric:
        """A fabric in the same state that goes its own way from now on."""
        nodes = {
            name: _Node(each.address, each.program, each.bridge, each.conntrack)
            for name, each in self._nodes.items()
        }
        return Fabric(self.tunnel_port, self.tracker, self.choose, nodes)

    def inject(
        self, node: str, port: int, packet: Packet, tunnel: Mapping[Field, int] | None = None
    ) -> Journey:
        """``packet`` comes into ``node`` by ``port``; ``tunnel``: its tunnel fields, if it comes from one.

        Raises KeyError for an unknown node, SimulationError for a program that a switch would not run.
        """
        deliveries: list[Delivery] = []
        passages: list[Passage] = []
        waiting = [(node, port, packet, tunnel or {})]
        while waiting:
            here, in_port, current, fields = waiting.pop(0)
            bridge = self._nodes[here]
            result = run(bridge.bridge, bridge.conntrack, in_port, current, fields)
            bridge.conntrack = result.conntrack
            passages.append(Passage(here, in_port, tuple(result.steps)))
            for emission in result.emissions:
                if emission.port != self.tunnel_port:
                    deliveries.append(Delivery(here, emission.port, emission.packet))
                    continue
                arrival = self._arrival(here, emission)
                if arrival is not None:
                    waiting.append(arrival)
        return Journey(tuple(deliveries), tuple(passages))

    def _bridge(self, program: BridgeProgram) -> Bridge:
        return Bridge(TableIndex(program.flows), {group.id: group for group in program.groups}, self.choose)

    def _arrival(self, sender: str, emission: Emission) -> tuple[str, int, Packet, dict[Field, int]] | None:
        """At the node whose address is the tunnel's destination, if any; the outer source is the sender's address."""
        target = emission.tunnel[TUN_DST] or emission.tunnel[TUN_IPV6_DST]
        name = next((name for name, each in self._nodes.items() if int(each.address) == target), None)
        if name is None:
            return None
        source = self._nodes[sender].address
        tunnel = dict(emission.tunnel)
        tunnel[TUN_SRC if source.version == 4 else TUN_IPV6_SRC] = int(source)
        return name, self.tunnel_port, emission.packet, tunnel
