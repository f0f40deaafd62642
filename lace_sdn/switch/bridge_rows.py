"""The rows of our bridge, each read once, and again only when the database says that it changed: a node may have hundreds of pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ovs.db.idl

from lace_sdn.pipeline.constants import LAST_POD_PORT
from lace_sdn.switch.ovsdb_schema import CALLED_BY, FLOW_RESTORE_WAIT
from lace_sdn.switch.pod_interface import IFACE_ID, ZONES_EMPTIED_FOR, PodInterface, ZoneNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class InterfaceRow:
    """``row`` and the ``port`` that it is of, as the IDL has them. ``asks_for``: its ``ofport_request``; ``pod``: None for others than pods'."""

    row: Any
    port: Any
    name: str
    ofport: int | None
    asks_for: int | None
    note: ZoneNote
    pod: PodInterface | None


class NoticingIdl(ovs.db.idl.Idl):  # type: ignore[misc]
    """Says which row changed: ``heard(table, uuid)``."""

    heard: Callable[[str, Any], None] = staticmethod(lambda _table, _uuid: None)

    def notify(self, _event: str, row: Any, _updates: Any = None) -> None:
        """Called by the library for each row."""
        self.heard(row._table.name, row.uuid)  # noqa: SLF001 - a row has no public way to say its table


class BridgeRows:
    """``refresh`` outside of transactions. ``version`` counts changes of what is here.

    ``interfaces``: by name; ``pods``: those that carry ``external_ids:iface-id``, by name.
    """

    def __init__(self, idl: NoticingIdl, name: str) -> None:
        self.bridge: Any = None
        """The bridge's row, None if there is none."""
        self.is_called = False
        """Whether the bridge is to have no controller that it connects to."""
        self.is_waiting = False
        """Whether ovs-vswitchd leaves the datapath as it is until ``release``, because deploy/openvswitch.sh asked it to."""
        self.interfaces: Mapping[str, InterfaceRow] = {}
        self.pods: tuple[PodInterface, ...] = ()
        self.version = 0
        self._idl = idl
        self._name = name
        self._read: dict[Any, InterfaceRow] = {}
        self._changed: set[Any] = set()
        self._is_other = True
        idl.heard = self._note

    def _note(self, table: str, uuid: Any) -> None:
        if table == "Interface":
            self._changed.add(uuid)
        elif table in {"Open_vSwitch", "Bridge", "Port"}:
            self._is_other = True

    def refresh(self) -> None:
        """Read what has changed since."""
        if not self._changed and not self._is_other:
            return
        if self._is_other:
            rows = self._idl.tables["Bridge"].rows.values()
            self.bridge = next((row for row in rows if row.name == self._name), None)
            root = self._root
            self.is_called = root is not None and CALLED_BY in root.external_ids
            self.is_waiting = self.is_called and root.other_config.get(FLOW_RESTORE_WAIT) == "true"
            ports = self.bridge.ports if self.bridge is not None else ()
            members = [(row, port) for port in ports for row in port.interfaces]
        else:
            members = [(each.row, each.port) for each in self._read.values()]
        self._read = {
            row.uuid: self._read[row.uuid]
            if row.uuid in self._read and row.uuid not in self._changed
            else _interface(row, port)
            for row, port in members
        }
        self._changed.clear()
        self._is_other = False
        self.interfaces = {each.name: each for each in self._read.values()}
        pods = (each.pod for each in self._read.values() if each.pod)
        self.pods = tuple(sorted(pods, key=lambda each: each.name))
        self.version += 1

    @property
    def _root(self) -> Any:
        return next(iter(self._idl.tables["Open_vSwitch"].rows.values()), None)

    def release(self) -> None:
        """Let ovs-vswitchd switch packets by its flows. In a transaction."""
        self._root.delkey("other_config", FLOW_RESTORE_WAIT)

    def refuse_if_it_waits(self) -> None:
        """Let the transaction come to nothing should that have changed since it was looked at."""
        self._root.verify("other_config")

    def write_notes(self, notes: Mapping[str, str]) -> None:
        """Of interfaces, by their row: for whom the zones of their ports were emptied; "" takes it away. In a transaction."""
        for each in self.interfaces.values():
            wanted = notes.get(each.note.row, each.note.occupant)
            if wanted == each.note.occupant:
                continue
            if wanted:
                each.row.setkey("external_ids", ZONES_EMPTIED_FOR, wanted)
            else:
                each.row.delkey("external_ids", ZONES_EMPTIED_FOR)

    def free_ports(self) -> Iterator[int]:
        """Numbers for pods' ports that nobody has or asks for, the smallest first."""
        taken = {number for each in self.interfaces.values() for number in (each.ofport, each.asks_for)}
        return (number for number in range(1, LAST_POD_PORT + 1) if number not in taken)


def _interface(row: Any, port: Any) -> InterfaceRow:
    ids = dict(row.external_ids)
    ofport, asks_for = next(iter(row.ofport), None), next(iter(row.ofport_request), None)
    note = ZoneNote(str(row.uuid), ids.pop(ZONES_EMPTIED_FOR, ""))
    pod = None
    if IFACE_ID in ids:
        pod = PodInterface(row.name, ids[IFACE_ID], ofport, next(iter(row.error), ""), ids, note)
    return InterfaceRow(row, port, row.name, ofport, asks_for, note, pod)
