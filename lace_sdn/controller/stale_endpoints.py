"""UDP endpoints that leave a bridge: what stays until the connections to them are forgotten, and which these are. Pure.

A flow of table EndpointDnat is the record that connections to its endpoint may exist (docs/decisions/0012).
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Ct, SetField
from lace_sdn.openflow.fields import IP_PROTO, IPV4_DST, IPV6_DST, UDP_DST, IpProto
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.registers import SERVICE_PORT
from lace_sdn.pipeline.tables import ENDPOINT_DNAT
from lace_sdn.pipeline.tables import SERVICE_PORT as SERVICE_PORT_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import BridgeProgram, Flow, FlowKey


@dataclass(frozen=True, slots=True)
class Record:
    """A flow that nothing leads to any more; it stays until connections like ``flushes`` are forgotten for good."""

    flow: Flow
    flushes: tuple[ConnectionFilter, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """``first``: ``desired`` and the records, to be installed before anything is forgotten."""

    desired: BridgeProgram
    records: tuple[Record, ...]

    @property
    def first(self) -> BridgeProgram:
        return self.with_records(self.records)

    @property
    def flushes(self) -> tuple[ConnectionFilter, ...]:
        return flushes(self.records)

    def with_records(self, records: Iterable[Record]) -> BridgeProgram:
        """The desired program and these records."""
        flows = list(self.desired.flows)
        for record in records:
            insort(flows, record.flow, key=_place)
        return replace(self.desired, flows=tuple(flows))


def flushes(records: Iterable[Record]) -> tuple[ConnectionFilter, ...]:
    """Each once."""
    return tuple(dict.fromkeys(each for record in records for each in record.flushes))


def leave(installed: BridgeProgram, desired: BridgeProgram) -> Leave | None:
    """None if no UDP endpoint and no UDP port of a VIP or NodePort leaves.

    In ``first`` nothing chooses the endpoints that leave, but their flows are there, and VIPs' ports that leave are silent: whoever
    reads the bridge then finds all that is needed to go on.
    """
    ports, rows = _of_table(installed, SERVICE_PORT_TABLE.number), _of_table(installed, ENDPOINT_DNAT.number)
    if not ports and not rows:
        return None
    wanted = {flow.key: flow for flow in desired.flows if flow.table in _TABLES}
    found = [*_ports_that_leave(ports, wanted), *_endpoints_that_leave(ports, rows, wanted)]
    by_key: dict[FlowKey, Record] = {}
    for record in found:
        # Of two that stood aside the one that did so last comes first: it has to stay longest.
        if record.flow.key not in wanted:
            by_key.setdefault(record.flow.key, record)
    return Leave(desired, tuple(by_key.values())) if by_key else None


_TABLES = (SERVICE_PORT_TABLE.number, ENDPOINT_DNAT.number)


def _ports_that_leave(ports: list[Flow], wanted: Mapping[FlowKey, Flow]) -> Iterator[Record]:
    owners = {
        flow.match: _number(flow) for flow in wanted.values() if flow.table == SERVICE_PORT_TABLE.number
    }
    for port in ports:
        # By the match alone, for a record that stood aside has not the port's priority any more.
        if owners.get(port.match) != _number(port):
            silent = replace(port, actions=(SERVICE_PORT.set(_number(port)),))
            yield Record(_aside(silent, wanted), (ConnectionFilter(IpProto.UDP, _called(port)),))


def _endpoints_that_leave(
    ports: list[Flow], rows: list[Flow], wanted: Mapping[FlowKey, Flow]
) -> Iterator[Record]:
    """Also where the VIP's port goes, all of whose connections are forgotten: should it return at once, the record counts."""
    called_by: dict[int, dict[TupleFilter, None]] = defaultdict(dict)
    for port in ports:
        called_by[_number(port)][_called(port)] = None
    serving = {_endpoint(flow) for flow in wanted.values() if flow.table == ENDPOINT_DNAT.number}
    for row in rows:
        number, address, port_number = endpoint = _endpoint(row)
        if endpoint not in serving:
            reply = TupleFilter(source=address, source_port=port_number)
            flushes = (
                ConnectionFilter(IpProto.UDP, called, reply)
                for called in called_by[number]
                if address and (called.destination is None or called.destination.version == address.version)
            )
            yield Record(_aside(row, wanted), tuple(flushes))


def _of_table(program: BridgeProgram, number: int) -> list[Flow]:
    return [flow for flow in program.flows if flow.table == number and _is_udp(flow)]


def _aside(flow: Flow, wanted: Mapping[FlowKey, Flow]) -> Flow:
    """A record that stands in nobody's way: another Service may have got the VIP, another endpoint the hash that is its number."""
    return replace(flow, priority=Priority.LOW) if flow.key in wanted else flow


def _place(flow: Flow) -> tuple[int, int, str]:
    """The order of a BridgeProgram."""
    return flow.table, -flow.priority, str(flow.match)


def _is_udp(flow: Flow) -> bool:
    protocol = flow.match.get(IP_PROTO)
    return protocol is not None and protocol.value == IpProto.UDP


def _number(flow: Flow) -> int:
    """The number that a flow of table ServicePort gives; 0 if it gives none."""
    given = (each for each in flow.actions if isinstance(each, SetField) and each.field is SERVICE_PORT.field)
    return next((each.value for each in given), 0)


def _called(flow: Flow) -> TupleFilter:
    """VIP and port of a flow of table ServicePort; for a NodePort, which all nodes' addresses have, the port alone."""
    four, six, port = (flow.match.get(each) for each in (IPV4_DST, IPV6_DST, UDP_DST))
    address = IPv4Address(four.value) if four else IPv6Address(six.value) if six else None
    return TupleFilter(destination=address, destination_port=port.value if port else None)


def _endpoint(flow: Flow) -> tuple[int, Address | None, int | None]:
    """Number of the Service's port, address and port of the endpoint, of a flow of table EndpointDnat."""
    number = flow.match.get(SERVICE_PORT.field)
    for action in flow.actions:
        if isinstance(action, Ct) and action.nat is not None and action.nat.address is not None:
            return number.value if number else 0, action.nat.address, action.nat.port
    return number.value if number else 0, None, None
