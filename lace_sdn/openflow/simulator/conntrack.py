"""Connection tracking as an explicit, frozen state: zones with entries, and what one packet does to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.fields import IpProto, State
from lace_sdn.openflow.simulator.protocols import (
    ICMP_PROTOCOLS,
    Phase,
    Update,
    first_phase,
    kernel_update,
    may_start,
    userspace_update,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.openflow.actions import Nat

ICMP_TYPE_BITS: Final = 8
LAST_PORT: Final = 0xFFFF


class SimulationError(ValueError):
    """The program does what a switch would refuse, or what datapaths do differently: a missing group, an endless loop."""


class Tracker(Enum):
    """Whose conntrack: Open vSwitch's userspace datapath, or the kernel's (+new lasts until a reply)."""

    USERSPACE = "userspace"
    KERNEL = "kernel"

    def has_ports(self, protocol: int) -> bool:
        """Whether it reads and translates the ports of a protocol: Open vSwitch's own knows none of SCTP."""
        return protocol in (IpProto.TCP, IpProto.UDP) or (protocol == IpProto.SCTP and self is Tracker.KERNEL)

    def update(self, protocol: int, phase: Phase, is_reply: bool, tcp_flags: int) -> tuple[Update, Phase]:
        """What the next packet of a connection is to it, and the phase after it."""
        rule = userspace_update if self is Tracker.USERSPACE else kernel_update
        return rule(protocol, phase, is_reply, tcp_flags)


class Tuple(NamedTuple):
    """What identifies a packet's connection. For ICMP a port is the identifier and the type that this side sends."""

    eth_type: int
    protocol: int
    source: int
    destination: int
    source_port: int
    destination_port: int

    @property
    def reversed(self) -> Tuple:
        return Tuple(
            self.eth_type,
            self.protocol,
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
        )

    @property
    def has_ports(self) -> bool:
        """Whether its ports are those of the packet's headers."""
        return self.protocol in (IpProto.TCP, IpProto.UDP) or bool(self.source_port or self.destination_port)

    @property
    def icmp_type(self) -> int:
        return self.source_port & ((1 << ICMP_TYPE_BITS) - 1)


class Parts(NamedTuple):
    """What a tuple must be like; None is any."""

    source: int | None = None
    destination: int | None = None
    source_port: int | None = None
    destination_port: int | None = None

    def are_in(self, found: Tuple) -> bool:
        pairs = zip(self, found[2:], strict=True)
        return all(wanted is None or wanted == value for wanted, value in pairs)


Key = tuple[int, Tuple]
"""Zone, tuple of the original direction."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed connection. ``reply`` is not the reverse of ``original`` when addresses are translated."""

    zone: int
    original: Tuple
    reply: Tuple
    phase: Phase
    mark: int = 0
    label: int = 0

    @property
    def key(self) -> Key:
        return (self.zone, self.original)

    @property
    def is_translated(self) -> bool:
        return self.reply != self.original.reversed


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet as the tracker sees it. ``tuple``: None if it has none that can be tracked.

    ``is_error``: an ICMP error, whose tuple is that of the packet it quotes, turned round. ``state``: ct_state that an
    earlier zone left (the userspace tracker adds to it). ``entry``: the entry that the last zone found.
    """

    tuple: Tuple | None
    tcp_flags: int = 0
    is_error: bool = False
    state: int = 0
    entry: Key | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """The ``ct`` action. ``mark`` and ``label``: (value, mask) to write."""

    zone: int
    commit: bool = False
    nat: Nat | None = None
    mark: tuple[int, int] = (0, 0)
    label: tuple[int, int] = (0, 0)
    force: bool = False

    @property
    def translates(self) -> bool:
        """Whether a connection that it makes is to be translated."""
        return self.nat is not None and self.nat.is_source is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the packet carries on: ct_state, and ct_mark and ct_label of ``entry``. ``tuple``: after translation."""

    state: int
    tuple: Tuple | None = None
    entry: Entry | None = None

    @property
    def mark(self) -> int:
        return self.entry.mark if self.entry else 0

    @property
    def label(self) -> int:
        return self.entry.label if self.entry else 0


