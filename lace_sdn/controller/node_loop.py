"""One node's bridge, brought to the desired state by the difference, again and again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.controller.stale_endpoints import leave
from lace_sdn.controller.zones import stale_zones
from lace_sdn.openflow.diff import diff
from lace_sdn.pipeline.compiler import NodeCompiler
from lace_sdn.switch.contract import BundleRefused, SwitchLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.controller.world import World
    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.switch.contract import Installed, ProgrammableBridge

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Programmed:
    """What was confirmed by a barrier: ``generation`` of the source, on ports (endpoint id -> ofport)."""

    generation: str
    ports: Mapping[str, int]
    flows: int
    groups: int = 0


class NodeLoop:
    """Not safe for two greenthreads at once: one runs ``step``, others only set what it should look at.

    ``bridge``: the connected bridge or None; ``ports``: what the node's database says, None until it was read.
    """

    def __init__(self, node: str, *, sctp: bool = True) -> None:
        """``sctp``: whether the node's datapath tracks it by its ports."""
        self.node = node
        self.bridge: ProgrammableBridge | None = None
        self.ports: Mapping[str, int] | None = None
        self.programmed: Programmed | None = None
        self._compiler = NodeCompiler(node, sctp=sctp)
        self._installed: tuple[ProgrammableBridge, BridgeProgram] | None = None
        self._remembered: BridgeProgram | None = None
        self._confirmed_on: ProgrammableBridge | None = None
        self._foreign: frozenset[str] = frozenset()

    def audit(self) -> None:
        """Let the next step read the bridge instead of trusting what was confirmed: somebody may have changed it."""
        self._installed = None

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
        self.programmed = Programmed(world.generation, here, len(desired.flows), len(desired.groups))
        return True

    def _bring(self, bridge: ProgrammableBridge, desired: BridgeProgram) -> None:
        installed = self._read(bridge)
        delta = diff(installed, desired)
        if delta.is_empty:
            self._confirm(bridge, desired)
            return
        # Judged by what was last confirmed: a restarted switch comes empty, but its pods are the same.
        zones = stale_zones(self._remembered or installed, desired)
        for zone in zones:
            bridge.flush_zone(zone)
        leaving = leave(installed, desired)
        if leaving is not None:
            bridge.commit(diff(installed, leaving.first))
            self._installed = (bridge, leaving.first)
            bridge.flush_connections(leaving.flushes)
            bridge.commit(diff(leaving.first, desired))
        else:
            bridge.commit(delta)
        self._confirm(bridge, desired)
        log.info(
            "node=%s programmed flows=%d groups=%d put=%d removed=%d zones_flushed=%d connections_flushed=%d",
            self.node,
            len(desired.flows),
            len(desired.groups),
            len(delta.put_flows),
            len(delta.remove_flows),
            len(zones),
            len(leaving.flushes) if leaving else 0,
        )

    def _confirm(self, bridge: ProgrammableBridge, program: BridgeProgram) -> None:
        self._installed = (bridge, program)
        self._remembered = program
        self._confirmed_on = bridge

    def _read(self, bridge: ProgrammableBridge) -> BridgeProgram:
        """What the bridge holds: as last confirmed on this connection, otherwise asked."""
        if self._installed is None or self._installed[0] is not bridge:
            found = bridge.dump()
            self._report_foreign(found)
            if self._confirmed_on is bridge and self._remembered is not None:
                self._report_change(diff(self._remembered, found.program))
            self._installed = (bridge, found.program)
        return self._installed[1]

    def _report_change(self, change: Delta) -> None:
        """Flows of ours that somebody else changed; the step that reads them puts them right."""
        if not change.is_empty:
            first = next(iter(change.put_flows + change.remove_flows), None)
            log.warning(
                "node=%s: somebody changed the bridge: %d flows put, %d removed, %d groups, first %r; repaired now",
                self.node,
                len(change.put_flows),
                len(change.remove_flows),
                len(change.add_groups) + len(change.modify_groups) + len(change.remove_groups),
                str(first),
            )

    def _report_foreign(self, found: Installed) -> None:
        """Once, when somebody's flows appear or change."""
        foreign = frozenset(each.text for each in found.foreign_flows) | {
            f"group {number}" for number in found.foreign_groups
        }
        if foreign - self._foreign:
            log.warning(
                "node=%s holds %d flows and groups of somebody else, such as %r; they are left alone",
                self.node,
                len(foreign),
                min(foreign - self._foreign),
            )
        self._foreign = foreign

    def _forget(self) -> None:
        self._installed = None
        self._confirmed_on = None
        self.programmed = None
