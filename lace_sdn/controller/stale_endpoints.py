"""UDP endpoints that leave a bridge: what stays until the connections to them are forgotten, and which these are. Pure.

A flow of table EndpointDnat is the record that connections to its endpoint may exist (docs/decisions/0012).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Ct, SetField
from lace_sdn.openflow.fields import IP_PROTO, IPV4_DST, IPV6_DST, UDP_DST, IpProto
from lace_sdn.openflow.flow import program
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter
from lace_sdn.pipeline.registers import SERVICE_PORT
from lace_sdn.pipeline.tables import ENDPOINT_DNAT
from lace_sdn.pipeline.tables import SERVICE_PORT as SERVICE_PORT_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import BridgeProgram, Flow


@dataclass(frozen=True, slots=True)
class Leave:
    """``first``: the program to install before connections like ``flushes`` are forgotten; then comes the desired one."""

    first: BridgeProgram
    flushes: tuple[ConnectionFilter, ...]


def leave(installed: BridgeProgram, desired: BridgeProgram) -> Leave | None:
    """None if no UDP endpoint and no UDP port of a VIP leaves.

    In ``first`` nothing chooses the endpoints that leave, but their flows are there, and VIPs' ports that leave are silent: whoever
    reads the bridge then finds all that is needed to go on.
    """
    wanted = {flow.key: flow for flow in desired.flows}
    ports = [flow for flow in installed.flows if flow.table == SERVICE_PORT_TABLE.number and _is_udp(flow)]
    rows = [flow for flow in installed.flows if flow.table == ENDPOINT_DNAT.number and _is_udp(flow)]
    gone_ports = [flow for flow in ports if flow.key not in wanted]
    gone_rows = [flow for flow in rows if _translation(wanted.get(flow.key)) != _translation(flow)]
    if not gone_ports and not gone_rows:
        return None
    kept = {flow.key: flow for flow in gone_rows}
    kept |= {flow.key: replace(flow, actions=(SERVICE_PORT.set(_number(flow)),)) for flow in gone_ports}
    first = program((wanted | kept).values(), desired.groups)
    return Leave(first, tuple(dict.fromkeys(_flushes(ports, gone_ports, gone_rows))))


def _flushes(ports: list[Flow], gone_ports: list[Flow], gone_rows: list[Flow]) -> Iterator[ConnectionFilter]:
    """Of a VIP's port that goes: all; of one that stays: those to the endpoints that go."""
    for port in gone_ports:
        yield ConnectionFilter(IpProto.UDP, _called(port))
    staying: dict[int, list[TupleFilter]] = defaultdict(list)
    for port in ports:
        if port not in gone_ports:
            staying[_number(port)].append(_called(port))
    for row in gone_rows:
        translated = _translation(row)
        number = row.match.get(SERVICE_PORT.field)
        if number is None or translated is None:
            continue
        address, port_number = translated
        for called in staying.get(number.value, ()):
            if called.destination is not None and called.destination.version == address.version:
                yield ConnectionFilter(
                    IpProto.UDP, called, TupleFilter(source=address, source_port=port_number)
                )


def _is_udp(flow: Flow) -> bool:
    protocol = flow.match.get(IP_PROTO)
    return protocol is not None and protocol.value == IpProto.UDP


def _number(flow: Flow) -> int:
    """The number that a flow of table ServicePort gives; 0 if it gives none."""
    given = (each for each in flow.actions if isinstance(each, SetField) and each.field is SERVICE_PORT.field)
    return next((each.value for each in given), 0)


def _called(flow: Flow) -> TupleFilter:
    """VIP and port of a flow of table ServicePort."""
    four, six, port = (flow.match.get(each) for each in (IPV4_DST, IPV6_DST, UDP_DST))
    address = IPv4Address(four.value) if four else IPv6Address(six.value) if six else None
    return TupleFilter(destination=address, destination_port=port.value if port else None)


def _translation(flow: Flow | None) -> tuple[Address, int | None] | None:
    """Address and port of the endpoint that a flow translates to."""
    for action in flow.actions if flow else ():
        if isinstance(action, Ct) and action.nat is not None and action.nat.address is not None:
            return action.nat.address, action.nat.port
    return None
