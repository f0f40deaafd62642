"""Switches that connect to nobody and are called: they leave their datapath as it is until their flows are there.

See deploy/openvswitch.sh and docs/decisions/0024.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.controller.node_loop import NodeLoop
    from lace_sdn.switch.ovsdb_plan import PortMap

log = logging.getLogger(__name__)

_UNIX: Final = "unix:"


class Connection(Protocol):
    """Open until it is closed; ``path`` is the address of a bridge that is connected by it."""

    path: Path

    def close(self) -> None: ...


class CalledSwitches:
    """The connections, by node."""

    def __init__(self, call: Callable[[Path], Connection]) -> None:
        """``call``: connects to the socket of a bridge, as often as it takes."""
        self._call = call
        self._calls: dict[str, Connection] = {}
        self._waiting: set[str] = set()

    def see(self, node: str, remote: str, found: PortMap) -> None:
        """What the database at ``remote`` (ovsdb(7)) says now."""
        self._waiting = self._waiting | {node} if found.is_waiting else self._waiting - {node}
        path = Path(remote.removeprefix(_UNIX)).parent / found.socket if found.socket else None
        call = self._calls.get(node)
        if (call.path if call else None) == path:
            return
        self.forget(node)
        if path is not None and remote.startswith(_UNIX):
            self._calls[node] = self._call(path)
        elif path is not None:
            log.error(
                "node=%s: its bridge is to be called, which works on its own machine only, and its database is at %s; "
                "`ovs-vsctl remove Open_vSwitch . external_ids called-by` there lets it connect to the controller",
                node,
                remote,
            )

    def forget(self, node: str) -> None:
        """It has gone, or connects by itself."""
        if node in self._calls:
            self._calls.pop(node).close()

    def is_complete(self, loop: NodeLoop) -> bool:
        """Whether a switch that waits for its flows has all of them, as a barrier confirmed."""
        call, bridge = self._calls.get(loop.node), loop.confirmed_on
        return (
            loop.node in self._waiting
            and call is not None
            and bridge is not None
            and bridge.address == str(call.path)
        )
