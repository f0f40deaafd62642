"""Path MTU discovery (RFC 1191, RFC 8201): a pod that sends too large packets is told so, before anything looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import CheckPktLarger, Controller, Goto, Resubmit
from lace_sdn.openflow.match import Match
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import REJECTED_OCTETS, Priority
from lace_sdn.pipeline.registers import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.unit import Owner

ETHERNET_OCTETS: Final = 14
"""Of a frame's header, which the switch counts (ovs-actions(7), "The check_pkt_larger action")."""
_LARGEST: Final = 0xFFFF
"""Octets that the switch can compare with."""


def size_flows(owner: Owner, mtu: int) -> Iterator[Flow]:
    """No IP packet of a pod that is larger than ``mtu`` goes on. Before conntrack: its sender knows it by what it called.

    That it may be fragmented (IPv4 without DF) changes nothing: Open vSwitch cannot fragment, so its sender has to.
    """
    yield owner.flow(
        tables.PACKET_SIZE,
        Priority.DEFAULT,
        Match(),
        CheckPktLarger(min(ETHERNET_OCTETS + mtu, _LARGEST), TOO_LARGE.slice),
        Goto(tables.SIZE_GATE.number),
    )
    yield owner.flow(
        tables.SIZE_GATE,
        Priority.LOW,
        Match(TOO_LARGE.equals(1)),
        Resubmit(tables.CONTROLLER_LIMIT.number),
        Controller(REJECTED_OCTETS),
    )
    yield owner.flow(tables.SIZE_GATE, Priority.DEFAULT, Match(), Goto(tables.RETURN_ZONE.number))


def mtu_of(flow: Flow) -> int | None:
    """The MTU that a bridge with this flow keeps to; None for a flow that does not say it."""
    first = next(iter(flow.actions), None)
    if flow.table != tables.PACKET_SIZE.number or not isinstance(first, CheckPktLarger):
        return None
    return first.size - ETHERNET_OCTETS
