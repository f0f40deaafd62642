"""One connection to the database of one node: sets the bridge up, finds the pods' ports, reconnects for ever."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import eventlet
import ovs.db.idl
import ovs.poller

from lace_sdn.pipeline.constants import GATEWAY_INTERFACE
from lace_sdn.switch.bridge_rows import BridgeRows, NoticingIdl
from lace_sdn.switch.ovsdb_plan import (
    CONTROLLER_SOCKET,
    OWN_SOCKET,
    BridgePlan,
    OvsdbSettings,
    PortMap,
    datapath_id,
    port_map,
)
from lace_sdn.switch.ovsdb_schema import SCHEMA
from lace_sdn.switch.permitted import permitted_targets
from lace_sdn.switch.pod_interface import UNNOTED
from lace_sdn.switch.pod_ports import Change, PodPort, PodPorts

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

__all__ = ["OvsdbNode", "OvsdbSettings", "PortMap", "datapath_id"]

_LOG = logging.getLogger(__name__)

PROBE_INTERVAL: Final = 5000
RECONNECT_BACKOFF: Final = (200, 1000)
"""Milliseconds, least and most."""
RETRY_AFTER: Final = 2000
"""Milliseconds until a refused transaction is tried again."""
AFTER_RELEASE: Final = 1.0
"""Seconds within which ovs-vswitchd has emptied the datapath, once it may."""


class OvsdbNode:
    """Keeps one node's bridge as ``settings`` say and tells ``on_ports`` the ports of its pods.

    ``on_ports`` gets the ports once when the bridge is set up, then at every change. It
    runs in this connection's greenthread and must not block. A lost connection changes nothing: ``state`` stays what it was.
    """

    def __init__(
        self, remote: str, node: str, settings: OvsdbSettings, on_ports: Callable[[PortMap], None]
    ) -> None:
        """``remote``: as in ovsdb(7), ``unix:/path/db.sock`` or ``tcp:host:port``. Nothing is connected before ``start``."""
        self.node = node
        self.remote = remote
        self.settings = settings
        self.state: PortMap | None = None
        """None before the bridge was set up for the first time."""
        self.is_connected = False
        self._on_ports = on_ports
        self._is_set_up = False
        self._plan = BridgePlan(node, settings, (settings.controller,))
        self._transaction: Any = None
        self._pod_ports = PodPorts()
        self._written: list[Change] = []
        self._notes: Mapping[str, str] = {}
        self._is_released = False
        self._no_ports_until = 0.0
        self._waker: tuple[Any, Any] | None = None
        self._greenthread: Any = None
        self._idl = self._open()
        self._rows = BridgeRows(self._idl, settings.bridge)
        self._reported = -1

    @property
    def ports(self) -> Mapping[str, int]:
        """Endpoint id to ofport."""
        return self.state.ports if self.state else {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Interfaces that cannot be used, and why."""
        return self.state.problems if self.state else ()

    @property
    def datapath_id(self) -> int:
        """The number by which this node's bridge says hello."""
        return int(datapath_id(self.node), 16)

    def start(self) -> None:
        """Connect, and stay connected, in a greenthread of its own. Raises OSError, see ``permitted_targets``."""
        targets = permitted_targets(self.settings.controller, self.remote)
        run_directory = str(Path(self.remote.removeprefix("unix:")).parent)
        self._plan = BridgePlan(self.node, self.settings, targets, is_fresh=True, run_directory=run_directory)
        self._waker = socket.socketpair()
        for each in self._waker:
            each.setblocking(False)
        self._greenthread = eventlet.spawn(self._run)

    def put_pod(self, port: PodPort) -> threading.Event:
        """Make an interface that is there a port of the bridge; the event is set when the database says so."""
        return self._change(Change(port.interface, port))

    def remove_pod(self, interface: str) -> threading.Event:
        """Take a port away, if it is there; the event is set when the database says so."""
        return self._change(Change(interface, None))

    def note(self, notes: Mapping[str, str]) -> None:
        """From now on rows of interfaces say for whom the zones of their ports were emptied (by row; "" for nobody that is known)."""
        if notes != self._notes:
            self._notes = notes
            self._is_set_up = False
            self._wake()

    def release(self) -> None:
        """All flows are there: ovs-vswitchd may switch packets by them, if it waits for that."""
        if self._rows.is_waiting and not self._is_released:
            self._is_released = True
            self._is_set_up = False
            self._wake()

    def _change(self, change: Change) -> threading.Event:
        self._pod_ports.add(change)
        self._wake()
        return change.done

    def _wake(self) -> None:
        """Whoever is not woken looks by itself, within the probe interval."""
        if self._waker is not None:
            with contextlib.suppress(OSError):
                self._waker[1].send(b"!")

    def stop(self) -> None:
        """Let go of the database; what it says stays."""
        if self._greenthread is not None:
            self._greenthread.kill()
        for each in self._waker or ():
            each.close()
        self._waker = None
        self._idl.close()

    def _open(self) -> NoticingIdl:
        helper = ovs.db.idl.SchemaHelper(schema_json=SCHEMA)
        helper.register_all()
        idl = NoticingIdl(self.remote, helper, probe_interval=PROBE_INTERVAL)
        # The IDL has no public way to say this; its default waits up to 8 s.
        idl._session.reconnect.set_backoff(*RECONNECT_BACKOFF)  # noqa: SLF001
        return idl

    def _run(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # noqa: BLE001 (a greenthread that ended would leave the node to itself)
                _LOG.exception("event=ovsdb_failed node=%s now=retrying", self.node)
                eventlet.sleep(RETRY_AFTER / 1000)
                self._start_anew()

    def _start_anew(self) -> None:
        """Nobody knows what a turn that failed has done: its transaction is dropped, and the database is read from the start."""
        with contextlib.suppress(Exception):
            if self._idl.txn is not None:
                self._idl.txn.abort()
        self._idl.txn = None
        self._transaction = None
        self._is_set_up = False
        self._reported = -1
        self._idl.force_reconnect()

    def _turn(self) -> None:
        """Take in what came, write what is missing, say what changed, wait for more."""
        before = self._idl.change_seqno
        self._idl.run()
        poller = ovs.poller.Poller()
        changed = self._idl.change_seqno != before
        self._note_connection()
        is_due = self._transaction is not None or not self._is_set_up or bool(self._pod_ports)
        if self._is_monitoring and (changed or is_due):
            self._ensure(poller)
            self._report()
        self._idl.wait(poller)
        self._wait_for_changes(poller)
        poller.block()

    def _wait_for_changes(self, poller: Any) -> None:
        """Of pods' ports, which come from other greenthreads."""
        if self._waker is not None:
            with contextlib.suppress(BlockingIOError):
                while self._waker[0].recv(4096):
                    poller.immediate_wake()
            poller.fd_wait(self._waker[0].fileno(), ovs.poller.POLLIN)

    @property
    def _is_monitoring(self) -> bool:
        return self._idl.state == self._idl.IDL_S_MONITORING and bool(self._idl.tables["Open_vSwitch"].rows)

    def _note_connection(self) -> None:
        connected = self._idl._session.is_connected() and self._is_monitoring  # noqa: SLF001
        if connected == self.is_connected:
            return
        self.is_connected = connected
        if connected:
            _LOG.info("event=ovsdb_up node=%s remote=%s", self.node, self.remote)
        else:
            _LOG.warning("event=ovsdb_down node=%s remote=%s now=reconnecting", self.node, self.remote)

    def _ensure(self, poller: Any) -> None:
        """One transaction at a time; the state after it is looked at again before the next."""
        if self._transaction is None:
            transaction = ovs.db.idl.Transaction(self._idl)
            transaction.add_comment("lace-sdn: bridge, tunnel and ports")
            self._rows.refresh()
            free = self._rows.free_ports()
            bridge = self._plan.write(self._rows, free, transaction)
            self._written = self._pod_ports.write(
                bridge, self._rows, free, transaction, may_add=self._may_add(poller)
            )
            self._rows.write_notes(self._notes)
            if self._rows.is_waiting and self._is_released:
                self._rows.release()
            self._transaction = transaction
        status = self._transaction.commit()
        kinds = ovs.db.idl.Transaction
        if status == kinds.INCOMPLETE:
            self._transaction.wait(poller)
            return
        error, self._transaction = self._transaction.get_error(), None
        if status in (kinds.UNCHANGED, kinds.SUCCESS):
            self._pod_ports.finish(self._written)
        if status == kinds.UNCHANGED:
            self._is_set_up = True
            self._plan = replace(self._plan, is_fresh=False)
        elif status in (kinds.SUCCESS, kinds.TRY_AGAIN):
            poller.immediate_wake()
            self._is_set_up = False
            self._plan = replace(self._plan, is_fresh=self._plan.is_fresh and status == kinds.TRY_AGAIN)
        else:
            _LOG.error("event=ovsdb_refused node=%s error=%r now=retrying", self.node, error)
            self._is_set_up = False
            poller.timer_wait(RETRY_AFTER)

    def _may_add(self, poller: Any) -> bool:
        """Not while the datapath is as a former ovs-vswitchd left it: a new port would be taken for the one that had its number there."""
        now = time.monotonic()
        if self._rows.is_waiting:
            self._no_ports_until = now + AFTER_RELEASE
        else:
            self._is_released = False
        if now < self._no_ports_until and self._pod_ports:
            poller.timer_wait(max(1, int(1000 * (self._no_ports_until - now))))
        return now >= self._no_ports_until

    @property
    def _socket(self) -> str:
        """Of the bridge, by which it is called; while it waits it has only its own."""
        if not self._rows.is_called:
            return ""
        return self.settings.bridge + (OWN_SOCKET if self._rows.is_waiting else CONTROLLER_SOCKET)

    def _report(self) -> None:
        self._rows.refresh()
        if self._rows.bridge is None or not self._is_set_up or self._rows.version == self._reported:
            return
        gateway = self._rows.interfaces.get(GATEWAY_INTERFACE)
        found = port_map(self._rows.pods, gateway.note if gateway else UNNOTED)
        state = replace(found, socket=self._socket, is_waiting=self._rows.is_waiting)
        if state != self.state:
            self._tell(state)
        self._reported = self._rows.version

    def _tell(self, state: PortMap) -> None:
        for problem in set(state.problems) - set(self.problems):
            _LOG.error("event=port_problem node=%s problem=%r", self.node, problem)
        if self.state is None or _told(state) != _told(self.state):
            self._on_ports(state)
        self.state = state


def _told(state: PortMap) -> tuple[object, ...]:
    return state.ports, state.uids, state.notes, state.gateway, state.socket, state.is_waiting
