"""What has no counterpart any more: ports, links and NetworkEndpoints that a crash or an outage left. Nothing goes before all is known."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lace_sdn.controller.attaching import AttachError
from lace_sdn.controller.endpoints import full_name
from lace_sdn.kube.observed import owner_uid
from lace_sdn.switch.ovsdb_plan import POD_UID
from lace_sdn.switch.pod_ports import CONTAINER_ID, NETWORK_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Collection

    from lace_sdn.controller.attacher import Attacher
    from lace_sdn.controller.attaching import Links, Switch, WorldView
    from lace_sdn.switch.pod_interface import PodInterface

log = logging.getLogger(__name__)


class Sweeper:
    """Of one node. Judges while nothing else is done with what it is about, by what is known then: pods come while it asks."""

    def __init__(self, attacher: Attacher, world: WorldView, switch: Switch, links: Links) -> None:
        self._attacher = attacher
        self._world = world
        self._switch = switch
        self._links = links

    def sweep(self, valid: Collection[str] | None = None) -> None:
        """Remove ports, links and NetworkEndpoints of pods that are gone; ``valid``: the containers that the runtime still has (CNI: GC).

        Nothing is removed before everything is known. Raises NodeError.
        """
        if self._attacher.known() is not None:
            self._sweep_ports(valid)
            self._sweep_links()
            self._sweep_endpoints()

    def _sweep_ports(self, valid: Collection[str] | None) -> None:
        found = [each for each in self._attacher.known() or () if CONTAINER_ID in each.external_ids]
        paths = [each.external_ids.get(NETWORK_NAMESPACE, "") for each in found]
        present = set(self._links.namespaces([path for path in paths if path]))
        for each in found:
            container, path = each.external_ids[CONTAINER_ID], each.external_ids.get(NETWORK_NAMESPACE, "")
            is_left = path not in present or (valid is not None and container not in valid)
            with self._attacher.unless_busy(each.endpoint) as free:
                if free and self._is_same(each) and (is_left or self._is_of_nobody(each)):
                    log.info("pod=%s: interface %s is left over and is removed", each.endpoint, each.name)
                    self._attacher.remove_port(each.name)
                    self._attacher.unplug(each.name)

    def _is_same(self, interface: PodInterface) -> bool:
        """Whether it is still there, for the same sandbox of the same pod."""
        now = (each for each in self._attacher.known() or () if each.name == interface.name)
        return any(each.external_ids == interface.external_ids for each in now)

    def _is_of_nobody(self, interface: PodInterface) -> bool:
        return interface.external_ids.get(POD_UID) not in self._uids()

    def _uids(self) -> frozenset[str]:
        return frozenset(str(pod["metadata"]["uid"]) for pod in self._world.pods())

    def _sweep_links(self) -> None:
        """Links without a port: half-made, or what a port left."""
        for name in self._links.links():
            with self._attacher.unless_busy(name) as free:
                known = self._attacher.known()
                if free and known is not None and all(each.name != name for each in known):
                    log.info("interface %s belongs to no port and is removed", name)
                    self._attacher.unplug(name)

    def _sweep_endpoints(self) -> None:
        """Of pods that are gone or will not be attached again; also those of which nobody knows whether they were written."""
        names = {full_name(each) for each in self._world.endpoints()}
        for name in sorted(names | self._attacher.endpoints.doubtful):
            with self._attacher.unless_busy(name) as free:
                if free:
                    self._sweep_endpoint(name)

    def _sweep_endpoint(self, pod: str) -> None:
        try:
            self._attacher.endpoints.settle(pod)
        except AttachError as error:
            log.warning("NetworkEndpoint %s: %s; it is asked for again", pod, error)
            return
        namespace, _, name = pod.partition("/")
        endpoint, known = self._world.endpoint(namespace, name), self._attacher.known()
        if endpoint is None or known is None or any(each.endpoint == pod for each in known):
            return
        if owner_uid(endpoint) not in self._uids() or self._attacher.is_over(endpoint):
            self._attacher.endpoints.free(endpoint)
