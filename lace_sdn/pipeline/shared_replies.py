"""Direct connections to endpoints of Services: replies of one must not look like those of a connection through a VIP.

A pod may use one port for a VIP and for its endpoint directly: two connections, and one tuple for the replies of both. So
conntrack is asked first for such replies, by the packet turned round, and only where there are any it moves the port
(docs/decisions/0015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Ct, CtClear, Goto, Nat, Pop, Push
from lace_sdn.openflow.match import Match
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.cookies import Category, cookie
from lace_sdn.pipeline.fixed import ADMIT, IS_DIRECT, NEW, ORIGINAL, OWNER, TRACKED
from lace_sdn.pipeline.packet import ADDRESSES, PORTS, destination_is, is_of, port_is
from lace_sdn.pipeline.registers import SOURCE_TYPE, SOURCE_ZONE, SourceType
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import IS_IN_ZONE, check_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address, Protocol
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.flow import Flow


@dataclass(frozen=True, slots=True)
class SharedEndpoint:
    """What a Service of this node's pods has as an endpoint, in whatever network. ``name``, ``number``: one such port of a Service."""

    name: str
    number: int
    address: Address
    protocol: Protocol
    port: int

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.SERVICE, self.number), f"Service {self.name}")
        yield owner.flow(
            tables.SOURCE_COMMIT,
            Priority.SHARED_REPLIES,
            Match(
                NEW,
                *IS_DIRECT,
                *destination_is(self.address),
                *is_of(self.address.version, self.protocol),
                port_is(self.protocol, self.port),
            ),
            Goto(tables.REPLY_LOOKUP.number),
        )


@dataclass(frozen=True, slots=True)
class ReplyCheck:
    """The question, and what follows from the answer, for packets of IPv``version`` and ``protocol``."""

    version: int
    protocol: Protocol

    def flows(self) -> Iterator[Flow]:
        packet = Match(*is_of(self.version, self.protocol))
        turn_round = self._turn_round()
        yield OWNER.flow(
            tables.REPLY_LOOKUP,
            Priority.LOW,
            packet,
            *turn_round,
            CtClear(),
            Ct(SOURCE_ZONE.slice, tables.REPLY_ZONE_CHECK.number),
        )
        # Turned round, a pod's packet is one to it. The gateway's zone has no address of its own, but knows directions.
        ways = (
            (Priority.LOW, Match(TRACKED), True),
            (Priority.NORMAL, Match(SOURCE_TYPE.equals(SourceType.GATEWAY), ORIGINAL), False),
        )
        for priority, which, is_turned_round in ways:
            yield OWNER.flow(
                tables.REPLY_ZONE_CHECK,
                priority,
                packet & which,
                *check_zone(SOURCE_ZONE, is_turned_round=is_turned_round),
                Goto(tables.REPLY_CHECK.number),
            )
        found = (
            (Priority.NEW, packet & Match(NEW, IS_IN_ZONE, *IS_DIRECT), None),
            (Priority.LOW, packet & Match(TRACKED, IS_IN_ZONE), Nat(is_source=True)),
        )
        for priority, match, nat in found:
            yield OWNER.flow(
                tables.REPLY_CHECK,
                priority,
                match,
                *turn_round,
                CtClear(),
                Ct(SOURCE_ZONE.slice, tables.COMMIT_ZONE_CHECK.number, commit=True, nat=nat, execute=ADMIT),
            )

    def _turn_round(self) -> tuple[Action, ...]:
        """Source and destination, addresses and ports, change places; twice is as before."""
        _, *ports = PORTS[self.protocol]
        return (*_exchange(*ADDRESSES[self.version]), *_exchange(*ports))


def _exchange(one: Field, other: Field) -> tuple[Action, ...]:
    return (Push(one.whole), Push(other.whole), Pop(one.whole), Pop(other.whole))
