"""Ports of pods on our bridge, put there and taken away by the controller itself, many in one transaction."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.switch.ovsdb_plan import POD_UID, new_port
from lace_sdn.switch.pod_interface import IFACE_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.switch.bridge_rows import BridgeRows

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

    def write(
        self, bridge: Any, rows: BridgeRows, free: Iterator[int], transaction: Any, *, may_add: bool = True
    ) -> list[Change]:
        """Put into the transaction what is missing; the answer are the changes that it is about.

        ``free``: numbers for ports; ``may_add``: whether ports that are not there are made now. Only what changes is sent, not the whole
        list of the bridge's ports.
        """
        changes = [
            change
            for change in self._waiting.values()
            if may_add or change.port is None or change.interface in rows.interfaces
        ]
        for change in changes:
            found = rows.interfaces.get(change.interface)
            if change.port is None:
                if found is not None:
                    bridge.delvalue("ports", found.port)
            elif found is None:
                bridge.addvalue("ports", _made(change.port, next(free), transaction))
                rows.refuse_if_it_waits()
            elif found.pod is None or found.pod.external_ids != change.port.external_ids:
                found.row.external_ids = change.port.external_ids
        return changes

    def finish(self, changes: Iterable[Change]) -> None:
        """The database has these now."""
        for change in changes:
            if self._waiting.get(change.interface) is change:
                del self._waiting[change.interface]
            for each in (change.done, *change.earlier):
                each.set()


def _made(port: PodPort, number: int, transaction: Any) -> Any:
    """The number is asked for at once: another transaction only for it would be one more for every pod."""
    row = new_port(transaction, port.interface, "")
    row.interfaces[0].external_ids = port.external_ids
    row.interfaces[0].ofport_request = [number]
    return row
