"""The nodes and hosts of a lab on their wire: made, completed, removed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lace_sdn.lab import hosts, links, stacks, switches
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.underlay import Wire

    Tell = Callable[[str], None]
    """Called with each step in words, when it begins."""


def make_wire(lab: Lab, wire: Wire, tell: Tell) -> None:
    """Everything on the wire, with what each node runs beside its controller. Raises LabError."""
    outside = f" and {len(wire.hosts)} hosts" if wire.hosts else ""
    tell(f"making {len(wire.nodes)} nodes{outside}")
    with concerning("the underlay"):
        links.ensure_underlay(lab.underlay_namespace)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        made = [workers.submit(switches.ensure, Switch(lab, node), wire) for node in wire.nodes]
        for each in made:
            each.result()
    hosts.ensure(lab, wire)
    for node in wire.nodes:
        stacks.ensure(lab, node)


def remove_nodes_but(lab: Lab, staying: Iterable[str], tell: Tell) -> None:
    """Remove all other nodes."""
    for node in sorted(nodes_there(lab) - set(staying)):
        tell(f"removing node {node}")
        switches.remove(Switch(lab, node))


def nodes_there(lab: Lab) -> set[str]:
    """The names of nodes that were begun."""
    return {folder.name for folder in lab.nodes.iterdir()} if lab.nodes.exists() else set()
