"""Judges of liars with an end outside: forged packets by the gateway, by tunnels and by pods pass nobody."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from beyond import Beyond, gateway, opening, outward
from judges import ADDRESSES
from outside_arena import NETWORKS, NODE_PORTS, NODES, OUTER, TUNNELS
from outside_revocation import udp, vip
from states import TCP_PORT, UDP_PORT

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, TUN_ID, TUN_SRC
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends, icmp_form
from lace_sdn.pipeline.constants import (
    GATEWAY_ETHER,
    GATEWAY_IPV4,
    GATEWAY_IPV6,
    HAIRPIN_SOURCE,
    HOST_ADDRESS,
    NODE_PORT_ADDRESS,
    TUNNEL_DESTINATION,
    TUNNEL_PORT,
    TUNNEL_SOURCE,
    TWIN_SOURCE,
)
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.services import port_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from judges import Compile, Lab

    from lace_sdn.model.objects import Address

CLIENT = 36000
IDS = numbers(port_name(service, port) for service in OUTER.services for port in service.ports)
OWN_GATEWAYS = {4: GATEWAY_IPV4, 6: GATEWAY_IPV6}
LAST = 10
"""Ports of pods on the largest node, and some more."""


def of(name: str, family: int) -> Address:
    """An address of a pod (``bob0``), a host (``host net``) or the VIP of a Service (``web``)."""
    kind = name.removeprefix("host ")
    known = (
        OUTER.external_host_by_name.get(kind)
        if kind != name
        else OUTER.endpoint_by_id.get(f"pods/{name}") or OUTER.node_by_name.get(name)
    )
    addresses = known.addresses if known else OUTER.service_by_id[f"pods/{name}"].vips
    return next(each for each in addresses if each.version == family)


def inner(family: int) -> dict[str, Address]:
    """Addresses that only bridges and nodes' own stacks know."""
    found = {f"the masquerade of port {number}": outward(number, family) for number in range(1, LAST)}
    return found | {
        "the masquerade of the gateway": outward(gateway("node0").port, family),
        "the hairpin address": HAIRPIN_SOURCE[family],
        "the twin address": TWIN_SOURCE[family],
        "the NodePort address": NODE_PORT_ADDRESS[family],
        "the stack's own address": HOST_ADDRESS[family],
        "the pods' gateway": OWN_GATEWAYS[family],
    }


def _openings(ends: Ends, *ports: int) -> Iterator[Packet]:
    for port in ports:
        yield Packet.tcp(ends, (CLIENT, port), Tcp.SYN)
        yield Packet.udp(ends, (CLIENT, port))
    yield Packet.echo(ends, CLIENT)


def _heard(stage: Beyond, place: tuple[str, int], packet: Packet, what: str) -> Iterator[str]:
    journey = stage.wires.inject(*place, packet)
    for each in (*journey.deliveries, *journey.to_controller):
        yield f"{what} arrives at port {each.port} of {each.node}"
    if len(journey.passages) > 1:
        yield f"{what} is sent on to another node"


