"""One batch of messages to a switch and what comes back, matched by transaction ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lace_sdn.switch import library
from lace_sdn.switch.reasons import reason


@dataclass(slots=True)
class Exchange:
    """What the switch says about ``xids``, complete with the answer to the barrier ``until``: OVS answers in order."""

    xids: range
    until: int
    errors: list[tuple[int, str]] = field(default_factory=list)
    """The xid of the message that was refused, and why."""
    parts: dict[int, list[bytes]] = field(default_factory=dict)
    """Raw multipart replies, header included, by the xid of their request."""
    is_lost: bool = False
    _end: Any = field(default_factory=library.hub.Event)

    def on_error(self, message: Any) -> None:
        self.errors.append((message.xid, reason(message)))

    def on_part(self, message: Any) -> None:
        self.parts.setdefault(message.xid, []).append(message.buf)

    def on_barrier(self, message: Any) -> None:
        if message.xid == self.until:
            self._end.set()

    def lose(self) -> None:
        """The connection went: no answer will come."""
        self.is_lost = True
        self._end.set()

    def is_answered(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most for all answers; False if they did not come or the connection went."""
        return bool(self._end.wait(timeout)) and not self.is_lost


def parse(datapath: Any, version: int, msg_type: int, msg_len: int, xid: int, buf: bytearray) -> Any:  # noqa: PLR0913, PLR0917
    """The library's parser of OpenFlow 1.5 (its signature), but dumps and packets stay raw in ``message.buf``.

    The library cannot parse a flow with a copy_field action, and drops the whole reply without a word.
    """
    reply = None
    if msg_type == library.ofproto.OFPT_PACKET_IN:
        reply = library.parser.OFPPacketIn
    elif msg_type == library.ofproto.OFPT_MULTIPART_REPLY:
        reply = _RAW.get(int.from_bytes(buf[8:10], "big"))
    if reply is not None:
        message = reply(datapath)
        message.set_headers(version, msg_type, msg_len, xid)
        message.set_buf(buf)
        return message
    return library.parser.msg_parser(datapath, version, msg_type, msg_len, xid, buf)


_RAW = {
    library.ofproto.OFPMP_FLOW_DESC: library.parser.OFPFlowDescStatsReply,
    library.ofproto.OFPMP_GROUP_DESC: library.parser.OFPGroupDescStatsReply,
    library.ofproto.OFPMP_METER_DESC: library.parser.OFPMeterDescStatsReply,
    library.ofproto.OFPMP_METER_STATS: library.parser.OFPMeterStatsReply,
}
