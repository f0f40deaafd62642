"""A connected bridge: read what it holds, change it in one bundle, flush a conntrack zone."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.openflow import wire
from lace_sdn.pipeline.limits import TOLD_A_SECOND
from lace_sdn.pipeline.tables import REJECT, SIZE_GATE
from lace_sdn.switch import library
from lace_sdn.switch.allowance import Allowances
from lace_sdn.switch.contract import (
    OTHERS,
    OURS,
    BundleRefused,
    Installed,
    Refusal,
    SwitchLost,
    is_ours,
)
from lace_sdn.switch.dump import RawDump, read_dump, read_metered
from lace_sdn.switch.exchange import Exchange
from lace_sdn.switch.rejection import rejection, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Flow, Group, Meter

_LOG = logging.getLogger(__name__)

WRITE_SIZE: Final = 65536
"""Bytes joined into one write: a write per message costs the switch 2-10 times the CPU."""
ANSWER_TIMEOUT: Final = 30.0
"""Seconds for a whole dump or bundle. Longer than any we measured (50,000 flows: under 1 s) by far."""

BUNDLE_ID: Final = 1
"""One bundle is open at a time, and a connection's bundles end with it."""

_MAX_XID: Final = 0xFFFFFFFF


class Bridge:
    """One connection of one bridge, a ProgrammableBridge. When the switch reconnects it is a new Bridge."""

    def __init__(self, datapath: Any, mtu: int) -> None:
        """``datapath``: the library's, in its main state; ``mtu``: of pods, octets."""
        self._datapath = datapath
        self._answers: dict[int, Callable[[bytes], bytes | None]] = {
            REJECT.number: rejection,
            SIZE_GATE.number: partial(too_large, mtu=mtu),
        }
        """By table: what to say to the packets that it sends here."""
        self._turn = library.hub.Semaphore(1)
        self._exchange: Exchange | None = None
        self._lost = False
        self._cannot_flush = False
        self.unanswered = 0
        """Packets that should have been answered, were there not too many of them."""
        self._refusals = Allowances(TOLD_A_SECOND)
        self._unreadable: tuple[wire.Foreign, ...] = ()
        """Flows with our cookie, of another version of this program: they go with the next change."""

    def __repr__(self) -> str:
        return f"<bridge {self.name}{'' if self.is_connected else ' lost'}>"

    @property
    def datapath_id(self) -> int:
        return int(self._datapath.id)

    @property
    def name(self) -> str:
        """The datapath id, 16 hex digits, as Open vSwitch writes it."""
        return f"{self.datapath_id:016x}"

    @property
    def address(self) -> str:
        """Of its end of the connection: of a bridge that was called, the path of the bridge's own socket."""
        return str(self._datapath.address)

    @property
    def is_connected(self) -> bool:
        return not self._lost

    def serves(self, datapath: Any) -> bool:
        """Whether this is the bridge of the very connection ``datapath``."""
        return self._datapath is datapath

    def dump(self) -> Installed:
        """What the bridge holds. Raises SwitchLost."""
        xids = self._reserve(4 + len(OTHERS))
        requests = (
            wire.group_dump_request(xids[0]),
            wire.meter_dump_request(xids[1]),
            *(
                wire.flow_dump_request(xid, *cookie)
                for xid, cookie in zip(xids[2:-1], (OURS, *OTHERS), strict=True)
            ),
            wire.barrier(xids[-1]),
        )
        exchange = self._converse(requests, xids)
        if exchange.errors:
            raise self._give_up(f"it refused to be dumped: {exchange.errors[0][1]}")
        groups, meters, flows, *others = (exchange.parts.get(xid, []) for xid in xids[:-1])
        raw = RawDump(flows, list(chain.from_iterable(others)), groups, meters)
        installed, self._unreadable = read_dump(raw, _breathe)
        return installed

    def metered(self) -> Mapping[int, wire.Metered]:
        """What each meter of ours has counted, by its number. Raises SwitchLost."""
        xids = self._reserve(2)
        exchange = self._converse((wire.meter_stats_request(xids[0]), wire.barrier(xids[1])), xids)
        return read_metered(exchange.parts.get(xids[0], []))

    def commit(self, delta: Delta) -> None:
        """All of ``delta`` or nothing, in force on return; an empty one sends nothing. Raises BundleRefused, SwitchLost."""
        if delta.is_empty:
            return
        self._change_meters(
            (
                *((wire.meter_add, meter) for meter in delta.add_meters),
                *((wire.meter_modify, meter) for meter in delta.modify_meters),
            )
        )
        if delta.bundled or self._unreadable:
            self._commit_bundle([*_removals(self._unreadable), *_steps(delta)])
        self._change_meters([(wire.meter_delete, meter) for meter in delta.remove_meters])

    def _change_meters(self, steps: Sequence[_Step]) -> None:
        """Meters do not go into bundles: they are there before the flows that use them, and go after them."""
        if not steps:
            return
        xids = self._reserve(len(steps) + 1)
        messages = [encode(meter, xid) for (encode, meter), xid in zip(steps, xids, strict=False)]
        exchange = self._converse([*messages, wire.barrier(xids[-1])], xids)
        if exchange.errors:
            refused = (
                Refusal(str(steps[xid - xids[0]][1]), getattr(steps[xid - xids[0]][1], "owner", ""), why)
                for xid, why in exchange.errors
            )
            raise BundleRefused(self.name, tuple(refused))

    def _commit_bundle(self, steps: list[_Step]) -> None:
        xids = self._reserve(len(steps) + 4)
        # Written down before anything is sent: what cannot be encoded leaves no half of a bundle at the switch.
        messages = list(_fill_bundle(steps, xids))
        with self._turn:
            # A message that OVS refuses as it comes in is left out of the bundle, and a commit would apply the others.
            self._must_succeed(self._ask(messages, xids, until=xids[-3]), steps)
            finish = (wire.bundle_commit(BUNDLE_ID, xids[-2]), wire.barrier(xids[-1]))
            self._must_succeed(self._ask(finish, xids, until=xids[-1]), steps)
        self._unreadable = ()

    def _must_succeed(self, exchange: Exchange, steps: list[_Step]) -> None:
        if exchange.errors:
            self._discard()
            raise BundleRefused(self.name, tuple(_refusals(exchange, steps)))

    def _discard(self) -> None:
        """Forget a bundle that was refused. One that failed at its commit is gone already, which is an error to nobody."""
        xids = self._reserve(2)
        control = library.parser.OFPBundleCtrlMsg(
            self._datapath,
            BUNDLE_ID,
            library.ofproto.OFPBCT_DISCARD_REQUEST,
            library.ofproto.OFPBF_ATOMIC,
            [],
        )
        control.set_xid(xids[0])
        control.serialize()
        self._ask((bytes(control.buf), wire.barrier(xids[1])), xids, until=xids[1])

    def flush_zone(self, zone: int) -> None:
        """Forget every connection of a conntrack zone (0..65535). Raises SwitchLost."""
        xids = self._reserve(2)
        exchange = self._converse((wire.ct_flush_zone(zone, xids[0]), wire.barrier(xids[1])), xids)
        if exchange.errors:
            raise self._give_up(f"it cannot flush conntrack zone {zone}: {exchange.errors[0][1]}")

    def flush_connections(self, which: Sequence[wire.ConnectionFilter]) -> None:
        """Forget the connections that are like any of these, in all zones. Raises SwitchLost.

        Open vSwitch before 3.1 cannot; that is said, once a connection.
        """
        if not which:
            return
        xids = self._reserve(len(which) + 1)
        flushes = [wire.ct_flush(each, xid) for each, xid in zip(which, xids, strict=False)]
        exchange = self._converse([*flushes, wire.barrier(xids[-1])], xids)
        if exchange.errors and not self._cannot_flush:
            self._cannot_flush = True
            _LOG.warning(
                "event=cannot_flush bridge=%s why=%r: UDP clients of endpoints that were removed keep sending to them",
                self.name,
                exchange.errors[0][1],
            )

    def refuse(self, packet: wire.PacketIn) -> None:
        """Answer a packet that Reject or SizeGate sent; silence where no answer is due or its port got too many."""
        make = self._answers.get(packet.table)
        if make is None or not is_ours(packet.cookie) or self._lost:
            return
        if not self._refusals.take(packet.in_port, time.monotonic()) or not self._has_room():
            self.unanswered += 1
            return
        answer = make(packet.frame)
        if answer is not None:
            self._datapath.send(wire.packet_out(answer, packet.in_port, self._reserve(1)[0]))

    def _has_room(self) -> bool:
        """Whether send() would not block: all bridges' events wait for the greenthread that answers."""
        if self._datapath.send_q is not None and self._datapath.send_q.full():
            _breathe()
        return self._datapath.send_q is not None and not self._datapath.send_q.full()

    def close(self) -> None:
        """Let go of the switch, which keeps its flows and tries to connect again."""
        self._datapath.close()

    def lose(self) -> None:
        """The connection went. Whoever waits for an answer gets SwitchLost."""
        self._lost = True
        if self._exchange is not None:
            self._exchange.lose()

    def receive(self, take: Callable[[Exchange, Any], None], message: Any) -> None:
        """Hand an answer of the switch to the exchange that it belongs to; answers to nobody are dropped."""
        if self._exchange is not None and message.xid in self._exchange.xids:
            take(self._exchange, message)

    def _reserve(self, count: int) -> range:
        """Transaction ids of our own: the library counts on behind them."""
        first = self._datapath.xid + 1
        if first + count > _MAX_XID:
            first = 1
        self._datapath.xid = first + count - 1
        return range(first, first + count)

    def _converse(self, messages: Iterable[bytes], xids: range) -> Exchange:
        with self._turn:
            return self._ask(messages, xids, until=xids[-1])

    def _ask(self, messages: Iterable[bytes], xids: range, until: int) -> Exchange:
        """Send ``messages`` and collect what concerns ``xids`` until the barrier ``until`` is answered. Our turn is on."""
        if self._lost:
            raise SwitchLost(f"bridge {self.name} is not connected")
        self._exchange = exchange = Exchange(xids, until)
        try:
            with library.hub.Timeout(ANSWER_TIMEOUT, False):
                self._send(messages)
                if exchange.is_answered(ANSWER_TIMEOUT):
                    return exchange
        finally:
            self._exchange = None
        if self._lost:
            raise SwitchLost(f"bridge {self.name} went away before it answered")
        raise self._give_up(f"no answer within {ANSWER_TIMEOUT:g} s")

    def _send(self, messages: Iterable[bytes]) -> None:
        buffer = bytearray()
        for message in messages:
            buffer += message
            if len(buffer) >= WRITE_SIZE:
                self._write(buffer)
                buffer = bytearray()
        if buffer:
            self._write(buffer)

    def _write(self, data: bytearray) -> None:
        # send() blocks while 16 writes wait, returns False when the connection is going, and never raises.
        if self._lost or not self._datapath.send(bytes(data)):
            raise SwitchLost(f"bridge {self.name} went away while it was being written to")
        _breathe()

    def _give_up(self, why: str) -> SwitchLost:
        """Close the connection: its state is unknown. The switch connects anew and is read back."""
        self.lose()
        self._datapath.close()
        return SwitchLost(
            f"bridge {self.name}: {why}; the connection is closed and the switch will connect again"
        )