def hosts_that_lie(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """By the gateway: inner addresses at either end, addresses of pods and nodes, answers to no question, strangers."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    entry = gateway("node0")
    ports = (TCP_PORT, NODE_PORTS["web"], 80)
    for family in (4, 6):
        sources = {**inner(family), "a pod": of("ann0", family), "a stranger": of("host locked", family)}
        for what, source in sources.items():
            # The Network "wide" is where the addresses of pods are, and may call bob, as the policy says.
            goals = ("cat0", "eve0") if what == "a pod" else ("bob0", "bob1", "cat0", "eve0", "web", "api")
            for goal in (*goals, "its NodePorts"):
                if what == "a pod" and goal == "its NodePorts":
                    continue
                called = NODE_PORT_ADDRESS[family] if goal == "its NodePorts" else of(goal, family)
                for packet in _openings(Ends(entry.mac, GATEWAY_ETHER, source, called), *ports):
                    yield from _heard(stage, entry[:2], packet, f"a packet from {what} to {goal}")
        for what, called in inner(family).items():
            ends = Ends(entry.mac, GATEWAY_ETHER, of("host corp0", family), called)
            for packet in _openings(ends, TCP_PORT, 22):
                yield from _heard(stage, entry[:2], packet, f"a packet to {what}")
        yield from _processes(stage, family)
        ends = Ends(entry.mac, GATEWAY_ETHER, of("host corp0", family), of("bob0", family))
        yield from _unasked(stage, entry[:2], ends, "a host")


def _processes(stage: Beyond, family: int) -> Iterator[str]:
    """Of a node's own address a pod's probes are open to its own node, and no other port, protocol or node's address."""
    entry = gateway("node0")
    for source, goal, port in (
        ("node1", "eve0", 9090),
        ("node0", "eve0", TCP_PORT),
        ("node0", "eve2", 9090),
        ("node1", "bob0", TCP_PORT),
        ("node0", "bob0", 22),
    ):
        ends = Ends(entry.mac, GATEWAY_ETHER, of(source, family), of(goal, family))
        for packet in _openings(ends, port):
            yield from _heard(stage, entry[:2], packet, f"a packet from {source} to {goal}'s port {port}")
    ends = Ends(entry.mac, GATEWAY_ETHER, of("node0", family), of("eve0", family))
    yield from _heard(stage, entry[:2], Packet.udp(ends, (CLIENT, 9090)), "a probe by UDP")


def _unasked(stage: Beyond, place: tuple[str, int], ends: Ends, who: str) -> Iterator[str]:
    form = icmp_form(ends.source.version)
    reply = Packet.echo(ends, CLIENT).with_headers({form.type: form.echo_reply})
    yield from _heard(stage, place, reply, f"an echo reply of {who} to no question")
    accepted = Packet.tcp(ends, (443, CLIENT), Tcp.SYN | Tcp.ACK)
    yield from _heard(stage, place, accepted, f"an answer of {who} to no question")


def pods_that_lie_outward(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Pods that may call everybody outside reach no inner address, no end of a tunnel, and answer nobody unasked."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    for name in ("ann0", "cat0", "eve0"):
        place = stage.places[f"pods/{name}"]
        for family in (4, 6):
            for what, called in inner(family).items():
                ends = Ends(place.mac, GATEWAY_ETHER, of(name, family), called)
                for packet in _openings(ends, TCP_PORT, NODE_PORTS["web"]):
                    yield from _heard(stage, place[:2], packet, f"{name}'s packet to {what}")
            for node in NODES:
                called = next(each for each in node.addresses if each.version == family)
                ends = Ends(place.mac, GATEWAY_ETHER, of(name, family), called)
                packet = Packet.udp(ends, (CLIENT, TUNNELS))
                yield from _heard(stage, place[:2], packet, f"{name}'s packet to the tunnels of {node.name}")
            tunnels = vip(f"pods/{name}", "tunnels", Protocol.UDP, 53)
            if name != "ann0":
                way = stage.way(tunnels)
                assert way is not None
                packet = opening(way, tunnels, CLIENT)
                yield from _heard(stage, place[:2], packet, f"{name}'s packet to tunnels by a VIP")
            ends = Ends(place.mac, GATEWAY_ETHER, of(name, family), of("host net", family))
            yield from _unasked(stage, place[:2], ends, name)
            packet = Packet.udp(ends, (CLIENT, TUNNELS))
            yield from _heard(stage, place[:2], packet, f"{name}'s packet to the tunnels of a host")
    held = stage.meet(udp("pods/ann0", "host net"), CLIENT)
    if not held.is_whole:
        yield "an honest datagram to the world is refused"


def tunnels_with_external_keys(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """External keys in a frame open nothing that its Network may not, are taken from nodes alone, and lead nowhere outside."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    node1, stranger = int(ADDRESSES["node1"]), int(ip_address("192.168.50.77"))
    web = IDS["pods/web TCP 80"]
    # What: outer source, key of the source, of the destination, number of the Service's port, source and destination.
    forged: dict[str, tuple[int, str, str, int, str, str]] = {
        "from a stranger": (stranger, "corp", "bob", 0, "host corp0", "bob0"),
        "of a Network that may not": (node1, "shut", "bob", 0, "host locked", "bob0"),
        "of one that may use Services only": (node1, "world", "bob", 0, "host net", "bob0"),
        "of one that may use other Services only": (node1, "world", "bob", 0x77, "host net", "bob0"),
        "of one that may not use Services": (node1, "shut", "bob", web, "host locked", "bob0"),
        "of no Network": (node1, "", "bob", 0, "host net", "bob0"),
        "to no Network": (node1, "corp", "", 0, "host corp0", "bob0"),
        "of a pod to the world": (node1, "ann", "world", 0, "ann1", "host net"),
        "of the world to corp": (node1, "world", "corp", 0, "host net", "host corp0"),
        "of corp to itself": (node1, "corp", "corp", 0, "host corp0", "host corp2"),
        "of base to itself by a Service": (
            node1,
            "base",
            "base",
            IDS["pods/lan UDP 53"],
            "host lan",
            "host lan",
        ),
        "of a pod to a third node": (node1, "corp", "bob", 0, "host corp0", "bob1"),
    }
    for family in (4, 6):
        for what, (outer, source, key, number, sender, called) in forged.items():
            ends = Ends(0, 0, of(sender, family), of(called, family))
            tunnel = {TUN_SRC: outer, TUN_ID: NETWORKS[key].key if key else 0}
            for packet in _openings(ends, TCP_PORT, UDP_PORT):
                frame = framed(packet, source, number)
                journey = stage.wires.inject("node0", TUNNEL_PORT, frame, tunnel)
                for each in journey.deliveries:
                    yield f"a frame {what} arrives at port {each.port} of {each.node}"
                if len(journey.passages) > 1:
                    yield f"a frame {what} is sent on"
    yield from _honest(stage, node1)


def _honest(stage: Beyond, node1: int) -> Iterator[str]:
    ends = Ends(0, 0, of("host corp0", 4), of("bob0", 4))
    frame = framed(Packet.udp(ends, (CLIENT, UDP_PORT)), "corp", 0)
    tunnel = {TUN_SRC: node1, TUN_ID: NETWORKS["bob"].key}
    if not stage.wires.inject("node0", TUNNEL_PORT, frame, tunnel).deliveries:
        yield "an honest frame of corp is refused"


def framed(packet: Packet, source: str, number: int) -> Packet:
    """As a node would put it into a tunnel, from Network ``source`` ("": from none)."""
    key = NETWORKS[source].key if source else 0
    return packet.with_headers({ETH_SRC: TUNNEL_SOURCE | key, ETH_DST: TUNNEL_DESTINATION | number})
