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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TUNNEL_INTERFACE: Final = "lace-geneve"
IFACE_ID: Final = "iface-id"
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
class PodInterface:
    """An interface of our bridge that says which endpoint (``namespace/name``) it serves.

    ``ofport``: None while ovs-vswitchd has not seen it, -1 when it could not be opened (``error`` then says why).
    """

    name: str
    endpoint: str
    ofport: int | None
    error: str
    external_ids: Mapping[str, str]

    @property
    def is_usable(self) -> bool:
        return self.ofport is not None and 1 <= self.ofport <= LAST_POD_PORT

    @property
    def problem(self) -> str:
        """What an operator should know; empty if nothing."""
        if self.error or self.ofport == -1:
            return f"interface {self.name} of {self.endpoint}: {self.error or 'it could not be opened'}; it has no port"
        if self.ofport is not None and not self.is_usable:
            return (
                f"interface {self.name} of {self.endpoint}: ofport {self.ofport} is not in 1..{LAST_POD_PORT}; "
                "another one has been asked for"
            )
        return ""


@dataclass(frozen=True, slots=True)
class PortMap:
    """What a node's database says. ``ports``: endpoint id (``namespace/name``) to ofport, only those that can be used."""

    ports: Mapping[str, int] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)
    """By endpoint: the uid of the pod that its port was made for, where it says one."""
    interfaces: tuple[PodInterface, ...] = ()
    problems: tuple[str, ...] = ()


def port_map(interfaces: tuple[PodInterface, ...]) -> PortMap:
    """Of two interfaces for one endpoint the first name counts; the other is a problem."""
    ports: dict[str, int] = {}
    uids: dict[str, str] = {}
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
    return PortMap(ports, uids, interfaces, tuple(problems))


def datapath_id(node: str) -> str:
    """The datapath id of the node's bridge, 16 hex digits: the same for a name everywhere and always."""
    return hashlib.blake2b(node.encode(), digest_size=8).hexdigest()


def find_bridge(idl: Any, name: str) -> Any:
    """The row of the bridge, None if there is none."""
    return next((row for row in idl.tables["Bridge"].rows.values() if row.name == name), None)


def pod_interfaces(bridge: Any) -> tuple[PodInterface, ...]:
    """The interfaces of a bridge's row that carry ``external_ids:iface-id``, by name."""
    return tuple(
        sorted((_pod(row) for row in interfaces_of(bridge) if _is_pod(row)), key=lambda each: each.name)
    )


@dataclass(frozen=True, slots=True)
class BridgePlan:
    """``targets``: any of them is right for the controller; ``is_fresh``: our process has just begun to listen."""

    node: str
    settings: OvsdbSettings
    targets: tuple[str, ...]
    is_fresh: bool = False

    def write(self, idl: Any, transaction: Any) -> None:
        """Put into ``transaction`` what is missing; nothing when all is as it should be."""
        settings = self.settings
        bridge = find_bridge(idl, settings.bridge) or _new_bridge(idl, transaction, settings.bridge)
        _set(bridge, "datapath_type", settings.datapath_type)
        # In the transaction that creates the bridge: without it, it would switch packets like a hub until we come.
        _set(bridge, "fail_mode", ["secure"])
        _set(bridge, "protocols", PROTOCOLS)
        _merge(bridge, "other_config", {"datapath-id": datapath_id(self.node)})
        self._write_controller(bridge, idl, transaction)
        _plan_tables(bridge, transaction, idl, settings)
        _plan_tunnel(bridge, transaction, idl)
        _plan_gateway(bridge, transaction, idl, settings)
        _plan_ofports(bridge)

    def _write_controller(self, bridge: Any, idl: Any, transaction: Any) -> None:
        """Exactly one controller: two would undo each other's flows. Never none in between: that would flush the flows."""
        rows = getattr(bridge, "controller", [])
        row = next((each for each in rows if each.target in self.targets), None)
        if row is None:
            row = transaction.insert(idl.tables["Controller"])
            row.target = self.targets[0]
        elif self.is_fresh and not row.is_connected:
            # A switch that found nobody waits up to 8 s, whatever max_backoff says (3.1); a new target it tries at once.
            row.target = next((each for each in self.targets if each != row.target), row.target)
        _set(row, "max_backoff", [MAX_BACKOFF])
        _set(row, "inactivity_probe", [self.settings.inactivity_probe])
        # Of packets that are refused or too large. The switch queues them by port, so that no pod takes the share of the others.
        _set(row, "controller_rate_limit", [REFUSALS_A_SECOND])
        _set(row, "controller_burst_limit", [REFUSALS_A_SECOND])
        # The channel never runs through the bridge itself; in-band would add hidden flows.
        _set(row, "connection_mode", ["out-of-band"])
        if rows != [row]:
            bridge.controller = [row]


