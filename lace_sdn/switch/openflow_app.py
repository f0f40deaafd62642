"""The OpenFlow application: listens, knows each bridge by its datapath id, says when one comes and goes.

One process, one SwitchApp (the library's application manager is a singleton). ``lace_sdn.switch.patched`` must have been
the first import of the process.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lace_sdn.openflow.wire import read_packet_in
from lace_sdn.openflow.wire.oxm import Unreadable
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.switch import library
from lace_sdn.switch.bridge import Bridge
from lace_sdn.switch.exchange import Exchange, parse
from lace_sdn.switch.listeners import Call, Listener, TcpAddress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    BridgeCallback = Callable[[Bridge], None]

_Method = TypeVar("_Method", bound="Callable[..., None]")

MISS_OCTETS: Final = 128
"""Of packets that no flow matches, which are dropped. Flows that send packets to us say themselves how much of them."""

_LOG = logging.getLogger(__name__)


class SwitchApp:
    """Bridges that are connected now, by datapath id.

    ``on_up`` and ``on_down`` run each in a greenthread of its own, started in the order of the events, and may block.
    A bridge that reconnects goes down (the old object) before it comes up (a new one), whatever order the library saw.
    """

    def __init__(self, on_up: BridgeCallback, on_down: BridgeCallback, mtu: int = DEFAULT_MTU) -> None:
        """Nothing listens before ``listen``. ``mtu``: of pods, octets."""
        self.bridges: dict[int, Bridge] = {}
        self._on_up, self._on_down, self._mtu = on_up, on_down, mtu
        self._listeners: list[Listener] = []
        library.register_msg_parser(library.OPENFLOW_15)(parse)
        self._manager = library.AppManager.get_instance()
        # The handshake's own start() would listen on TCP ports 6633 and 6653 of every address; we listen where we are told.
        for app in (self._manager.instantiate(library.Handshake), self._manager.instantiate(_Events, self)):
            library.App.start(app)

    def listen(self, address: Path | TcpAddress) -> Listener:
        """Let switches connect to a unix socket or TCP port. Raises OSError."""
        listener = Listener(address)
        self._listeners.append(listener)
        _LOG.info("event=listening address=%s library=%s", address, library.NAME)
        return listener

    @staticmethod
    def call(path: Path) -> Call:
        """Speak to a bridge by its own socket: one that waits for its flows connects to nobody."""
        _LOG.info("event=calling address=%s", path)
        return Call(path)

    def close(self) -> None:
        """Accept no more and let go of every bridge; their flows stay as they are."""
        for listener in self._listeners:
            listener.close()
        for bridge in list(self.bridges.values()):
            bridge.close()
        self._manager.close()

    def connected(self, datapath: Any) -> None:
        """The library has finished the handshake with ``datapath``."""
        old = self.bridges.pop(datapath.id, None)
        if old is not None:
            self._down(old)
        bridge = Bridge(datapath, self._mtu)
        # A bridge that was called sends no packets before it is told how much of them (Open vSwitch, DESIGN, asynchronous messages).
        datapath.send_msg(
            library.parser.OFPSetConfig(datapath, library.ofproto.OFPC_FRAG_NORMAL, MISS_OCTETS)
        )
        self.bridges[bridge.datapath_id] = bridge
        _LOG.info("event=bridge_up bridge=%s", bridge.name)
        library.hub.spawn(self._on_up, bridge)

    def disconnected(self, datapath: Any) -> None:
        """``datapath`` is dead. A late word about a connection that has been replaced changes nothing."""
        bridge = self.bridges.get(datapath.id)
        if bridge is not None and bridge.serves(datapath):
            del self.bridges[bridge.datapath_id]
            self._down(bridge)

    def _down(self, bridge: Bridge) -> None:
        bridge.lose()
        _LOG.warning("event=bridge_down bridge=%s flows=kept", bridge.name)
        library.hub.spawn(self._on_down, bridge)


def _on(event: str, state: Any = library.MAIN) -> Callable[[_Method], _Method]:
    """The library's decorator of a method that takes its ``EventOFP...`` of connections in ``state``."""
    decorate: Callable[[_Method], _Method] = library.set_ev_cls(
        getattr(library.events, f"EventOFP{event}"), state
    )
    return decorate


class _Events(library.App):  # type: ignore[misc]
    """What the library sees of us: its events, handed to the bridge they are about."""

    OFP_VERSIONS = (library.OPENFLOW_15,)
    LOGGER_NAME = __name__

    def __init__(self, app: SwitchApp) -> None:
        super().__init__()
        self._app = app

    def _hand_on(self, event: Any, take: Callable[[Exchange, Any], None]) -> None:
        datapath = event.msg.datapath
        bridge = self._app.bridges.get(datapath.id)
        if bridge is not None and bridge.serves(datapath):
            bridge.receive(take, event.msg)

    @_on("StateChange", [library.MAIN, library.DEAD])
    def state_changed(self, event: Any) -> None:
        if event.state == library.MAIN:
            try:
                self._app.connected(event.datapath)
            except Exception:
                # A switch that is connected and known to nobody would stay so: it is to come once more.
                event.datapath.close()
                raise
        else:
            self._app.disconnected(event.datapath)

    @_on("PacketIn")
    def packet_came(self, event: Any) -> None:
        datapath = event.msg.datapath
        bridge = self._app.bridges.get(datapath.id)
        if bridge is not None and bridge.serves(datapath):
            with contextlib.suppress(Unreadable):
                bridge.refuse(read_packet_in(bytes(event.msg.buf)))

    @_on("ErrorMsg")
    def refused(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_error)

    @_on("BarrierReply")
    def passed_barrier(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_barrier)

    @_on("FlowDescStatsReply")
    def flows_dumped(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_part)

    @_on("GroupDescStatsReply")
    def groups_dumped(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_part)

    @_on("MeterDescStatsReply")
    def meters_dumped(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_part)

    @_on("MeterStatsReply")
    def meters_counted(self, event: Any) -> None:
        self._hand_on(event, Exchange.on_part)
