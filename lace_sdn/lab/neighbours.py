"""The ends of the tunnels, told to each node's switch before they are needed.

Open vSwitch in userspace drops the first packet to a tunnel's end whose MAC it does not know, and asks for it only then.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import datapath, links
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.datapath import UNDERLAY_BRIDGE
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lace_sdn.lab.names import Lab

_PATIENCE = 60.0
"""Seconds for one answer of ovs-vswitchd."""


def introduce(lab: Lab, addresses: Mapping[str, Sequence[str]]) -> None:
    """Tell every node the others' MACs; ``addresses`` (with prefix length) by node. Raises LabError naming the node.

    The kernel's datapath keeps a packet while it asks.
    """
    if not datapath.of(lab).is_userspace:
        return
    macs = {}
    for node in addresses:
        with concerning(f'node "{node}"'):
            macs[node] = links.mac(lab.node_namespace(node), UNDERLAY_BRIDGE)
    for node in addresses:
        others = {
            address.partition("/")[0]: macs[other]
            for other, its in addresses.items()
            if other != node
            for address in its
        }
        _tell(Switch(lab, node), others)


def _tell(switch: Switch, neighbours: Mapping[str, str]) -> None:
    """By the daemon's own socket: a process for each pair of nodes would take seconds in a large lab."""
    with concerning(f'node "{switch.node}"'), socket.socket(socket.AF_UNIX) as connection:
        pid = (switch.folder / "ovs-vswitchd.pid").read_text().strip()
        connection.settimeout(_PATIENCE)
        connection.connect(str(switch.folder / f"ovs-vswitchd.{pid}.ctl"))
        for address, mac in neighbours.items():
            question = {"id": address, "method": "tnl/neigh/set", "params": [UNDERLAY_BRIDGE, address, mac]}
            connection.sendall(json.dumps(question).encode())
            answer = _answer(connection)
            if answer["error"] is not None:
                raise OSError(f"ovs-vswitchd does not take the neighbour {address}: {answer['error']}")


def _answer(connection: socket.socket) -> dict[str, Any]:
    """One JSON object: nothing divides them, and nobody but us is asking."""
    received = b""
    while True:
        more = connection.recv(4096)
        if not more:
            raise ConnectionResetError("ovs-vswitchd has ended")
        received += more
        with contextlib.suppress(ValueError):
            answer: dict[str, Any] = json.loads(received)
            return answer
