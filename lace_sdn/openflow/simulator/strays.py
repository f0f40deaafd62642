"""Fragments that Open vSwitch's own conntrack lets go beside another packet (lib/ipf.c of 3.1.0).

A completed datagram leaves ``ct`` as at most 32 fragments (NETDEV_MAX_BURST). What is left comes out beside the next packet
in any ``ct``, of any zone, and so do fragments whose rest never came, invalid. They go on by that packet's recirculation: its
table, registers, port and tunnel; with their own headers and what their own last lookup said of them. The kernel's conntrack
puts a datagram together for good, and does nothing of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.fields import CT_STATE, CT_ZONE, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.simulator.conntrack import Key, Tuple
    from lace_sdn.openflow.simulator.packet import Packet

MOST_HELD: Final = 64
"""The newest of one bridge; of those that are alike only one."""


class Lookup(NamedTuple):
    """What a packet's last ``ct`` said of it: the fields, and what the datapath keeps beside them."""

    fields: Mapping[Field, int]
    tracked: int = 0
    entry: Key | None = None
    carried: tuple[int, Tuple | None] | None = None


@dataclass(frozen=True)
class Fragment:
    """Of the packet that a fabric was given as its ``number``-th. ``packet``: with the headers that it has now."""

    number: int
    packet: Packet
    lookup: Lookup

    @property
    def alike(self) -> tuple[object, ...]:
        """What says how it would go on, but for its ports."""
        headers = frozenset(self.packet.headers.items())
        return (headers, *(self.lookup.fields[each] for each in (CT_STATE, CT_ZONE)))

    def expired(self, before: Lookup) -> Fragment:
        """Had its rest never come: as it was ``before`` that ``ct``, and invalid without having been tracked."""
        fields = {**before.fields, CT_STATE: State.INV}
        return replace(self, lookup=Lookup(fields, State.INV))


@dataclass
class Held:
    """The fragments that a bridge's conntrack holds. ``at_once``: how many come out at each ``ct``, in turns; 0: none ever."""

    at_once: int = 0
    fragments: dict[tuple[object, ...], Fragment] = field(default_factory=dict)

    def copy(self) -> Held:
        return Held(self.at_once, dict(self.fragments))

    def add(self, *found: Fragment) -> None:
        """The oldest are forgotten beyond ``MOST_HELD``."""
        for each in found:
            self.fragments.pop(each.alike, None)
            self.fragments[each.alike] = each
        for key in list(self.fragments)[:-MOST_HELD]:
            del self.fragments[key]

    def let_go(self) -> tuple[Fragment, ...]:
        """The next in turn. They stay: others like them come out elsewhere."""
        found = tuple(self.fragments.items())[: self.at_once]
        for key, each in found:
            del self.fragments[key]
            self.fragments[key] = each
        return tuple(each for _, each in found)
