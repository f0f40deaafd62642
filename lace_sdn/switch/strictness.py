"""What is wrong with a program, judged more strictly than a switch does. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import Ct, Goto, GroupAction, Learn, MeterAction, Resubmit, SetField
from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_TYPE,
    ICMP_CODE,
    ICMP_TYPE,
    ICMPV6_CODE,
    ICMPV6_TYPE,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    UDP_DST,
    UDP_SRC,
    EthType,
    Field,
    IpProto,
)
from lace_sdn.switch.contract import Refusal, is_ours

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import BridgeProgram, Flow, Group
    from lace_sdn.openflow.match import Match

_Shape = tuple[tuple[Field, int], ...]

_IP: Final = frozenset({EthType.IPV4, EthType.IPV6})
_ETH_TYPES: Final[dict[Field, frozenset[int]]] = {
    **dict.fromkeys((IPV4_SRC, IPV4_DST), frozenset({EthType.IPV4})),
    **dict.fromkeys((IPV6_SRC, IPV6_DST), frozenset({EthType.IPV6})),
    **dict.fromkeys((ARP_OP, ARP_SPA, ARP_TPA, ARP_SHA, ARP_THA), frozenset({EthType.ARP})),
    **dict.fromkeys((IP_PROTO, TCP_SRC, TCP_DST, UDP_SRC, UDP_DST, SCTP_SRC, SCTP_DST), _IP),
    **dict.fromkeys((ICMP_TYPE, ICMP_CODE), frozenset({EthType.IPV4})),
    **dict.fromkeys((ICMPV6_TYPE, ICMPV6_CODE), frozenset({EthType.IPV6})),
}
_PROTOCOLS: Final[dict[Field, int]] = {
    TCP_SRC: IpProto.TCP,
    TCP_DST: IpProto.TCP,
    UDP_SRC: IpProto.UDP,
    UDP_DST: IpProto.UDP,
    SCTP_SRC: IpProto.SCTP,
    SCTP_DST: IpProto.SCTP,
    ICMP_TYPE: IpProto.ICMP,
    ICMP_CODE: IpProto.ICMP,
    ICMPV6_TYPE: IpProto.ICMPV6,
    ICMPV6_CODE: IpProto.ICMPV6,
}
"""The prerequisites of ovs-fields(7)."""


def faults(program: BridgeProgram, tables: Collection[int]) -> Iterator[Refusal]:
    """Everything wrong with a whole program, for a bridge whose declared tables are ``tables``."""
    known = {group.id for group in program.groups}
    meters = {meter.id for meter in program.meters}
    for flow in program.flows:
        missing = (
            f"meter {action.meter} does not exist"
            for action in flow.actions
            if isinstance(action, MeterAction) and action.meter not in meters
        )
        for why in (*_of_flow(flow, known, tables), *missing):
            yield Refusal(str(flow), flow.owner, why)
    for group in program.groups:
        yield from (Refusal(str(group), group.owner, why) for why in _of_group(group, known))
    yield from _overlaps(program.flows)


def _of_flow(flow: Flow, groups: Collection[int], tables: Collection[int]) -> Iterator[str]:
    if not is_ours(flow.cookie):
        yield f"cookie {flow.cookie:#x} is not ours"
    if flow.table not in tables:
        yield f"table {flow.table} is not declared"
    yield from _missing_prerequisites(flow.match)
    yield from _of_actions(flow, groups, tables)


def _missing_prerequisites(match: Match) -> Iterator[str]:
    for term in match.terms:
        yield from _missing_for(term.field, match, "matching")


def _missing_for(field: Field, match: Match, doing: str) -> Iterator[str]:
    ethernet, protocol = match.get(ETH_TYPE), match.get(IP_PROTO)
    allowed = _ETH_TYPES.get(field)
    if allowed is not None and (ethernet is None or ethernet.value not in allowed):
        yield f"{doing} {field.name} needs dl_type {' or '.join(f'{each:#06x}' for each in sorted(allowed))}"
    wanted = _PROTOCOLS.get(field)
    if wanted is not None and (protocol is None or protocol.value != wanted):
        yield f"{doing} {field.name} needs nw_proto {wanted}"


def _of_actions(flow: Flow, groups: Collection[int], tables: Collection[int]) -> Iterator[str]:
    for action in flow.actions:
        match action:
            case Goto():
                yield from _of_goto(action, flow, tables)
            case Resubmit(table):
                if table == flow.table:
                    yield f"resubmit to its own table {table}"
                yield from _undeclared(table, tables)
            case GroupAction(group):
                if group not in groups:
                    yield f"group {group} does not exist"
            case Ct():
                yield from _of_ct(action, flow, tables)
            case Learn(table):
                yield from _undeclared(table, tables)
            case SetField():
                yield from _missing_for(action.field, flow.match, "setting")
            case _:
                pass


def _of_goto(action: Goto, flow: Flow, tables: Collection[int]) -> Iterator[str]:
    if action is not flow.actions[-1]:
        yield "goto_table must come last"
    if action.table <= flow.table:
        yield f"goto_table:{action.table} leads backwards from table {flow.table}"
    yield from _undeclared(action.table, tables)


def _of_ct(action: Ct, flow: Flow, tables: Collection[int]) -> Iterator[str]:
    ethernet = flow.match.get(ETH_TYPE)
    if ethernet is None or ethernet.value not in _IP:
        yield "ct needs a match on ip or ipv6"
    if action.table is not None:
        yield from _undeclared(action.table, tables)


def _undeclared(table: int, tables: Collection[int]) -> Iterator[str]:
    if table not in tables:
        yield f"table {table} is not declared"


def _of_group(group: Group, known: Collection[int]) -> Iterator[str]:
    if len({bucket.id for bucket in group.buckets}) < len(group.buckets):
        yield "two buckets have one id"
    for action in _group_actions(group):
        if isinstance(action, GroupAction) and action.group not in known:
            yield f"group {action.group} does not exist"


def _group_actions(group: Group) -> Iterable[Action]:
    return (action for bucket in group.buckets for action in bucket.actions)


def _overlaps(flows: Collection[Flow]) -> Iterator[Refusal]:
    """A switch takes either of two such flows and says nothing. Flows that match the same bits differ in a value."""
    levels: dict[tuple[int, int], dict[_Shape, list[Flow]]] = defaultdict(dict)
    for flow in flows:
        level = levels[flow.table, flow.priority]
        shape = tuple((term.field, term.mask) for term in flow.match.terms)
        others = (each for other_shape, each in level.items() if other_shape != shape)
        for other in chain.from_iterable(others):
            if other.actions != flow.actions and other.match.overlaps(flow.match):
                yield Refusal(
                    str(flow), flow.owner, f"overlaps {str(other)!r} of the same priority, other actions"
                )
        level.setdefault(shape, []).append(flow)
