"""What has no counterpart any more: ports, links and NetworkEndpoints that a crash or an outage left. Nothing goes before all is known."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lace_sdn.controller.attacher import full_name
from lace_sdn.kube.observed import owner_uid
from lace_sdn.switch.ovsdb_plan import POD_UID
from lace_sdn.switch.pod_ports import CONTAINER_ID, NETWORK_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lace_sdn.controller.attacher import Attacher
    from lace_sdn.controller.attaching import Links, Switch, WorldView

log = logging.getLogger(__name__)


class Sweeper:
    """Of one node."""

    def __init__(self, attacher: Attacher, world: WorldView, switch: Switch, links: Links) -> None:
        self._attacher = attacher
        self._world = world
        self._switch = switch
        self._links = links

    def sweep(self, valid: Collection[str] | None = None) -> None:
        """Remove ports, links and NetworkEndpoints of pods that are gone; ``valid``: the containers that the runtime still has (CNI: GC).

        Nothing is removed before everything is known.
        """
        interfaces = self._switch.interfaces()
        if not self._world.is_synced or interfaces is None:
            return
        pods = {str(pod["metadata"]["uid"]): pod for pod in self._world.pods()}
        interfaces = tuple(each for each in interfaces if CONTAINER_ID in each.external_ids)
        paths = [each.external_ids.get(NETWORK_NAMESPACE, "") for each in interfaces]
        present = set(self._links.namespaces([path for path in paths if path]))
        for each in interfaces:
            is_left = each.external_ids.get(POD_UID) not in pods
            is_left |= each.external_ids.get(NETWORK_NAMESPACE, "") not in present
            is_left |= valid is not None and each.external_ids[CONTAINER_ID] not in valid
            if is_left:
                with self._attacher.unless_busy(each.endpoint) as free:
                    if free:
                        log.info("pod=%s: interface %s is left over and is removed", each.endpoint, each.name)
                        self._attacher.remove_port(each.name)
                        self._attacher.unplug(each.name)
        self._sweep_links()
        self._sweep_endpoints(pods)

    def _sweep_links(self) -> None:
        """Links without a port: half-made, or what a port left."""
        found = self._links.links()
        known = {each.name for each in self._attacher.interfaces()} | self._attacher.making
        for name in found:
            if name not in known:
                log.info("interface %s belongs to no port and is removed", name)
                self._attacher.unplug(name)

    def _sweep_endpoints(self, pods: Mapping[str, Any]) -> None:
        for endpoint in list(self._world.endpoints()):
            name = full_name(endpoint)
            if owner_uid(endpoint) in pods and not self._attacher.is_over(endpoint):
                continue
            if any(each.endpoint == name for each in self._attacher.interfaces()):
                continue
            with self._attacher.unless_busy(name) as free:
                if free:
                    self._attacher.free(endpoint)
