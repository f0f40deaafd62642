"""Judges of ICMP errors with an end outside: they reach the one whose packet they quote, and nobody else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from beyond import Beyond, gateway
from conversation import addresses_in
from outside_arena import HTTP, NODE_PORTS, OUTER, without
from outside_revocation import IN, OUT, OWN_UNDERLAY, UNDERLAY, USED, tcp, udp, vip

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC
from lace_sdn.openflow.simulator import Packet
from lace_sdn.openflow.simulator.packet import Ends, icmp_form
from lace_sdn.pipeline.constants import GATEWAY_ETHER, GATEWAY_PORT, NODE_PORT_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beyond import Meeting
    from conversation import Place
    from judges import Compile, Lab

    from lace_sdn.model.objects import Address
    from lace_sdn.policy.oracle import Connection

CLIENT = 35000
# A router on the way may be in no Network at all.
ROUTERS = {4: ip_address("100.64.0.1"), 6: ip_address("fd99::1")}
KINDS = {4: ((3, 4), (3, 1), (11, 0)), 6: ((2, 0), (3, 0), (1, 0))}
"""By IP version, (type, code): too big, unreachable, time exceeded (RFC 792, RFC 4443)."""


def _error(about: Packet, sender: Address, kind: tuple[int, int], place: Place) -> Packet:
    """An ICMP error that ``sender`` makes of a packet on its way; it comes into the bridge at ``place``."""
    source, _ = addresses_in(about)
    made = Packet.unreachable(Ends(place.mac, GATEWAY_ETHER, sender, source), about)
    form = icmp_form(source.version)
    return made.with_headers({form.type: kind[0], form.code: kind[1]})


def _same(one: Packet, other: Packet) -> bool:
    """Whether they have the same addresses and ports."""
    inside = (ETH_SRC, ETH_DST)
    return all(other.headers.get(each) == value for each, value in one.headers.items() if each not in inside)


def errors_of_routers(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Of each kind, about packets of either side that had left the bridge."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    asked = (*OUT[:3], *IN[:3], *USED, *UNDERLAY, OWN_UNDERLAY[0], tcp("node node0", "pods/bob0"))
    for number, connection in enumerate(asked):
        held = stage.meet(connection, CLIENT + number)
        if not held.is_whole:
            yield f"{connection}: never made"
            continue
        for kind in KINDS[connection.family]:
            yield from _told(stage, held, kind)
        if stage.goes_on(held) != (True, True):
            yield f"{connection}: disturbed by errors about it"


def _told(stage: Beyond, held: Meeting, kind: tuple[int, int]) -> Iterator[str]:
    """Each of its packets that left by a gateway is quoted, as it left; its sender hears of it, as it had sent it."""
    assert held.way is not None
    assert held.there is not None
    for place, packet, journey in zip(
        (held.way.place, held.there), held.sent[2:], held.journeys[2:], strict=True
    ):
        (left,) = journey.deliveries
        if left.port != GATEWAY_PORT:
            continue
        entry = gateway(left.node)
        error = _error(left.packet, ROUTERS[held.connection.family], kind, entry)
        found, there = stage.send(entry, error)
        if found is None or found[:2] != place[:2]:
            what = [(each.node, each.port) for each in there.deliveries]
            yield f"{held.connection}: ICMP error {kind} reaches {what} and not {place[:2]}"
        elif found.packet.quoted is None or not _same(packet, found.packet.quoted):
            yield f"{held.connection}: ICMP error {kind} quotes what its receiver never sent"


def errors_of_pods(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A pod that does not listen tells who called it, there where it came in, as from the address that was called."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    asked = (
        udp("host corp0", "pods/bob0"),
        udp("host corp0", "pods/bob1"),
        udp("host corp2", "pods/bob0", 5353, 6),
        vip("host net", "dns", Protocol.UDP, 53),
        udp("host net", "node node2", NODE_PORTS["dns"]),
        udp("pods/eve0", "node node2", NODE_PORTS["dns"], 6),
    )
    for number, connection in enumerate(asked):
        held = stage.meet(connection, CLIENT + number)
        if not held.is_whole or held.there is None or held.way is None:
            yield f"{connection}: never made"
            continue
        (arrived,) = held.journeys[2].deliveries
        _, own = addresses_in(arrived.packet)
        form = icmp_form(connection.family)
        error = _error(arrived.packet, own, (form.unreachable, form.port_unreachable), held.there)
        found, _ = stage.send(held.there, error)
        quoted = found.packet.quoted if found else None
        if found is None or found[:2] != held.way.place[:2]:
            yield f"{connection}: the refusal of {held.reached} does not come back"
        elif quoted is None or not _same(held.sent[2], quoted):
            yield f"{connection}: the refusal quotes what was never sent"
        elif addresses_in(found.packet) != (held.way.called, held.way.own):
            yield f"{connection}: the refusal comes from another address than was called"


def errors_about_nothing(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """An error about no connection, to another one's address, or about what ended, passes nobody."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    for connection in (OUT[0], OUT[2], IN[1], IN[2]):
        held = stage.meet(connection, CLIENT)
        if not held.is_whole:
            yield f"{connection}: never made"
            continue
        for what, about, entry in _misled(held):
            for kind in KINDS[connection.family]:
                error = _error(about, ROUTERS[connection.family], kind, entry)
                for each in stage.wires.inject(entry.node, entry.port, error).deliveries:
                    yield f"{connection}: ICMP error {kind} about {what} arrives at port {each.port} of {each.node}"
    yield from _about_ended(lab, compile_all, OUT[0], "ann-to-world")
    yield from _about_ended(lab, compile_all, IN[1], "corp-to-bob")


def _misled(held: Meeting) -> Iterator[tuple[str, Packet, Place]]:
    """What is wrong, the packet quoted, and where the error comes in."""
    assert held.way is not None
    assert held.there is not None
    left = next(
        each.packet
        for journey in held.journeys[2:]
        for each in journey.deliveries
        if each.port == GATEWAY_PORT
    )
    node = next(place.node for place in (held.there, held.way.place) if place.port == GATEWAY_PORT)
    entry, other = gateway(node), gateway("node1" if node != "node1" else "node2")
    source, destination = addresses_in(left)
    ends = Ends(entry.mac, GATEWAY_ETHER, source, destination)
    yield "another port", Packet.tcp(ends, (CLIENT + 9, HTTP), 16), entry
    yield "what another node had sent", left, other
    yield "a stranger's packet", Packet.udp(ends._replace(source=source + 1), (CLIENT, 5353)), entry
    called = ends._replace(source=NODE_PORT_ADDRESS[source.version])
    yield "a NodePort that was not called", Packet.tcp(called, (NODE_PORTS["web"], CLIENT), 16), entry


def _about_ended(lab: Lab, compile_all: Compile, connection: Connection, policy: str) -> Iterator[str]:
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    held = stage.meet(connection, CLIENT)
    for node, program in compile_all(without(policy), OUTER).items():
        stage.wires.install(node, program)
    if not held.is_whole:
        yield f"{connection}: never made"
        return
    left = next(
        each for journey in held.journeys[2:] for each in journey.deliveries if each.port == GATEWAY_PORT
    )
    entry = gateway(left.node)
    error = _error(left.packet, ROUTERS[connection.family], KINDS[connection.family][0], entry)
    for each in stage.wires.inject(entry.node, entry.port, error).deliveries:
        yield f"{connection}: an error about it arrives at port {each.port} of {each.node} without {policy}"