_Step = tuple["Callable[[Any, int], bytes]", "Flow | Group | Meter | wire.Foreign"]


def _removals(flows: Iterable[wire.Foreign]) -> Iterator[_Step]:
    """Before anything else: a flow that takes the place of one of them is put afterwards."""
    return ((wire.foreign_delete_strict, flow) for flow in flows)


def _steps(delta: Delta) -> Iterator[_Step]:
    """Groups before the flows that use them, and flows gone before their groups: OVS deletes a group's flows with it."""
    yield from ((wire.group_add, group) for group in delta.add_groups)
    yield from ((wire.group_modify, group) for group in delta.modify_groups)
    yield from ((wire.flow_delete_strict, flow) for flow in delta.remove_flows)
    yield from ((wire.flow_add, flow) for flow in delta.put_flows)
    yield from ((wire.group_delete, group) for group in delta.remove_groups)


def _fill_bundle(steps: list[_Step], xids: range) -> Iterator[bytes]:
    """Open an ordered atomic bundle, add every step, and a barrier; the step i has the transaction id ``xids[i + 1]``."""
    yield wire.bundle_open(BUNDLE_ID, xids[0])
    for xid, (encode, value) in zip(xids[1:], steps, strict=False):
        yield wire.bundle_add(BUNDLE_ID, encode(value, xid))
    yield wire.barrier(xids[-3])


def _refusals(exchange: Exchange, steps: list[_Step]) -> Iterator[Refusal]:
    """The causes. A message that fails at the commit makes the commit fail too, which says nothing more."""
    causes = [(xid, why) for xid, why in exchange.errors if xid in exchange.xids[1:-3]]
    for xid, why in causes:
        value = steps[xid - exchange.xids[1]][1]
        yield Refusal(str(value), getattr(value, "owner", ""), why)
    if not causes:
        yield Refusal(
            "the bundle", "", "; ".join(why for _, why in exchange.errors) or "it was not confirmed"
        )


def _breathe() -> None:
    """Let the other greenthreads of the process run: echo replies, other bridges."""
    library.hub.sleep(0)
