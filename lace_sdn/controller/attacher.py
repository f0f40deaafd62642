"""Attaching and detaching pods: NetworkEndpoint, link, port, flows; each step can be the last before a crash.

What was begun is found again: the NetworkEndpoint is written before anything is plugged, the port says whose it is. What has no counterpart
any more is swept away, once everything is known.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.controller.attaching import Attached, AttachError
from lace_sdn.controller.backoff import Backoff
from lace_sdn.controller.endpoints import Endpoints, addresses_of, asked
from lace_sdn.controller.name_locks import NameLocks
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.observed import owner_uid
from lace_sdn.node import NodeError
from lace_sdn.policy.allocation import mac_of
from lace_sdn.switch.ovsdb_plan import POD_UID
from lace_sdn.switch.pod_ports import PodPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from lace_sdn.controller.attaching import LinkKind, Links, Sandbox, Switch, WorldView
    from lace_sdn.switch.pod_interface import PodInterface

log = logging.getLogger(__name__)

Data = dict[str, Any]

MIRRORED: Final = "kubernetes.io/config.mirror"
"""Annotation by which the API server's copy of a static pod says the uid that the kubelet, and so the container runtime, knows it by."""

# Seconds.
PORT_WITHIN: Final = 10.0
FLOWS_WITHIN: Final = 20.0
"""Until the switch has confirmed the pod's flows."""
_LOOK_EVERY: Final = 0.01
_SAY_FIRST: Final = 1.0
_SAY_LAST: Final = 60.0
"""Between two tries to write that a pod is attached."""