@dataclass(frozen=True)
class Conntrack:
    """All zones of one bridge. Time does not pass: entries stay until they are forgotten."""

    tracker: Tracker = Tracker.USERSPACE
    entries: Mapping[Key, Entry] = field(default_factory=lambda: MappingProxyType({}))
    replies: Mapping[Key, Tuple] = field(default_factory=lambda: MappingProxyType({}))
    """Zone and reply tuple -> original tuple."""

    def track(self, seen: Sighting, request: Request) -> tuple[Conntrack, Outcome]:
        """What ``ct`` does with this packet, and the state after it (ovs-actions(7), "The ct action").

        Raises SimulationError for what does not end the same on both datapaths.
        """
        if seen.tuple is None or seen.state == State.INV:
            return self, Outcome(State.INV | State.TRK, seen.tuple)
        if request.force and (turned := self._in_other_direction(seen, seen.tuple, request.zone)):
            return self._without(turned).look_up(replace(seen, state=0, entry=None), seen.tuple, request)
        return self.look_up(seen, seen.tuple, request)

    def look_up(self, seen: Sighting, packet: Tuple, request: Request) -> tuple[Conntrack, Outcome]:
        """``track`` of a packet with a tuple that nothing is to be replaced for. Raises SimulationError likewise."""
        cached = self.entries.get(seen.entry) if seen.entry else None
        if cached is not None and cached.zone == request.zone:
            return self._write(cached, request, Outcome(seen.state, packet))
        found = self._find(request.zone, packet)
        if found is None:
            return self._unknown(seen, packet, request)
        entry, is_reply = found
        reply_bit = State.RPL if is_reply else 0
        state = seen.state if self.tracker is Tracker.USERSPACE else 0
        if seen.is_error:
            outcome = Outcome(state | State.REL | reply_bit | State.TRK, packet)
            return self._translated(entry, is_reply, request, outcome)
        update, phase = self.tracker.update(packet.protocol, entry.phase, is_reply, seen.tcp_flags)
        if update is Update.STARTS_ANEW:
            return self._without(entry).look_up(replace(seen, entry=None), packet, request)
        states = {
            Update.VALID: (state | State.EST | reply_bit) & ~State.NEW,
            Update.STILL_NEW: state | State.NEW,
            Update.INVALID: State.INV,
        }
        outcome = Outcome(states[update] | State.TRK, packet)
        return self._translated(replace(entry, phase=phase), is_reply, request, outcome)

    def forget(self, zone: int) -> Conntrack:
        """Without the entries of ``zone``, as ``ovs-ofctl ct-flush-zone``."""
        return replace(
            self,
            entries=MappingProxyType({key: each for key, each in self.entries.items() if key[0] != zone}),
            replies=MappingProxyType({key: each for key, each in self.replies.items() if key[0] != zone}),
        )

    def forget_matching(self, protocol: int, original: Parts, reply: Parts) -> Conntrack:
        """Without the connections of ``protocol`` that are like both, in all zones, as ``ovs-ofctl ct-flush``."""
        gone = {
            key
            for key, each in self.entries.items()
            if each.original.protocol == protocol
            and original.are_in(each.original)
            and reply.are_in(each.reply)
        }
        entries = {key: each for key, each in self.entries.items() if key not in gone}
        replies = {key: each for key, each in self.replies.items() if (key[0], each) not in gone}
        return replace(self, entries=MappingProxyType(entries), replies=MappingProxyType(replies))

    def _find(self, zone: int, packet: Tuple) -> tuple[Entry, bool] | None:
        entry = self.entries.get((zone, packet))
        if entry is not None:
            return entry, False
        original = self.replies.get((zone, packet))
        return None if original is None else (self.entries[zone, original], True)

    def _in_other_direction(self, seen: Sighting, packet: Tuple, zone: int) -> Entry | None:
        """The entry whose reply the packet is: ``force`` puts another in its place (lib/conntrack.c, process_one)."""
        cached = self.entries.get(seen.entry) if seen.entry else None
        found = self._find(zone, packet)
        if cached is not None and cached.zone == zone:
            found = (cached, bool(seen.state & State.RPL))
        if found is None or not found[1]:
            return None
        entry, _ = found
        if entry.is_translated:
            raise SimulationError(
                f"ct(force) on a reply of {entry}, which is translated: datapaths differ there"
            )
        return entry

    def _unknown(self, seen: Sighting, packet: Tuple, request: Request) -> tuple[Conntrack, Outcome]:
        if seen.is_error or not may_start(packet.protocol, seen.tcp_flags, packet.icmp_type):
            return self, Outcome(State.INV | State.TRK, packet)
        outcome = Outcome(State.NEW | State.TRK, packet)
        if not request.commit:
            return self, outcome
        reply = self._reply_of(request.zone, packet, request.nat)
        if self._is_taken(request.zone, reply):
            raise SimulationError(
                f"the reply {reply} in zone {request.zone} is another connection's too: the kernel drops the packet"
            )
        entry = Entry(request.zone, packet, reply, first_phase(packet.protocol))
        return self._translated(entry, False, request, outcome)

    def _reply_of(self, zone: int, packet: Tuple, nat: Nat | None) -> Tuple:
        """What replies will look like; a source port that another connection's replies use is moved on."""
        reply = packet.reversed
        if nat is None or nat.is_source is None:
            return reply
        has_ports = self.tracker.has_ports(packet.protocol)
        port = nat.port if has_ports else None
        if nat.is_source:
            reply = reply._replace(
                destination=reply.destination if nat.address is None else int(nat.address),
                destination_port=port or reply.destination_port,
            )
        else:
            reply = reply._replace(
                source=reply.source if nat.address is None else int(nat.address),
                source_port=port or reply.source_port,
            )
        # Either way it is the client's port that moves (lib/conntrack.c, nat_get_unique_tuple).
        while has_ports and self._is_taken(zone, reply) and reply.destination_port < LAST_PORT:
            reply = reply._replace(destination_port=reply.destination_port + 1)
        return reply

    def _is_taken(self, zone: int, reply: Tuple) -> bool:
        """Whether packets with this tuple belong to a connection of ``zone``, in either direction."""
        return (zone, reply) in self.replies or (zone, reply) in self.entries

    def _translated(
        self, entry: Entry, is_reply: bool, request: Request, outcome: Outcome
    ) -> tuple[Conntrack, Outcome]:
        if request.nat is None or not entry.is_translated or outcome.tuple is None:
            return self._write(entry, request, outcome)
        after = entry.original.reversed if is_reply else entry.reply.reversed
        bits = (State.SNAT if after.source != outcome.tuple.source else 0) | (
            State.DNAT if after.destination != outcome.tuple.destination else 0
        )
        return self._write(entry, request, Outcome(outcome.state | bits, after))

    def _write(self, entry: Entry, request: Request, outcome: Outcome) -> tuple[Conntrack, Outcome]:
        written = replace(
            entry,
            mark=_masked(entry.mark, request.mark),
            label=_masked(entry.label, request.label),
        )
        after = replace(
            self,
            entries=MappingProxyType({**self.entries, written.key: written}),
            replies=MappingProxyType({(written.zone, written.reply): written.original, **self.replies}),
        )
        return after, replace(outcome, entry=written)

    def _without(self, entry: Entry) -> Conntrack:
        entries, replies = dict(self.entries), dict(self.replies)
        del entries[entry.key]
        replies.pop((entry.zone, entry.reply), None)
        return replace(self, entries=MappingProxyType(entries), replies=MappingProxyType(replies))


def _masked(old: int, written: tuple[int, int]) -> int:
    value, mask = written
    return (old & ~mask) | (value & mask)


def icmp_port(identifier: int, icmp_type: int) -> int:
    """A ``Tuple``'s port for the side that sends ``icmp_type``."""
    return identifier << ICMP_TYPE_BITS | icmp_type


def is_trackable_icmp(protocol: int, icmp_type: int) -> bool:
    """Echo and its reply; everything else but errors has no connection (neighbour discovery is invalid)."""
    form = ICMP_PROTOCOLS[protocol]
    return icmp_type in (form.echo, form.echo_reply)
