"""Names for the flows of a live switch: the object behind each, the networks it speaks of, its table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import Ct, SetField
from lace_sdn.openflow.fields import IN_PORT, TUN_ID, Term
from lace_sdn.openflow.text import parse_flow, parse_group
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.cookies import Category, category_of, describe, name_id
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    INITIATOR,
    INITIATOR_CLASS,
    LOOKUP,
    RESPONDER,
    SERVICE_CLASS,
    SOURCE_NETWORK,
    RegField,
)
from lace_sdn.pipeline.size_rows import mtu_of
from lace_sdn.pipeline.tables import CLASSIFIER, TABLE_BY_NUMBER
from lace_sdn.policy.relations import resolve
from lace_sdn.policy.services import port_name, resolve_services
from lace_sdn.switch.contract import is_learned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.flow import BridgeProgram, Flow, FlowKey, Group

_STATISTICS: Final = re.compile(
    r"\b(?:duration=[\d.]+s|n_packets=(?P<packets>\d+)|n_bytes=(?P<bytes>\d+)|idle_age=\d+|hard_age=\d+|(?:idle|hard)_timeout=\d+), ?"
)
_TUNNEL_KEY: Final = RegField("TunnelKey", TUN_ID, 0, 31, "network key of the receiver, on the wire")
_NETWORK_FIELDS: Final = (SOURCE_NETWORK, DESTINATION_NETWORK, LOOKUP, INITIATOR, RESPONDER, _TUNNEL_KEY)


@dataclass(frozen=True, slots=True)
class Counted:
    """A flow as a switch shows it, with its counters."""

    flow: Flow
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Named:
    """``is_expected`` is False for a flow that the manifests do not mean: stale, changed by hand, or foreign."""

    counted: Counted
    table: str
    owner: str
    networks: tuple[str, ...]
    is_expected: bool

    @property
    def words(self) -> str:
        """All names, for filters."""
        return " ".join((self.owner, *self.networks))


def parse_dump(text: str) -> Iterator[Counted]:
    """The flows of ``ovs-ofctl dump-flows`` with statistics. Raises ValueError for a line that is no flow."""
    for line in text.splitlines():
        if "actions=" not in line:
            continue
        counters = {"packets": 0, "bytes": 0}
        for found in _STATISTICS.finditer(line):
            counters.update({name: int(value) for name, value in found.groupdict().items() if value})
        flow = parse_flow(_STATISTICS.sub("", line).strip())
        yield Counted(flow, counters["packets"], counters["bytes"])


def named(found: Iterable[Counted], state: ClusterState, node: str, *, sctp: bool = True) -> Iterator[Named]:
    """Each flow with its names; ``sctp``: whether the datapath tracks it by its ports."""
    dump = tuple(found)
    desired: Mapping[FlowKey, Flow] = {flow.key: flow for flow in _meant(dump, state, node, sctp=sctp).flows}
    network_names = {network.key: network.name for network in state.networks}
    relations = resolve(state)
    members = {each.number: each.members for each in relations.classes}
    clients = {each.number: each.members for each in resolve_services(state, relations).classes}
    for counted in dump:
        flow = counted.flow
        meant = desired.get(flow.key)
        table = TABLE_BY_NUMBER.get(flow.table)
        names = {network_names.get(key, f"unknown network {key}") for key in _values(flow, _NETWORK_FIELDS)}
        numbers = _values(flow, (INITIATOR_CLASS,))
        served = _values(flow, (SERVICE_CLASS,))
        yield Named(
            counted,
            table.name if table else str(flow.table),
            meant.owner if meant else describe(flow.cookie, state),
            tuple(
                sorted(
                    names.union(
                        *(members.get(number, ()) for number in numbers),
                        *(clients.get(number, ()) for number in served),
                    )
                )
            ),
            is_expected=meant == flow or is_learned(flow.cookie),
        )


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A select group of a live switch, and the Service's port that it spreads; ``is_expected`` as of a flow."""

    group: Group
    owner: str
    is_expected: bool


def named_groups(
    text: str, state: ClusterState, node: str, flows: Iterable[Counted], *, sctp: bool = True
) -> Iterator[NamedGroup]:
    """The groups of ``ovs-ofctl dump-groups``, by number. Raises ValueError for a line that is no select group."""
    desired = {group.id: group for group in _meant(tuple(flows), state, node, sctp=sctp).groups}
    found = (parse_group(line.strip()) for line in text.splitlines() if "group_id=" in line)
    for group in sorted(found, key=lambda each: each.id):
        meant = desired.get(group.id)
        yield NamedGroup(group, meant.owner if meant else "of nothing that is known", meant == group)


def objects(state: ClusterState) -> Iterator[str]:
    """Kind and name of everything that a flow can come from, as ``Named.owner`` has them."""
    kinds = {
        "Node": [each.name for each in state.nodes],
        "Network": [each.name for each in state.networks],
        "NetworkRoutingPolicy": [each.name for each in state.routing_policies],
        "ServiceRoutingPolicy": [each.name for each in state.service_policies],
        "Pod": [each.id for each in state.endpoints],
        "Service": [port_name(each, port) for each in state.services for port in each.ports],
    }
    return (f"{kind} {name}" for kind, names in kinds.items() for name in names)


def _meant(dump: Iterable[Counted], state: ClusterState, node: str, *, sctp: bool) -> BridgeProgram:
    """What the bridge should hold, with the ports and the MTU that it has."""
    found = (
        mtu_of(counted.flow) for counted in dump if category_of(counted.flow.cookie) is Category.PIPELINE
    )
    mtu = next(filter(None, found), DEFAULT_MTU)
    return NodeCompiler(node, sctp=sctp, mtu=mtu).compile(Cluster.of(state), _ports(dump, state))


def _ports(dump: Iterable[Counted], state: ClusterState) -> dict[str, int]:
    """Endpoint -> ofport, as the switch's own classifier has it."""
    endpoints = {name_id(endpoint.id): endpoint.id for endpoint in state.endpoints}
    ports = {}
    for counted in dump:
        flow = counted.flow
        port = flow.match.get(IN_PORT)
        if flow.table == CLASSIFIER.number and port and category_of(flow.cookie) is Category.ENDPOINT:
            endpoint = endpoints.get(flow.cookie & 0xFFFFFFFF)
            if endpoint:
                ports[endpoint] = port.value
    return ports


def _values(flow: Flow, wanted: Iterable[RegField]) -> set[int]:
    """What a flow matches or loads of ``wanted``; 0 means none and is left out."""
    found = set()
    for each in (*flow.match.terms, *_loaded(flow)):
        for bits in (register.slice for register in wanted):
            if each.field is bits.field and each.mask & bits.mask == bits.mask:
                found.add((each.value & bits.mask) >> bits.low)
    return found - {0}


def _loaded(flow: Flow) -> Iterator[Term]:
    for action in flow.actions:
        inner = action.execute if isinstance(action, Ct) else (action,)
        yield from (Term(each.field, each.value, each.mask) for each in inner if isinstance(each, SetField))