def _new_bridge(idl: Any, transaction: Any, name: str) -> Any:
    bridge = transaction.insert(idl.tables["Bridge"])
    bridge.name = name
    bridge.ports = [new_port(idl, transaction, name, "internal")]
    root = next(iter(idl.tables["Open_vSwitch"].rows.values()))
    root.verify("bridges")
    root.bridges = [*root.bridges, bridge]
    return bridge


def new_port(idl: Any, transaction: Any, name: str, kind: str) -> Any:
    """A port with one interface of the same name; ``kind``: its type, "" for a device of the system."""
    interface = transaction.insert(idl.tables["Interface"])
    interface.name = name
    interface.type = kind
    port = transaction.insert(idl.tables["Port"])
    port.name = name
    port.interfaces = [interface]
    return port


def _plan_tables(bridge: Any, transaction: Any, idl: Any, settings: OvsdbSettings) -> None:
    rows = getattr(bridge, "flow_tables", {})
    for number, name in settings.tables.items():
        if number in rows:
            _set(rows[number], "name", [name])
    missing = settings.tables.keys() - rows.keys()
    if missing:
        bridge.flow_tables = rows | {
            number: _new_table(idl, transaction, settings.tables[number]) for number in missing
        }


def _new_table(idl: Any, transaction: Any, name: str) -> Any:
    row = transaction.insert(idl.tables["Flow_Table"])
    row.name = [name]
    return row


def _plan_tunnel(bridge: Any, transaction: Any, idl: Any) -> None:
    """One Geneve port for all nodes: the flows say where a packet goes."""
    interface = next((row for row in interfaces_of(bridge) if row.name == TUNNEL_INTERFACE), None)
    if interface is None:
        port = new_port(idl, transaction, TUNNEL_INTERFACE, "geneve")
        bridge.ports = [*bridge.ports, port]
        interface = port.interfaces[0]
    _set(interface, "type", "geneve")
    _merge(interface, "options", {"key": "flow", "remote_ip": "flow", "csum": "true"})
    _set(interface, "ofport_request", [TUNNEL_PORT])


def _plan_gateway(bridge: Any, transaction: Any, idl: Any, settings: OvsdbSettings) -> None:
    """The way to the node's own network stack: an internal port, whose addresses and routes are not ours to set."""
    interface = next((row for row in interfaces_of(bridge) if row.name == GATEWAY_INTERFACE), None)
    if interface is None:
        port = new_port(idl, transaction, GATEWAY_INTERFACE, "internal")
        bridge.ports = [*bridge.ports, port]
        interface = port.interfaces[0]
    _set(interface, "type", "internal")
    _set(interface, "mac", [HOST_MAC])
    _set(interface, "mtu_request", [settings.mtu])
    _set(interface, "ofport_request", [GATEWAY_PORT])


def _plan_ofports(bridge: Any) -> None:
    """A pod asks for the port that it has, so that it keeps it through a restart; for a free one if it has none of ours."""
    rows = {row.name: row for row in interfaces_of(bridge)}
    pods = pod_interfaces(bridge)
    free = free_ports({number for row in rows.values() for number in numbers_of(row)})
    for pod in pods:
        row = rows[pod.name]
        if pod.is_usable:
            _set(row, "ofport_request", [pod.ofport])
        elif pod.ofport is not None and pod.ofport > LAST_POD_PORT and not _asks_for_pod_port(row):
            row.ofport_request = [next(free)]


def numbers_of(row: Any) -> list[int]:
    """The port numbers that an interface has or asks for."""
    return [*getattr(row, "ofport", []), *getattr(row, "ofport_request", [])]


def _asks_for_pod_port(row: Any) -> bool:
    return any(1 <= number <= LAST_POD_PORT for number in row.ofport_request)


def free_ports(taken: set[int]) -> Iterator[int]:
    """Numbers for pods' ports, the smallest first."""
    return (number for number in range(1, LAST_POD_PORT + 1) if number not in taken)


def interfaces_of(bridge: Any) -> list[Any]:
    """The rows of all interfaces of a bridge."""
    return [interface for port in bridge.ports for interface in port.interfaces]


def _is_pod(row: Any) -> bool:
    return IFACE_ID in getattr(row, "external_ids", {})


def _pod(row: Any) -> PodInterface:
    ids = dict(row.external_ids)
    return PodInterface(row.name, ids[IFACE_ID], next(iter(row.ofport), None), next(iter(row.error), ""), ids)


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