class Attacher:
    """Does one thing for a pod at a time; different pods at once."""

    def __init__(
        self,
        world: WorldView,
        switch: Switch,
        links: Links,
        interface_of: Callable[[str], str],
        kind: LinkKind,
    ) -> None:
        """``interface_of``: container ID -> name of the interface in the node."""
        self._world = world
        self._switch = switch
        self._links = links
        self._interface_of = interface_of
        self._kind = kind
        self.endpoints = Endpoints(world)
        self._busy = NameLocks()
        """Of pods (``namespace/name``), and inside of these of interfaces."""

    # ADD.

    def add(self, sandbox: Sandbox) -> Attached:
        """Attach, or complete what was begun; returns when the switch has confirmed the pod's flows. Raises AttachError."""
        self._need_world()
        with self._alone(sandbox.pod, self._interface_of(sandbox.container)):
            pod = self._pod(sandbox)
            uid = str(pod["metadata"]["uid"])
            self._remove_others(sandbox, uid)
            its = self._attached(sandbox, self.endpoints.of(sandbox, pod))
            self._plug(sandbox, its)
            self._put_port(sandbox, uid, its)
            self._await_flows(sandbox, uid, its)
        self._say_ready(sandbox, its)
        return its

    def _need_world(self) -> None:
        if not self._world.is_synced:
            kinds = ", ".join(self._world.missing)
            raise AttachError("the controller is starting", f"not listed from the API server yet: {kinds}")

    def _pod(self, sandbox: Sandbox) -> Mapping[str, Any]:
        """The pod that the runtime speaks of, and not one that had its name: without a uid only the API server knows."""
        found = self._world.pod(sandbox.pod_namespace, sandbox.pod_name)
        if found is None or found["metadata"]["uid"] != sandbox.uid:
            body = asked(
                lambda: self._world.api.get(resources.PODS, sandbox.pod_name, sandbox.pod_namespace),
                sandbox.pod,
            )
            if body is None:
                raise AttachError(f"Pod {sandbox.pod} does not exist", "it was deleted meanwhile")
            self._world.put_pod(body)
            found = body
        metadata, node = found["metadata"], found["spec"].get("nodeName")
        if sandbox.uid not in ("", metadata["uid"], (metadata.get("annotations") or {}).get(MIRRORED)):
            raise AttachError(
                f"Pod {sandbox.pod} is another one now",
                f"uid {metadata['uid']} in the API server, the container runtime says {sandbox.uid}",
            )
        if node != self._world.node:
            raise AttachError(
                f"Pod {sandbox.pod} is on Node {node}",
                f"this is Node {self._world.node}; expected the controller's --node to be the kubelet's name of this node",
            )
        return found

    def _remove_others(self, sandbox: Sandbox, uid: str) -> None:
        """Ports of earlier sandboxes, and of pods that had the name: nobody but this one is the endpoint from here on."""
        own = self._interface_of(sandbox.container)
        for each in self.interfaces():
            if each.endpoint == sandbox.pod and (
                each.name != own or each.external_ids.get(POD_UID, uid) != uid
            ):
                if not self.remove_port(each.name):
                    found = (
                        f"interface {each.name} of an earlier sandbox of Pod {sandbox.pod} is still on br-int"
                    )
                    raise AttachError(found, "Open vSwitch does not take it away; does ovsdb-server run?")
                self.unplug(each.name)

    def _attached(self, sandbox: Sandbox, endpoint: Mapping[str, Any]) -> Attached:
        addresses = addresses_of(endpoint)
        return Attached(self._interface_of(sandbox.container), mac_of(addresses), addresses, self._kind.mtu)

    def _plug(self, sandbox: Sandbox, its: Attached) -> None:
        try:
            self._links.plug(self._link(sandbox, its))
        except NodeError as error:
            raise AttachError(f"the link of Pod {sandbox.pod} cannot be made", str(error)) from None

    def _link(self, sandbox: Sandbox, its: Attached) -> Data:
        return {
            "namespace": sandbox.namespace,
            "peer": its.interface,
            "inside": {
                "device": sandbox.device,
                "mac": its.mac,
                "addresses": [str(address) for address in its.addresses],
                "mtu": its.mtu,
                "is_userspace": self._kind.is_userspace,
            },
        }

    def _put_port(self, sandbox: Sandbox, uid: str, its: Attached) -> None:
        port = PodPort(its.interface, sandbox.pod, uid, sandbox.container, sandbox.namespace, its.mac)
        if not self._switch.put_pod(port).wait(PORT_WITHIN):
            raise AttachError(
                f"Open vSwitch does not take the port of Pod {sandbox.pod}",
                f"expected interface {its.interface} on br-int within {PORT_WITHIN:.0f} s; does ovsdb-server run?",
            )

    def _await_flows(self, sandbox: Sandbox, uid: str, its: Attached) -> None:
        deadline = time.monotonic() + FLOWS_WITHIN
        while not self._switch.is_programmed(sandbox.pod, uid, its.interface):
            if time.monotonic() > deadline:
                port = self._port(its.interface)
                raise AttachError(
                    f"the switch has not confirmed the flows of Pod {sandbox.pod} within {FLOWS_WITHIN:.0f} s",
                    (port.problem if port else "")
                    or f"does ovs-vswitchd run, and is interface {its.interface} well (ovs-vsctl list interface)?",
                )
            time.sleep(_LOOK_EVERY)

    def _say_ready(self, sandbox: Sandbox, its: Attached) -> None:
        """For those who look; the pod does not wait for it."""
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Attached",
            "message": f"interface {its.interface} on Node {self._world.node}",
            "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        status = {"interface": its.interface, "mac": its.mac, "containerID": sandbox.container}
        body = {"status": {**status, "conditions": [condition]}}

        endpoint = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)

        def say() -> None:
            """Until it is said, refused, or the endpoint is another one."""
            retry = Backoff(_SAY_FIRST, _SAY_LAST)
            while endpoint is not None and self._is_still(endpoint):
                try:
                    self._world.api.patch(
                        resources.NETWORK_ENDPOINTS,
                        sandbox.pod_name,
                        sandbox.pod_namespace,
                        body,
                        subresource="status",
                    )
                except ApiUnreachable:
                    time.sleep(retry.failed())
                except ApiError as error:
                    if error.status < 500 and error.status != 429:
                        return
                    time.sleep(max(retry.failed(), error.retry_after))
                else:
                    return

        threading.Thread(target=say, daemon=True).start()

    def _is_still(self, endpoint: Mapping[str, Any]) -> bool:
        its = endpoint["metadata"]
        present = self._world.endpoint(its.get("namespace", ""), its["name"])
        return present is not None and present["metadata"]["uid"] == its["uid"]

    # DEL, CHECK.

    def delete(self, sandbox: Sandbox) -> None:
        """Detach; what is not there is no fault. What cannot be done now is done by the sweep."""
        own = self._interface_of(sandbox.container)
        port = self._port(own)
        # The runtime need not say whose sandbox it was; the port does.
        pod = port.endpoint if port and not sandbox.pod_name else sandbox.pod
        with self._alone(pod, own):
            port = self._port(own)
            uid = port.external_ids.get(POD_UID, "") if port else sandbox.uid
            self.remove_port(own)
            self.unplug(own)
            self._free(pod, uid, own)

    def _free(self, pod: str, uid: str, own: str) -> None:
        """The addresses of the pod's last sandbox; a later one goes on with them. Left to the sweep while not everything is known."""
        known = self.known()
        namespace, _, name = pod.partition("/")
        present = self._world.endpoint(namespace, name)
        if (
            known is None
            or present is None
            or any(each.endpoint == pod and each.name != own for each in known)
        ):
            return
        if uid and owner_uid(present) == uid and self.is_over(present):
            self.endpoints.free(present)

    def is_over(self, endpoint: Mapping[str, Any]) -> bool:
        """Whether its pod will not be attached again: addresses of one whose sandbox only failed stay with it."""
        metadata = endpoint["metadata"]
        pod = self._world.pod(metadata.get("namespace", ""), metadata["name"])
        if pod is None or pod["metadata"]["uid"] != owner_uid(endpoint):
            return True
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return bool(pod["metadata"].get("deletionTimestamp")) or ended

    def check(self, sandbox: Sandbox) -> list[str]:
        """What is not as ``add`` left it, in words. Raises AttachError if that cannot be known now."""
        self._need_world()
        endpoint = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)
        if endpoint is None:
            return [f"there is no NetworkEndpoint {sandbox.pod}"]
        its = self._attached(sandbox, endpoint)
        try:
            problems = self._links.faults(self._link(sandbox, its))
        except NodeError as error:
            raise AttachError(f"the link of Pod {sandbox.pod} cannot be looked at", str(error)) from None
        if not self._switch.is_programmed(sandbox.pod, owner_uid(endpoint), its.interface):
            problems.append(f"the switch has no flows for {its.interface}")
        return problems

    # Parts.

    def interfaces(self) -> tuple[PodInterface, ...]:
        """All interfaces of pods on the bridge; none while the database is away."""
        return self._switch.interfaces() or ()

    def known(self) -> tuple[PodInterface, ...] | None:
        """The same where something may be removed: None while not everything is known."""
        return self._switch.interfaces() if self._world.is_synced else None

    def _port(self, interface: str) -> PodInterface | None:
        return next((each for each in self.interfaces() if each.name == interface), None)

    def remove_port(self, interface: str) -> bool:
        """Take a port from the bridge, if it is there. False if the database does not answer."""
        if self._switch.remove_pod(interface).wait(PORT_WITHIN):
            return True
        log.warning("interface %s: Open vSwitch does not take the port away; it is swept later", interface)
        return False

    def unplug(self, interface: str) -> None:
        """Remove a link, if it is there."""
        try:
            self._links.unplug(interface)
        except NodeError as error:
            log.warning("%s; it is swept later", error)

    @contextlib.contextmanager
    def _alone(self, pod: str, interface: str) -> Iterator[None]:
        with self._busy.held(pod), self._busy.held(interface):
            yield

    def unless_busy(self, name: str) -> AbstractContextManager[bool]:
        """Nothing is done for the pod, or with the interface, meanwhile; False if something is."""
        return self._busy.if_free(name)
