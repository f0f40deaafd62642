"""Ports of pods on our bridge, put there and taken away by the controller itself, many in one transaction."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.switch.ovsdb_plan import (
    IFACE_ID,
    POD_UID,
    find_bridge,
    free_ports,
    interfaces_of,
    new_port,
    numbers_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINER_ID: Final = "container-id"
NETWORK_NAMESPACE: Final = "netns"
MAC: Final = "attached-mac"
"""Keys of an Interface's ``external_ids``, beside ``iface-id`` (Open vSwitch, Documentation/topics/integration)."""


@dataclass(frozen=True, slots=True)
class PodPort:
    """``interface``: the name in the node; ``endpoint``: ``namespace/name``; ``namespace``: path of the pod's network namespace."""

    interface: str
    endpoint: str
    uid: str
    container: str
    namespace: str
    mac: str

    @property
    def external_ids(self) -> dict[str, str]:
        return {
            IFACE_ID: self.endpoint,
            POD_UID: self.uid,
            CONTAINER_ID: self.container,
            NETWORK_NAMESPACE: self.namespace,
            MAC: self.mac,
        }


@dataclass(slots=True, eq=False)
class Change:
    """A port that is to be there (``port``), or is not to (None). ``done`` is set when the database has it so.

    ``earlier``: who waited for changes of the same interface that this one took the place of.
    """

    interface: str
    port: PodPort | None
    done: threading.Event = field(default_factory=threading.Event)
    earlier: tuple[threading.Event, ...] = ()


class PodPorts:
    """Changes that wait for the next transaction. Filled by any greenthread, written by the one of the database."""

    def __init__(self) -> None:
        self._waiting: dict[str, Change] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, change: Change) -> None:
        """A later change of the same interface takes the place of an earlier one, whose waiter is told when the later one is done."""
        earlier = self._waiting.get(change.interface)
        self._waiting[change.interface] = change
        if earlier is not None:
            change.earlier = (earlier.done, *earlier.earlier)

    def write(self, bridge_name: str, idl: Any, transaction: Any) -> list[Change]:
        """Put into the transaction what is missing; the answer are the changes that it is about."""
        bridge = find_bridge(idl, bridge_name)
        changes = list(self._waiting.values())
        if bridge is None or not changes:
            return []
        there = {row.name: row for row in bridge.ports}
        gone = {change.interface for change in changes if change.port is None} & there.keys()
        free = free_ports({number for row in interfaces_of(bridge) for number in numbers_of(row)})
        new = []
        for change in changes:
            if change.port is None:
                continue
            row = there.get(change.interface)
            if row is None:
                new.append(_made(change.port, next(free), idl, transaction))
            elif dict(row.interfaces[0].external_ids) != change.port.external_ids:
                row.interfaces[0].external_ids = change.port.external_ids
        if gone or new:
            bridge.ports = [row for row in bridge.ports if row.name not in gone] + new
        return changes

    def finish(self, changes: Iterable[Change]) -> None:
        """The database has these now."""
        for change in changes:
            if self._waiting.get(change.interface) is change:
                del self._waiting[change.interface]
            for each in (change.done, *change.earlier):
                each.set()


def _made(port: PodPort, number: int, idl: Any, transaction: Any) -> Any:
    """The number is asked for at once: another transaction only for it would be one more for every pod."""
    row = new_port(idl, transaction, port.interface, "")
    row.interfaces[0].external_ids = port.external_ids
    row.interfaces[0].ofport_request = [number]
    return row
