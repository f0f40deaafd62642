"""Random flows and groups, such as a switch accepts: prerequisites are met, and numbers are in their ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from lace_sdn.openflow.actions import (
    Action,
    Actions,
    CheckPktLarger,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    Goto,
    GroupAction,
    InPort,
    Learn,
    MeterAction,
    Move,
    Nat,
    Output,
    OutputTo,
    Pop,
    Push,
    Resubmit,
    SetField,
)
from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    CT_LABEL,
    CT_MARK,
    CT_STATE,
    CT_ZONE,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    ICMP_CODE,
    ICMP_TYPE,
    ICMPV6_CODE,
    ICMPV6_TYPE,
    IN_PORT,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    METADATA,
    REG,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    UDP_DST,
    UDP_SRC,
    EthType,
    Field,
    Form,
    IpProto,
    Slice,
    State,
    Term,
)
from lace_sdn.openflow.flow import HASH_FIELD_BY_NAME, BridgeProgram, Bucket, Flow, Group, Meter, program
from lace_sdn.openflow.match import Match, term

MASKABLE = {
    CT_MARK,
    CT_LABEL,
    *REG,
    METADATA,
    TUN_ID,
    TUN_SRC,
    TUN_DST,
    TUN_IPV6_SRC,
    TUN_IPV6_DST,
    ETH_SRC,
    ETH_DST,
    IPV4_SRC,
    IPV4_DST,
    IPV6_SRC,
    IPV6_DST,
    ARP_SPA,
    ARP_TPA,
    ARP_SHA,
    ARP_THA,
    TCP_SRC,
    TCP_DST,
    UDP_SRC,
    UDP_DST,
    SCTP_SRC,
    SCTP_DST,
}
LARGEST = {IN_PORT: 0xFEFF, ARP_OP: 255}
ANYWHERE = (
    CT_ZONE,
    CT_MARK,
    CT_LABEL,
    *REG,
    METADATA,
    TUN_ID,
    TUN_SRC,
    TUN_DST,
    TUN_IPV6_SRC,
    TUN_IPV6_DST,
    IN_PORT,
)
ETHERNET = (ETH_SRC, ETH_DST)
ARP = (ARP_SPA, ARP_TPA, ARP_OP, ARP_SHA, ARP_THA)
TRANSPORT = {
    IpProto.TCP: (TCP_SRC, TCP_DST),
    IpProto.UDP: (UDP_SRC, UDP_DST),
    IpProto.SCTP: (SCTP_SRC, SCTP_DST),
    IpProto.ICMP: (ICMP_TYPE, ICMP_CODE),
    IpProto.ICMPV6: (ICMPV6_TYPE, ICMPV6_CODE),
}
WRITABLE = (*REG, METADATA, TUN_ID, TUN_SRC, TUN_DST, TUN_IPV6_SRC, TUN_IPV6_DST, ETH_SRC, ETH_DST)
GROUPS = (7, 8, 4000)
METERS = (1, 7, 0xFFFF)


@st.composite
def values(draw: st.DrawFn, field: Field) -> tuple[int, int]:
    """A value and a mask of the field; prefixes and other masks where masks may be."""
    ones = field.all_ones
    number = draw(st.integers(0, LARGEST.get(field, ones)))
    if field not in MASKABLE or draw(st.booleans()):
        return number, ones
    prefix = st.integers(1, field.bits).map(lambda length: ones ^ (1 << field.bits - length) - 1)
    # ovs-ofctl 3.1 prints other masks of IPv6 addresses than prefixes, and cannot always read them: "/0:3::" is /0 to it.
    mask = draw(prefix if field.form is Form.IPV6 else st.one_of(prefix, st.integers(1, ones)))
    return number & mask, mask


@st.composite
def states(draw: st.DrawFn) -> Term:
    mask = draw(st.integers(1, 255))
    return Term(CT_STATE, draw(st.integers(0, 255)) & mask, mask)


@st.composite
def matches(draw: st.DrawFn) -> tuple[Match, tuple[Field, ...]]:
    """A match, and the fields that its protocol lets a flow read and write."""
    terms = [draw(states())] if draw(st.booleans()) else []
    usable: tuple[Field, ...] = ()
    kind = draw(st.sampled_from(("any", "arp", "ipv4", "ipv6", "other")))
    if kind == "other":
        terms.append(term(ETH_TYPE, draw(st.sampled_from((0x0600, 0x8035, 0x8847, 0x8848, 0x88CC, 0x0005)))))
    if kind == "arp":
        terms.append(term(ETH_TYPE, EthType.ARP))
        usable = ARP
    if kind in ("ipv4", "ipv6"):
        more, usable = draw(internet(kind))
        terms += more
    writable = usable
    pool = (*ANYWHERE, *ETHERNET, *usable)
    for field in draw(st.lists(st.sampled_from(pool), max_size=6, unique=True)):
        terms.append(term(field, *draw(values(field))))
    return Match(*terms), writable


@st.composite
def internet(draw: st.DrawFn, kind: str) -> tuple[list[Term], tuple[Field, ...]]:
    is_old = kind == "ipv4"
    usable: tuple[Field, ...] = (IPV4_SRC, IPV4_DST) if is_old else (IPV6_SRC, IPV6_DST)
    terms = [term(ETH_TYPE, EthType.IPV4 if is_old else EthType.IPV6)]
    if draw(st.booleans()):
        icmp = IpProto.ICMP if is_old else IpProto.ICMPV6
        protocol = draw(st.sampled_from((icmp, IpProto.TCP, IpProto.UDP, IpProto.SCTP, 2, 47, 0)))
        terms.append(term(IP_PROTO, protocol))
        usable += TRANSPORT.get(protocol, ())
    return terms, usable


@st.composite
def slices(draw: st.DrawFn, fields: tuple[Field, ...], width: int | None = None) -> Slice:
    field = draw(st.sampled_from([each for each in fields if each.bits >= (width or 1)]))
    wide = width or draw(st.integers(1, min(field.bits, 32)))
    return Slice(field, draw(st.integers(0, field.bits - wide)), wide)


@st.composite
def moves(draw: st.DrawFn, fields: tuple[Field, ...], targets: tuple[Field, ...]) -> Move:
    source = draw(slices(fields))
    return Move(source, draw(slices(targets, source.width)))


@st.composite
def set_fields(draw: st.DrawFn, fields: tuple[Field, ...]) -> SetField:
    field = draw(st.sampled_from(fields))
    is_maskable = field in MASKABLE
    value, mask = draw(values(field)) if is_maskable else (draw(values(field))[0], field.all_ones)
    return SetField(field, value, mask)


@st.composite
def nats(draw: st.DrawFn, *, is_old: bool, has_ports: bool) -> Nat:
    side = draw(st.sampled_from((None, True, False)))
    if side is None:
        return Nat()
    kind = IPv4Address if is_old else IPv6Address
    address = draw(st.one_of(st.none(), st.integers(1, (1 << (32 if is_old else 128)) - 1).map(kind)))
    port = draw(st.one_of(st.none(), st.integers(1, 65535))) if address and has_ports else None
    return Nat(side, address, port)


@st.composite
def tracked(draw: st.DrawFn, match: Match) -> Ct:
    is_old = match.get(ETH_TYPE).value == EthType.IPV4
    protocol = match.get(IP_PROTO)
    has_ports = protocol is not None and protocol.value in (IpProto.TCP, IpProto.UDP, IpProto.SCTP)
    zone = draw(st.one_of(st.integers(0, 65535), slices(REG, 16)))
    state = match.get(CT_STATE)
    # Open vSwitch refuses to commit what the match says is invalid.
    commit = draw(st.booleans()) and not (state is not None and state.value & State.INV)
    table = draw(st.one_of(st.none(), st.integers(0, 200)))
    nat = draw(st.one_of(st.none(), nats(is_old=is_old, has_ports=has_ports)))
    if not commit and nat is not None:
        nat = Nat()
    executed = st.one_of(set_fields((CT_MARK, CT_LABEL)), moves(REG, (CT_MARK, CT_LABEL)))
    execute = tuple(draw(st.lists(executed, max_size=2))) if commit else ()
    return Ct(zone, table, commit, nat, execute, force=commit and draw(st.booleans()))


@st.composite
def learns(draw: st.DrawFn, match: Match, usable: tuple[Field, ...]) -> Learn:
    """A learned flow has the protocol of the one that learns it, or none: so its fields are there."""
    protocol = tuple(each for each in match.terms if each.field in (ETH_TYPE, IP_PROTO))
    given = tuple(each.whole for each in draw(st.sampled_from(((), usable))))
    written = draw(st.lists(st.sampled_from((*REG[:8], METADATA, TUN_ID)), max_size=2, unique=True))
    named = tuple(term(each, draw(values(each))[0]) for each in written)
    copied = tuple(draw(st.lists(slices((*REG[8:], ETH_SRC, IN_PORT)), max_size=2)))
    seconds = st.sampled_from((0, 1, 600, 0xFFFF))
    return Learn(
        table=draw(st.integers(0, 200)),
        priority=draw(st.one_of(st.integers(0, 65535), st.just(0x8000))),
        cookie=draw(st.one_of(st.just(0), st.integers(0, (1 << 64) - 2))),
        idle_timeout=draw(seconds),
        hard_timeout=draw(seconds),
        delete_learned=draw(st.booleans()),
        matches=(*protocol, *named, *given, *copied),
        loads=tuple(draw(st.lists(moves((*REG, ETH_SRC), (*REG, METADATA)), max_size=2))),
        limit=draw(st.sampled_from((0, 1, 4096, 0xFFFFFFFF))),
    )


def plain_actions(usable: tuple[Field, ...]) -> st.SearchStrategy[Action]:
    writable = (*WRITABLE, *(field for field in usable if field is not ICMP_CODE))
    return st.one_of(
        set_fields(writable),
        moves((*WRITABLE, *usable), writable),
        slices((*REG, ETH_SRC)).map(Push),
        slices(REG).map(Pop),
        st.integers(0, 200).map(Resubmit),
        st.integers(1, 0xFEFF).map(Output),
        st.sampled_from((0xFFFFFFFA, 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFE)).map(Output),
        slices(REG, 16).map(OutputTo),
        slices(REG, 32).map(OutputTo),
        st.just(InPort()),
        st.integers(0, 0xFFFF).map(Controller),
        st.builds(CheckPktLarger, st.integers(0, 0xFFFF), slices((*REG, METADATA), 1)),
        st.sampled_from(GROUPS).map(GroupAction),
    )


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """One flow, its table below 200."""
    match, usable = draw(matches())
    ethernet = match.get(ETH_TYPE)
    kinds = st.one_of(plain_actions(usable), learns(match, usable))
    if ethernet is not None and ethernet.value in (EthType.IPV4, EthType.IPV6):
        kinds = st.one_of(kinds, st.sampled_from((DecTtl(), CtClear())), tracked(match))
    table = draw(st.integers(0, 199))
    actions: Actions = tuple(draw(st.lists(kinds, max_size=5)))
    if draw(st.booleans()):
        # ovs-ofctl takes a meter at the front only, as the instruction that it was before OpenFlow 1.5.
        actions = (MeterAction(draw(st.sampled_from(METERS))), *actions)
    if draw(st.booleans()):
        actions = (*actions, Goto(draw(st.integers(table + 1, 200))))
    priority = draw(st.one_of(st.integers(0, 65535), st.just(0x8000)))
    return Flow(table, priority, match, actions, draw(st.one_of(st.just(0), st.integers(0, (1 << 64) - 2))))


@st.composite
def groups(draw: st.DrawFn, ids: tuple[int, ...] = (1, 2, 3, 4)) -> Group:
    numbers = draw(st.lists(st.integers(0, 1000), max_size=4, unique=True))
    kinds = plain_actions(()).filter(lambda action: not isinstance(action, GroupAction))
    buckets = tuple(
        Bucket(number, tuple(draw(st.lists(kinds, max_size=3))), draw(st.integers(0, 65535)))
        for number in numbers
    )
    names = draw(st.lists(st.sampled_from(sorted(HASH_FIELD_BY_NAME)), max_size=4))
    param = draw(st.one_of(st.just(0), st.integers(0, (1 << 64) - 1)))
    return Group(draw(st.sampled_from(ids)), buckets, tuple(names), param)


@st.composite
def meters(draw: st.DrawFn, ids: tuple[int, ...] = (1, 2, 3, 4)) -> Meter:
    rates = st.integers(1, 1_000_000)
    return Meter(draw(st.sampled_from(ids)), draw(rates), draw(rates))


@st.composite
def programs(draw: st.DrawFn) -> BridgeProgram:
    """Few flows of few keys, so that two programs often share keys; flows use only groups and meters that are there."""
    metered = draw(st.lists(st.sampled_from(METERS), unique=True))
    limits = [draw(meters(ids=(number,))) for number in metered]
    numbers = draw(st.lists(st.sampled_from(GROUPS), unique=True))
    made = [draw(groups(ids=(number,))) for number in numbers]
    keys = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3)), max_size=12, unique=True)
    )
    found = []
    for table, priority, port in keys:
        action = draw(
            st.sampled_from([Output(5), Output(6), *map(GroupAction, numbers), *map(MeterAction, metered)])
        )
        cookie = draw(st.integers(0, 1))
        found.append(Flow(table, priority, Match(term(IN_PORT, port)), (action,), cookie))
    return program(found, made, limits)
