"""One node's bridge, brought to the desired state by the difference, again and again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.controller.zones import stale_zones
from lace_sdn.openflow.diff import diff
from lace_sdn.pipeline.compiler import NodeCompiler
from lace_sdn.switch.contract import BundleRefused, ProgrammableBridge, SwitchLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.controller.world import World
    from lace_sdn.openflow.flow import BridgeProgram

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Programmed:
    """What was confirmed by a barrier: ``generation`` of the source, on ports (endpoint id -> ofport)."""

    generation: str
    ports: Mapping[str, int]
    flows: int


class NodeLoop:
    """Not safe for two greenthreads at once: one runs ``step``, others only set what it should look at.

    ``bridge``: the connected bridge or None; ``ports``: what the node's database says, None until it was read.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.bridge: ProgrammableBridge | None = None
        self.ports: Mapping[str, int] | None = None
        self.programmed: Programmed | None = None
        self._compiler = NodeCompiler(node)
        self._installed: tuple[ProgrammableBridge, BridgeProgram] | None = None
        self._remembered: BridgeProgram | None = None

    def step(self, world: World) -> bool:
        """Compile, compare, send. Whether the bridge now is as desired; False asks for another step, later.

        Faults of the switch end in False and a log line, never in an exception.
        """
        bridge, ports = self.bridge, self.ports
        if bridge is None or ports is None:
            self.programmed = None
            return True
        desired = self._compiler.compile(world.cluster, ports)
        try:
            self._bring(bridge, desired)
        except SwitchLost as error:
            log.warning("node=%s: %s; waiting for the switch to come back", self.node, error)
            self._forget()
            return False
        except BundleRefused as error:
            log.error("node=%s: %s; the former flows stay, trying again", self.node, error)  # noqa: TRY400
            self._forget()
            return False
        local = {each.id for each in world.cluster.endpoints_of.get(self.node, ())}
        here = {name: port for name, port in ports.items() if name in local}
        self.programmed = Programmed(world.generation, here, len(desired.flows))
        return True

    def _bring(self, bridge: ProgrammableBridge, desired: BridgeProgram) -> None:
        installed = self._read(bridge)
        delta = diff(installed, desired)
        if delta.is_empty:
            self._remembered = desired
            return
        # Judged by what was last confirmed: a restarted switch comes empty, but its pods are the same.
        zones = stale_zones(self._remembered or installed, desired)
        for zone in zones:
            bridge.flush_zone(zone)
        bridge.commit(delta)
        self._installed = (bridge, desired)
        self._remembered = desired
        log.info(
            "node=%s programmed flows=%d put=%d removed=%d zones_flushed=%d",
            self.node,
            len(desired.flows),
            len(delta.put_flows),
            len(delta.remove_flows),
            len(zones),
        )

    def _read(self, bridge: ProgrammableBridge) -> BridgeProgram:
        """What the bridge holds: as last confirmed on this connection, otherwise asked."""
        if self._installed is None or self._installed[0] is not bridge:
            found = bridge.dump()
            if found.foreign_flows or found.foreign_groups:
                log.warning(
                    "node=%s holds %d flows and %d groups of somebody else, first %r; they are left alone",
                    self.node,
                    len(found.foreign_flows),
                    len(found.foreign_groups),
                    found.foreign_flows[0].text if found.foreign_flows else found.foreign_groups[0],
                )
            self._installed = (bridge, found.program)
        return self._installed[1]

    def _forget(self) -> None:
        self._installed = None
        self.programmed = None
