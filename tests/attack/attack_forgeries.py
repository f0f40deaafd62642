"""Frames that must arrive nowhere, by kind, and who sends them. Every one bears a mark that receivers look for."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from attack_scene import DOOR, HOST, NODE_PORT, NOWHERE, VIP
from frames import Outer, checksum, encapsulate, encode

from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline.constants import GATEWAY_ETHER, TUNNEL_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from attack_scene import Place

MARK = b"must-not-arrive-"
HONEST = b"may-well-arrive-"
"""Of a frame that is sent as the forged ones are and is allowed: it shows that receivers see."""
_MORE_FRAGMENTS = 0x2000
_LATER = 185
"""Offset of a later fragment in units of 8 octets (RFC 791)."""
_FRAGMENT = 1400
"""Octets: Open vSwitch takes no smaller one that is not the last (ipf-set-min-frag, 1200 octets with the header)."""


@dataclass(frozen=True)
class Forgery:
    """``kind`` in words; ``frame`` is sent by ``sender`` as it is."""

    kind: str
    sender: str
    frame: bytes


def forgeries(places: Mapping[str, Place], stream: tuple[int, int]) -> list[Forgery]:
    """``stream``: the ports of a TCP connection from a/1 to srv/2 that is alive. The frame of number N bears ``MARK`` and N."""
    tokens = (MARK + b"%02d" % number for number in itertools.count())
    return [Forgery(*each) for each in _all(places, stream, tokens)]


def honest(places: Mapping[str, Place]) -> Forgery:
    return Forgery("honest", "a/1", _udp(places, "a/1", "a/1", "a/2", HONEST + b"00"))


def _all(
    places: Mapping[str, Place], stream: tuple[int, int], token: Iterator[bytes]
) -> Iterator[tuple[str, str, bytes]]:
    """One token each, in their order."""
    yield "MAC of another pod", "a/1", _udp(places, "a/2", "a/1", "srv/2", next(token))
    yield "address of another pod of its own network", "a/1", _udp(places, "a/1", "a/2", "srv/2", next(token))
    yield "address of a pod of another network", "a/1", _udp(places, "a/1", "b/1", "srv/2", next(token))
    yield "address of the called pod itself", "a/1", _udp(places, "a/1", "a/2", "a/2", next(token))
    for target in ("a/1", "b/1", "srv/1", "srv/2", "c/1"):
        yield f"to another network: {target}", "d/1", _udp(places, "d/1", "d/1", target, next(token))
        yield (
            f"SYN to another network: {target}",
            "d/1",
            _tcp(places, "d/1", target, (41001, DOOR), Tcp.SYN, next(token)),
        )
    yield "against the direction of a policy", "srv/1", _udp(places, "srv/1", "srv/1", "a/1", next(token))
    yield "to the world outside", "d/1", _udp(places, "d/1", "d/1", HOST, next(token))
    yield "straight to another pod's MAC", "d/1", _straight(places, "d/1", "b/1", next(token))
    yield "VLAN", "a/1", _tagged(_udp(places, "a/1", "a/1", "a/2", next(token)))
    yield "VLAN to another network", "d/1", _tagged(_udp(places, "d/1", "d/1", "b/1", next(token)))
    yield "forged answer", "d/1", _udp(places, "d/1", "srv/2", "a/1", next(token), (stream[1], stream[0]))
    for flags, name in ((Tcp.RST, "RST"), (Tcp.ACK, "ACK"), (Tcp.RST | Tcp.ACK, "RST+ACK")):
        ports = (stream[1], stream[0])
        yield (
            f"forged {name} of a live stream",
            "d/1",
            _tcp(places, "d/1", "a/1", ports, flags, next(token), "srv/2"),
        )
        yield (
            f"{name} of no stream",
            "d/1",
            _tcp(places, "d/1", "srv/2", (41002, DOOR + 1), flags, next(token)),
        )
        yield (
            f"forged {name} from outside",
            HOST,
            _tcp(places, HOST, "a/1", ports, flags, next(token), "srv/2"),
        )
    for offset, name in ((_MORE_FRAGMENTS, "first"), (_LATER, "last"), (_LATER | _MORE_FRAGMENTS, "later")):
        size = _FRAGMENT if offset & _MORE_FRAGMENTS else 0
        own = _udp(places, "d/1", "d/1", "b/1", next(token).ljust(size, b"."))
        yield f"{name} fragment", "d/1", _fragment(own, offset)
        forged = _udp(places, "a/1", "b/1", "srv/2", next(token).ljust(size, b"."))
        yield f"{name} fragment, address of another network", "a/1", _fragment(forged, offset)
    yield "VIP of a network that it may not call", "d/1", _to(places, "d/1", VIP, DOOR, next(token))
    yield "VIP without endpoints", "d/1", _to(places, "d/1", NOWHERE, DOOR, next(token))
    yield "a NodePort from a pod that may not call it", "d/1", _to(places, "d/1", places["node1"].address, NODE_PORT, next(token))  # fmt: skip
    yield "from outside to a pod that nobody may call", HOST, _udp(places, HOST, HOST, "a/1", next(token))
    yield "from outside with a pod's address", HOST, _udp(places, HOST, "a/2", "a/1", next(token))
    for sender, node in (("d/1", "node1"), ("d/1", "node2"), (HOST, "node1"), (HOST, "node2")):
        yield f"tunnel to {node}", sender, _tunnelled(places, sender, node, next(token))


def _udp(  # noqa: PLR0913, PLR0917 - a frame has as many sides
    places: Mapping[str, Place], mac: str, source: str, target: str, token: bytes, ports: tuple[int, int] = (41000, DOOR)
) -> bytes:  # fmt: skip
    ends = Ends(places[mac].mac, _next_hop(places, mac), ip_address(places[source].address), ip_address(places[target].address))  # fmt: skip
    return encode(Packet.udp(ends, ports, token))


def _tcp(  # noqa: PLR0913, PLR0917 - as above
    places: Mapping[str, Place], mac: str, target: str, ports: tuple[int, int], flags: int, token: bytes, source: str = ""
) -> bytes:  # fmt: skip
    own = places[source or mac].address
    ends = Ends(places[mac].mac, _next_hop(places, mac), ip_address(own), ip_address(places[target].address))
    return encode(Packet.tcp(ends, ports, flags, token))


def _to(places: Mapping[str, Place], sender: str, address: str, port: int, token: bytes) -> bytes:
    its = places[sender]
    ends = Ends(its.mac, GATEWAY_ETHER, ip_address(its.address), ip_address(address))
    return encode(Packet.udp(ends, (41000, port), token))


def _straight(places: Mapping[str, Place], sender: str, target: str, token: bytes) -> bytes:
    return places[target].mac.to_bytes(6) + _udp(places, sender, sender, target, token)[6:]


def _next_hop(places: Mapping[str, Place], sender: str) -> int:
    return places["node1"].mac if sender == HOST else GATEWAY_ETHER


def _tagged(frame: bytes) -> bytes:
    """IEEE 802.1Q, VLAN 7."""
    return frame[:12] + b"\x81\x00\x00\x07" + frame[12:]


def _fragment(frame: bytes, offset: int) -> bytes:
    """The frame's IPv4 packet as one fragment: ``offset`` with flags (RFC 791)."""
    head = bytearray(frame[14:34])
    struct.pack_into("!HHxxH", head, 4, 4242, offset, 0)
    struct.pack_into("!H", head, 10, checksum(bytes(head)))
    return frame[:14] + bytes(head) + frame[34:]


def _tunnelled(places: Mapping[str, Place], sender: str, node: str, token: bytes) -> bytes:
    """As a node would send it from network a into b."""
    inner_ends = Ends(TUNNEL_SOURCE | 101, places["b/1"].mac, ip_address(places["a/1"].address), ip_address(places["b/1"].address))  # fmt: skip
    outer = Outer(
        places[sender].mac,
        places[node].mac if sender == HOST else GATEWAY_ETHER,
        ip_address(places[sender].address),  # type: ignore[arg-type]
        ip_address(places[node].address),  # type: ignore[arg-type]
        102,
    )
    return encapsulate(outer, encode(Packet.udp(inner_ends, (41000, DOOR), token)))
