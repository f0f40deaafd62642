"""One node's bridge, brought to the desired state by the difference, again and again."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.controller.datapath_settings import DatapathSettings
from lace_sdn.controller.farewell import Farewell
from lace_sdn.controller.limited import LimitWatch, by_meters, by_zones, tell
from lace_sdn.controller.stale_endpoints import flushes, leave
from lace_sdn.controller.zones import Occupants, claims, pods_ports, zones_of
from lace_sdn.openflow.diff import Delta, diff
from lace_sdn.pipeline.compiler import NodeCompiler
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.limits import CONNECTIONS, connection_limits
from lace_sdn.switch.contract import BundleRefused, SwitchLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.controller.stale_endpoints import Leave
    from lace_sdn.controller.world import World
    from lace_sdn.controller.zones import Claim
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.pipeline.compiler import Cluster
    from lace_sdn.switch.contract import Installed, ProgrammableBridge
    from lace_sdn.switch.ovsdb_plan import PortMap

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Programmed:
    """What was confirmed by a barrier: ``generation`` of the source, on ports (endpoint id -> ofport).

    No generation while connections to UDP endpoints that left may have to be forgotten once more.
    """

    generation: str
    ports: Mapping[str, int]
    flows: int
    groups: int = 0
    uids: Mapping[str, str] = field(default_factory=dict)
    """Of the pods that the endpoints were, where the source says it."""


class NodeLoop:
    """Not safe for two greenthreads at once: one runs ``step``, others only set what it should look at.

    ``bridge``: the connected bridge or None; ``found``: what the node's database says, None until it was read; ``notes``: what it is to say
    of conntrack zones, by row of an interface.
    """

    def __init__(
        self,
        node: str,
        *,
        sctp: bool = True,
        mtu: int = DEFAULT_MTU,
        connections: int = CONNECTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connections``: conntrack entries of a zone of a pod at most, 0 for any number; ``sctp``: whether the datapath tracks it by its ports; ``mtu``: of pods, octets; ``clock``: seconds, never goes back."""
        self.node = node
        self.bridge: ProgrammableBridge | None = None
        self.found: PortMap | None = None
        self.notes: Mapping[str, str] = {}
        self.programmed: Programmed | None = None
        self.settings = DatapathSettings(node, clock)
        self._clock = clock
        self._connections = connections
        self._farewell = Farewell()
        self._compiler = NodeCompiler(node, sctp=sctp, mtu=mtu)
        self._installed: tuple[ProgrammableBridge, BridgeProgram] | None = None
        self._remembered: BridgeProgram | None = None
        self._confirmed_on: ProgrammableBridge | None = None
        self._foreign: frozenset[str] = frozenset()
        self._occupants = Occupants()
        self._held: frozenset[str] = frozenset()
        self.limited = LimitWatch()

    def see(self, found: PortMap) -> bool:
        """Take in what the node's database says now. True asks for a step."""
        former, self.found = self.found, found
        return former is None or bool(self._held) or _counted(former) != _counted(found)

    def audit(self) -> None:
        """Let the next step read the bridge instead of trusting what was confirmed: somebody may have changed it."""
        self._installed = None

    @property
    def confirmed_on(self) -> ProgrammableBridge | None:
        """The bridge that was last as desired, while it is connected."""
        return self._confirmed_on if self._confirmed_on is self.bridge else None

    @property
    def due(self) -> float | None:
        """When, by the clock, another step is needed although nothing changes; None for never."""
        return min((due for due in (self._farewell.due, self.settings.due) if due is not None), default=None)

    def step(self, world: World) -> bool:
        """Compile, compare, send. False asks for another try, later; ``programmed`` says when the bridge is as desired.

        Faults of the switch end in False and a log line, never in an exception. After any other exception, ``forget``.
        """
        bridge, found = self.bridge, self.found
        if bridge is None or found is None:
            self.programmed = None
            self._farewell.clear()
            self.settings.clear()
            return True
        ports = found.ports
        if world.uids is not None:
            # The port of a pod that is gone is none of its namesake's.
            ports = {
                name: port for name, port in ports.items() if found.uids.get(name) == world.uids.get(name)
            }
        local = world.cluster.endpoints_of.get(self.node, ())
        claimed = claims(world.cluster.state, local, ports, found)
        judged = self._occupants.judge(claimed)
        self._hold(judged.held)
        ports = {name: port for name, port in ports.items() if name not in judged.held}
        self._keep_settings(bridge, ports)
        try:
            desired = self._bring(
                bridge, world.cluster, ports, {name: claimed[name] for name in judged.fresh}
            )
        except SwitchLost as error:
            log.warning("node=%s: %s; waiting for the switch to come back", self.node, error)
            self.forget()
            return False
        except BundleRefused as error:
            log.error("node=%s: %s; the former flows stay, trying again", self.node, error)  # noqa: TRY400
            self.forget()
            return False
        finally:
            self.notes = self._occupants.notes(claimed.values(), found.rows)
        here = {endpoint.id: ports[endpoint.id] for endpoint in local if endpoint.id in ports}
        generation = world.generation if self._farewell.due is None and not self._held else ""
        self.programmed = Programmed(
            generation, here, len(desired.flows), len(desired.groups), world.uids or {}
        )
        return True

    def _keep_settings(self, bridge: ProgrammableBridge, ports: Mapping[str, int]) -> None:
        """Before the first flow of a connection, for a daemon that started again has forgotten them; and whenever the bridge is read."""
        is_new = self._confirmed_on is not bridge
        self.settings.keep(
            connection_limits(ports.values(), self._connections),
            is_new=is_new,
            is_audit=self._installed is None or self._installed[0] is not bridge,
        )

    def _hold(self, held: frozenset[str]) -> None:
        if held - self._held:
            log.info(
                "node=%s: other pods than before at the ports of %s; they get flows when the database has forgotten the former ones",
                self.node,
                ", ".join(sorted(held)),
            )
        self._held = held

    def _bring(
        self,
        bridge: ProgrammableBridge,
        cluster: Cluster,
        ports: Mapping[str, int],
        fresh: Mapping[str, Claim],
    ) -> BridgeProgram:
        """The program that is in force then. ``fresh``: claims whose zones are emptied before their ports get flows."""
        before = pods_ports(self._read(bridge))
        taken = {claim.port for claim in fresh.values()}
        if not before.isdisjoint(taken):
            # Packets for former occupants would make entries in zones that were just emptied.
            others = {name: port for name, port in ports.items() if name not in fresh}
            self._put(bridge, self._compiler.compile(cluster, others))
        desired = self._compiler.compile(cluster, ports)
        leaving = self._put(bridge, desired, zones_of(taken))
        self._occupants.settle(fresh.values())
        present = self.found.ports.values() if self.found else ()
        for zone in zones_of(before - pods_ports(desired) - set(present)):
            # Nobody has the port any more. Whoever gets it has a row that says nothing.
            bridge.flush_zone(zone)
        if leaving is None:
            self._farewell.clear()
        else:
            self._see_off(bridge, leaving)
        return desired

    def _put(
        self, bridge: ProgrammableBridge, desired: BridgeProgram, zones: tuple[int, ...] = ()
    ) -> Leave | None:
        """Empty ``zones``, then send the difference."""
        installed = self._read(bridge)
        leaving = leave(installed, desired)
        first = leaving.first if leaving else desired
        delta = diff(installed, first)
        for zone in zones:
            bridge.flush_zone(zone)
        if not delta.is_empty:
            bridge.commit(delta)
        if zones or not delta.is_empty:
            log.info(
                "node=%s programmed flows=%d groups=%d put=%d removed=%d zones_flushed=%d",
                self.node,
                len(first.flows),
                len(first.groups),
                len(delta.put_flows),
                len(delta.remove_flows),
                len(zones),
            )
        self._confirm(bridge, first)
        return leaving

    def _see_off(self, bridge: ProgrammableBridge, leaving: Leave) -> None:
        """Forget connections to endpoints that left, and remove what told of them after the last time."""
        visit = self._farewell.visit(leaving.records, self._clock())
        which = flushes(visit.flush)
        bridge.flush_connections(which)
        removed = tuple(record.flow for record in visit.remove)
        bridge.commit(Delta(remove_flows=removed))
        self._confirm(bridge, leaving.with_records(visit.stay))
        if which or removed:
            log.info(
                "node=%s connections_flushed=%d removed=%d left=%d",
                self.node,
                len(which),
                len(removed),
                len(visit.stay),
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
            self._report_limited(bridge)
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

    def _report_limited(self, bridge: ProgrammableBridge) -> None:
        """Once when a port comes to its limit, and when it is below it again."""
        ports = self.found.ports if self.found else {}
        full = by_zones(self.settings.connections, self.settings.limits, ports)
        tell(self.node, self.limited.note(by_meters(bridge.metered(), ports), full))

    def forget(self) -> None:
        """Nobody knows what a try that failed has done: the next step reads the bridge, and begins anew."""
        self._installed = None
        self._confirmed_on = None
        self._farewell.clear()
        self.programmed = None


def _counted(found: PortMap) -> tuple[object, ...]:
    """What a change of asks for a step: not what rows say of zones, which is what the loop wanted."""
    return found.ports, found.uids, found.rows
