"""After every ``ct``: is this the packet that was looked up in the zone that the registers name?

Open vSwitch's own conntrack puts fragments of a datagram that it completed, beyond the first 32, beside the next packet in
any ``ct`` (lib/ipf.c). Such a fragment goes on with that packet's registers, but with a conntrack zone of its own. So it is
dropped wherever the two differ (docs/decisions/0027). The kernel's conntrack does nothing of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Resubmit
from lace_sdn.openflow.fields import CT_ZONE
from lace_sdn.openflow.match import Match, ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import SECOND_ZONE, Priority
from lace_sdn.pipeline.packet import destination_is, source_is
from lace_sdn.pipeline.registers import IN_ZONE, SIDE_LOOKUP, SOURCE_ZONE, ZONE_LOOKUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.fields import Term
    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.registers import RegField
    from lace_sdn.pipeline.unit import Owner

IS_IN_ZONE = IN_ZONE.equals(1)


def check_zone(zone: RegField, *, is_turned_round: bool = False) -> tuple[Action, ...]:
    """Set ``IN_ZONE``, or clear it: whether the packet was looked up in the zone that ``zone``, one of the two, holds.

    ``is_turned_round``: its addresses have changed places.
    """
    side = (zone is SOURCE_ZONE) is not is_turned_round
    return (SIDE_LOOKUP.set(side), zone.copy_to(ZONE_LOOKUP), Resubmit(tables.ZONE.number))


def not_in_zone(owner: Owner) -> Flow:
    """What is in no zone of this bridge's ports is not the packet that the registers are of."""
    return owner.flow(tables.ZONE, Priority.DEFAULT, Match(), IN_ZONE.set(0))


@dataclass(frozen=True, slots=True)
class ZonesOfPort:
    """The zones of one port of this bridge. In its own, a pod's packets have its ``addresses`` as source, or as destination.

    Other zones hold connections in one direction: the gateway's is the sender's zone for those that come in by it, a second one
    the receiver's. So nothing that goes to a port leaves beside what comes from it, or the reverse.
    """

    owner: Owner
    ofport: int
    addresses: tuple[Address, ...] = ()

    def flows(self) -> Iterator[Flow]:
        for address in self.addresses:
            yield self._row(self.ofport, 1, *source_is(address))
            yield self._row(self.ofport, 0, *destination_is(address))
        if not self.addresses:
            yield self._row(self.ofport, 1, ct_state("-rpl"))
            yield self._row(self.ofport, 0, ct_state("+rpl"))
        yield self._row(SECOND_ZONE | self.ofport, 1, ct_state("+rpl"))
        yield self._row(SECOND_ZONE | self.ofport, 0, ct_state("-rpl"))

    def _row(self, zone: int, side: int, *which: Term) -> Flow:
        return zone_row(self.owner, zone, side, *which)


def zone_row(owner: Owner, zone: int, side: int, *which: Term) -> Flow:
    """What was looked up in ``zone`` and is one of ``which`` is in it; ``side``: see ``SIDE_LOOKUP``."""
    return owner.flow(
        tables.ZONE,
        Priority.NORMAL,
        Match(
            ct_state("+trk"),
            term(CT_ZONE, zone),
            ZONE_LOOKUP.equals(zone),
            SIDE_LOOKUP.equals(side),
            *which,
        ),
        IN_ZONE.set(1),
    )
