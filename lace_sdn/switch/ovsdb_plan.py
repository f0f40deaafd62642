"""What the database of a node should say about our bridge, written as the difference to what it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.pipeline.constants import (
    DEFAULT_MTU,
    GATEWAY_INTERFACE,
    GATEWAY_PORT,
    HOST_MAC,
    LAST_POD_PORT,
    TUNNEL_PORT,
)
from lace_sdn.pipeline.tables import TABLES
from lace_sdn.switch.contract import REFUSALS_A_SECOND
from lace_sdn.switch.pod_interface import UNNOTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.switch.bridge_rows import BridgeRows
    from lace_sdn.switch.pod_interface import PodInterface, ZoneNote

TUNNEL_INTERFACE: Final = "lace-geneve"
OWN_SOCKET: Final = ".mgmt"
"""Of a bridge, behind its name: there always (ovs-vswitchd(8))."""
CONTROLLER_SOCKET: Final = ".controller"
"""Of a bridge whose controller is to call it (ovs-vswitchd.conf.db(5), Controller, target)."""
POD_UID: Final = "pod-uid"
PROTOCOLS: Final = ["OpenFlow13", "OpenFlow14", "OpenFlow15"]
"""We speak 1.5; the older ones are for ``ovs-ofctl`` with its defaults."""
MAX_BACKOFF: Final = 1000
"""Milliseconds. The default lets a switch wait 8 s before it tries the controller again."""


@dataclass(frozen=True, slots=True)
class OvsdbSettings:
    """What the bridge of every node is set up with.

    ``controller``: target as in ovs-vsctl(8), ``unix:/path`` or ``tcp:host:port``; ``datapath_type``: system, netdev or
    dummy; ``tables``: names of the flow tables by number; ``inactivity_probe``: milliseconds; ``mtu``: of pods, octets.
    """

    controller: str
    datapath_type: str = "system"
    tables: Mapping[int, str] = field(default_factory=lambda: {table.number: table.name for table in TABLES})
    bridge: str = "br-int"
    inactivity_probe: int = 5000
    mtu: int = DEFAULT_MTU


@dataclass(frozen=True, slots=True)
class PortMap:
    """What a node's database says. ``ports``: endpoint id (``namespace/name``) to ofport, only those that can be used."""

    ports: Mapping[str, int] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)
    """By endpoint: the uid of the pod that its port was made for, where it says one."""
    notes: Mapping[str, ZoneNote] = field(default_factory=dict)
    """By endpoint, for all that have a port."""
    gateway: ZoneNote = UNNOTED
    interfaces: Mapping[str, PodInterface] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    socket: str = ""
    """By which the bridge is called, a name in the run directory of Open vSwitch; "" where it connects to the controller itself."""
    is_waiting: bool = False
    """Whether it leaves the datapath as it is until its flows are there."""

    @property
    def rows(self) -> frozenset[str]:
        """Of the interfaces that notes are in."""
        return frozenset(note.row for note in (*self.notes.values(), self.gateway))


def port_map(interfaces: tuple[PodInterface, ...], gateway: ZoneNote = UNNOTED) -> PortMap:
    """Of two interfaces for one endpoint the first name counts; the other is a problem. ``gateway``: of the way to the node's stack."""
    ports: dict[str, int] = {}
    uids: dict[str, str] = {}
    notes: dict[str, ZoneNote] = {}
    problems = [each.problem for each in interfaces if each.problem]
    for each in interfaces:
        if each.ofport is None or not each.is_usable:
            continue
        if each.endpoint in ports:
            problems.append(
                f"interface {each.name}: {each.endpoint} has another interface already; this one is not used"
            )
        ports.setdefault(each.endpoint, each.ofport)
        uids.setdefault(each.endpoint, each.external_ids.get(POD_UID, ""))
        notes.setdefault(each.endpoint, each.note)
    return PortMap(ports, uids, notes, gateway, {each.name: each for each in interfaces}, tuple(problems))


