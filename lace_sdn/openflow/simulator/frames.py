"""Between a packet and the fields that flows work on: what conntrack sees of it, and how it looks when it leaves."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.fields import (
    CT_LABEL,
    CT_MARK,
    CT_STATE,
    CT_ZONE,
    ETH_TYPE,
    IP_PROTO,
    METADATA,
    REG,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    EthType,
    Field,
    IpProto,
)
from lace_sdn.openflow.simulator.conntrack import Sighting, Tuple, icmp_port, is_trackable_icmp
from lace_sdn.openflow.simulator.packet import address_fields, icmp_form, port_fields
from lace_sdn.openflow.simulator.protocols import ICMP_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.openflow.simulator.conntrack import Key, Tracker
    from lace_sdn.openflow.simulator.packet import Packet

TUNNEL_FIELDS: Final = (TUN_ID, TUN_SRC, TUN_DST, TUN_IPV6_SRC, TUN_IPV6_DST)
PIPELINE_FIELDS: Final = (CT_STATE, CT_ZONE, CT_MARK, CT_LABEL, METADATA, *REG, *TUNNEL_FIELDS)
"""Every packet has them, zero at first."""

_REVERSED_TYPES: Final = {8: 0, 0: 8, 128: 129, 129: 128}
_ERRORS: Final = {IpProto.ICMP: (3, 4, 5, 11, 12), IpProto.ICMPV6: (1, 2, 3, 4)}


def repacked(
    packet: Packet, fields: Mapping[Field, int], ttl: int | None = None
) -> tuple[Packet, Mapping[Field, int]]:
    """The packet with its headers as ``fields`` have them now, and the tunnel fields."""
    headers = {each: fields[each] for each in packet.headers}
    changed = packet if headers == packet.headers else replace(packet, headers=MappingProxyType(headers))
    if ttl is not None:
        changed = replace(changed, ttl=ttl)
    return changed, {each: fields[each] for each in TUNNEL_FIELDS}


def tuple_of(packet: Packet, fields: Mapping[Field, int], tracker: Tracker) -> Tuple | None:
    """The connection tuple of a packet with these fields; None for what conntrack has no tuple for."""
    eth_type, protocol = fields[ETH_TYPE], fields.get(IP_PROTO)
    if eth_type not in (EthType.IPV4, EthType.IPV6) or protocol is None:
        return None
    source, destination = address_fields(eth_type)
    ports = port_fields(protocol)
    if ports is not None and tracker.has_ports(protocol):
        numbers = (fields[ports[0]], fields[ports[1]])
    elif protocol in ICMP_PROTOCOLS:
        icmp_type = fields[icmp_form(4 if eth_type == EthType.IPV4 else 6).type]
        if not is_trackable_icmp(protocol, icmp_type):
            return None
        numbers = (
            icmp_port(packet.icmp_id, icmp_type),
            icmp_port(packet.icmp_id, _REVERSED_TYPES[icmp_type]),
        )
    else:
        numbers = (0, 0)
    return Tuple(eth_type, protocol, fields[source], fields[destination], *numbers)


def sighting(
    packet: Packet, fields: Mapping[Field, int], tracked: int, entry: Key | None, tracker: Tracker
) -> Sighting:
    """What ``tracker`` sees. An ICMP error is seen by the packet that it quotes, turned round (RFC 5508 section 4)."""
    if packet.quoted is not None and _is_error(fields):
        about = tuple_of(packet.quoted, packet.quoted.headers, tracker)
        return Sighting(about.reversed if about else None, is_error=True, state=tracked, entry=entry)
    return Sighting(tuple_of(packet, fields, tracker), packet.tcp_flags, state=tracked, entry=entry)


def translated(
    packet: Packet, fields: Mapping[Field, int], seen: Sighting, after: Tuple
) -> tuple[Packet, Mapping[Field, int]]:
    """The packet and its changed fields after translation from ``seen.tuple`` to ``after``."""
    before = seen.tuple
    source, destination = address_fields(fields[ETH_TYPE])
    changed: dict[Field, int] = {destination: after.destination}
    if not seen.is_error or (before is not None and fields[source] == before.source):
        changed[source] = after.source
    if seen.is_error and packet.quoted is not None:
        inner = packet.quoted.with_headers(_headers_of(after.reversed))
        return replace(packet, quoted=inner), changed
    return packet, {**changed, **_headers_of(after)}


def _headers_of(wanted: Tuple) -> Mapping[Field, int]:
    source, destination = address_fields(wanted.eth_type)
    headers = {source: wanted.source, destination: wanted.destination}
    ports = port_fields(wanted.protocol)
    if ports is not None and wanted.has_ports:
        headers.update(zip(ports, (wanted.source_port, wanted.destination_port), strict=True))
    return headers


def _is_error(fields: Mapping[Field, int]) -> bool:
    protocol = fields.get(IP_PROTO, 0)
    if protocol not in _ERRORS:
        return False
    form = icmp_form(4 if fields[ETH_TYPE] == EthType.IPV4 else 6)
    return fields.get(form.type) in _ERRORS[protocol]
