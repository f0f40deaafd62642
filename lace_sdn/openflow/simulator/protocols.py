"""How one tracked connection changes with a packet: Open vSwitch's lib/conntrack-{tcp,icmp,other}.c and the kernel's rule."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from lace_sdn.openflow.fields import IpProto
from lace_sdn.openflow.simulator.packet import ICMPV4_FORM, ICMPV6_FORM, Tcp

ICMP_PROTOCOLS: Final = {IpProto.ICMP: ICMPV4_FORM, IpProto.ICMPV6: ICMPV6_FORM}


class Peer:
    """States of one side of a TCP connection, in their order (lib/ct-dpif.h)."""

    CLOSED, SYN_SENT, ESTABLISHED, CLOSING, FIN_WAIT_2, TIME_WAIT = range(6)


class Phase(NamedTuple):
    """What the tracker remembers: for TCP the two sides; for others how much was seen. ``replied``: any reply seen."""

    initiator: int
    responder: int = 0
    replied: bool = False


FIRST, MULTIPLE, BOTH_WAYS = range(3)
"""Of ``Phase.initiator`` for protocols without a state machine of their own."""


class Update(Enum):
    """What a packet is to its connection."""

    VALID = auto()
    STILL_NEW = auto()
    INVALID = auto()
    STARTS_ANEW = auto()


def first_phase(protocol: int) -> Phase:
    """After the packet that created the entry."""
    return Phase(Peer.SYN_SENT if protocol == IpProto.TCP else FIRST, Peer.CLOSED)


def may_start(protocol: int, tcp_flags: int, icmp_type: int) -> bool:
    """Whether such a packet can start a connection; if not it is invalid."""
    if protocol == IpProto.TCP:
        starts_half = tcp_flags & Tcp.SYN and tcp_flags & Tcp.ACK
        return not _has_bad_flags(tcp_flags) and not starts_half
    form = ICMP_PROTOCOLS.get(protocol)
    return form is None or icmp_type == form.echo


def userspace_update(protocol: int, phase: Phase, is_reply: bool, tcp_flags: int) -> tuple[Update, Phase]:
    """``lib/conntrack`` of Open vSwitch; sequence numbers are not modelled, every segment is inside its window."""
    if protocol == IpProto.TCP:
        return _tcp_update(phase, is_reply, tcp_flags)
    seen = phase.initiator
    if is_reply:
        return Update.VALID, Phase(BOTH_WAYS, replied=True)
    if protocol not in ICMP_PROTOCOLS and seen == FIRST:
        return Update.STILL_NEW, phase._replace(initiator=MULTIPLE)
    return Update.VALID, phase


def kernel_update(protocol: int, phase: Phase, is_reply: bool, tcp_flags: int) -> tuple[Update, Phase]:
    """The kernel's nf_conntrack: a connection is new until its first reply, whatever the protocol."""
    update, after = userspace_update(protocol, phase, is_reply, tcp_flags)
    after = after._replace(replied=phase.replied or is_reply)
    if update in (Update.INVALID, Update.STARTS_ANEW):
        return update, after
    return (Update.VALID if after.replied else Update.STILL_NEW), after


def _tcp_update(phase: Phase, is_reply: bool, flags: int) -> tuple[Update, Phase]:
    if _has_bad_flags(flags):
        return Update.INVALID, phase
    sender, receiver = (phase.responder, phase.initiator) if is_reply else (phase.initiator, phase.responder)
    if flags & (Tcp.SYN | Tcp.ACK) == Tcp.SYN:
        if sender >= Peer.FIN_WAIT_2 and receiver >= Peer.FIN_WAIT_2:
            return Update.STARTS_ANEW, phase
        if sender <= Peer.SYN_SENT:
            return Update.STILL_NEW, _sides(phase, is_reply, Peer.SYN_SENT, receiver)
    sender = max(sender, Peer.SYN_SENT)
    if flags & Tcp.FIN:
        sender = max(sender, Peer.CLOSING)
    if flags & Tcp.ACK:
        receiver = {Peer.SYN_SENT: Peer.ESTABLISHED, Peer.CLOSING: Peer.FIN_WAIT_2}.get(receiver, receiver)
    if flags & Tcp.RST:
        sender = receiver = Peer.TIME_WAIT
    return Update.VALID, _sides(phase, is_reply, sender, receiver)


def _sides(phase: Phase, is_reply: bool, sender: int, receiver: int) -> Phase:
    ends = (receiver, sender) if is_reply else (sender, receiver)
    return Phase(*ends, phase.replied or is_reply)


def _has_bad_flags(flags: int) -> bool:
    if flags & Tcp.SYN:
        return bool(flags & (Tcp.RST | Tcp.FIN))
    if not flags & (Tcp.ACK | Tcp.RST):
        return True
    return not flags & Tcp.ACK and bool(flags & (Tcp.FIN | Tcp.PSH))