def datapath_id(node: str) -> str:
    """The datapath id of the node's bridge, 16 hex digits: the same for a name everywhere and always."""
    return hashlib.blake2b(node.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class BridgePlan:
    """``targets``: any of them is right for the controller; ``is_fresh``: our process has just begun to listen; ``run_directory``: of Open vSwitch."""

    node: str
    settings: OvsdbSettings
    targets: tuple[str, ...]
    is_fresh: bool = False
    run_directory: str = ""

    @property
    def listening(self) -> str:
        """Where the bridge listens; ovs-vswitchd takes no other path."""
        return f"punix:{self.run_directory}/{self.settings.bridge}{CONTROLLER_SOCKET}"

    def write(self, rows: BridgeRows, free: Iterator[int], transaction: Any) -> Any:
        """Put into ``transaction`` what is missing; nothing when all is as it should be. The answer is the bridge's row.

        ``free``: numbers for pods' ports.
        """
        settings = self.settings
        bridge = rows.bridge or _new_bridge(transaction, settings.bridge)
        _set(bridge, "datapath_type", settings.datapath_type)
        # In the transaction that creates the bridge: without it, it would switch packets like a hub until we come.
        _set(bridge, "fail_mode", ["secure"])
        _set(bridge, "protocols", PROTOCOLS)
        _merge(bridge, "other_config", {"datapath-id": datapath_id(self.node)})
        self._write_controller(bridge, transaction, is_called=rows.is_called)
        _plan_tables(bridge, transaction, settings)
        tunnel = _device(bridge, rows, transaction, TUNNEL_INTERFACE, "geneve")
        _merge(tunnel, "options", {"key": "flow", "remote_ip": "flow", "csum": "true"})
        _set(tunnel, "ofport_request", [TUNNEL_PORT])
        gateway = _device(bridge, rows, transaction, GATEWAY_INTERFACE, "internal")
        _set(gateway, "mac", [HOST_MAC])
        _set(gateway, "mtu_request", [settings.mtu])
        _set(gateway, "ofport_request", [GATEWAY_PORT])
        _plan_ofports(rows, free)
        return bridge

    def _write_controller(self, bridge: Any, transaction: Any, *, is_called: bool) -> None:
        """Exactly one controller: two would undo each other's flows. Never none in between: that would flush the flows.

        A bridge that is called listens: the first controller that it connects to would flush the flows that are there.
        """
        rows = getattr(bridge, "controller", [])
        targets = (self.listening,) if is_called else self.targets
        row = next((each for each in rows if each.target in targets), None)
        if row is None:
            row = transaction.insert(transaction.idl.tables["Controller"])
            row.target = targets[0]
        elif self.is_fresh and not row.is_connected:
            # A switch that found nobody waits up to 8 s, whatever max_backoff says (3.1); a new target it tries at once.
            row.target = next((each for each in targets if each != row.target), row.target)
        _set(row, "max_backoff", [MAX_BACKOFF])
        _set(row, "inactivity_probe", [self.settings.inactivity_probe])
        # Of packets that are refused or too large. The switch queues them by port, so that no pod takes the share of the others.
        _set(row, "controller_rate_limit", [REFUSALS_A_SECOND])
        _set(row, "controller_burst_limit", [REFUSALS_A_SECOND])
        # The channel never runs through the bridge itself; in-band would add hidden flows.
        _set(row, "connection_mode", ["out-of-band"])
        if rows != [row]:
            bridge.controller = [row]


def _new_bridge(transaction: Any, name: str) -> Any:
    bridge = transaction.insert(transaction.idl.tables["Bridge"])
    bridge.name = name
    bridge.ports = [new_port(transaction, name, "internal")]
    root = next(iter(transaction.idl.tables["Open_vSwitch"].rows.values()))
    root.verify("bridges")
    root.bridges = [*root.bridges, bridge]
    return bridge


def new_port(transaction: Any, name: str, kind: str) -> Any:
    """A port with one interface of the same name; ``kind``: its type, "" for a device of the system."""
    interface = transaction.insert(transaction.idl.tables["Interface"])
    interface.name = name
    interface.type = kind
    port = transaction.insert(transaction.idl.tables["Port"])
    port.name = name
    port.interfaces = [interface]
    return port


def _plan_tables(bridge: Any, transaction: Any, settings: OvsdbSettings) -> None:
    rows = getattr(bridge, "flow_tables", {})
    for number, name in settings.tables.items():
        if number in rows:
            _set(rows[number], "name", [name])
    missing = settings.tables.keys() - rows.keys()
    if missing:
        bridge.flow_tables = rows | {
            number: _new_table(transaction, settings.tables[number]) for number in missing
        }


def _new_table(transaction: Any, name: str) -> Any:
    row = transaction.insert(transaction.idl.tables["Flow_Table"])
    row.name = [name]
    return row


def _device(bridge: Any, rows: BridgeRows, transaction: Any, name: str, kind: str) -> Any:
    """The interface of one of the bridge's own ports.

    One Geneve port serves all nodes: the flows say where a packet goes. An internal port is the way to the node's own network stack;
    its addresses and routes are not ours to set here.
    """
    found = rows.interfaces.get(name)
    if found is not None:
        _set(found.row, "type", kind)
        return found.row
    port = new_port(transaction, name, kind)
    bridge.ports = [*bridge.ports, port]
    return port.interfaces[0]


def _plan_ofports(rows: BridgeRows, free: Iterator[int]) -> None:
    """A pod asks for the port that it has, so that it keeps it through a restart; for a free one if it has none of ours."""
    for each in rows.interfaces.values():
        if each.pod is None or each.ofport is None:
            continue
        if each.pod.is_usable:
            if each.asks_for != each.ofport:
                each.row.ofport_request = [each.ofport]
        elif each.ofport > LAST_POD_PORT and not 1 <= (each.asks_for or 0) <= LAST_POD_PORT:
            each.row.ofport_request = [next(free)]


def _set(row: Any, column: str, value: Any) -> None:
    """Rows made in this transaction have no value before they get one."""
    if getattr(row, column, None) != value:
        setattr(row, column, value)


def _merge(row: Any, column: str, wanted: Mapping[str, str]) -> None:
    """Set these keys of a map column; others are somebody else's."""
    held = getattr(row, column, None)
    if held is None:
        setattr(row, column, dict(wanted))
        return
    for key, value in wanted.items():
        if held.get(key) != value:
            row.setkey(column, key, value)
