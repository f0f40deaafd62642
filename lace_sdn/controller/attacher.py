"""Attaching and detaching pods: address, NetworkEndpoint, link, port, flows; each step can be the last before a crash.

What was begun is found again: the NetworkEndpoint is written before anything is plugged, the port says whose it is. What has no counterpart
any more is swept away, once everything is known.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.controller.addresses import Addresses
from lace_sdn.controller.attaching import Attached, AttachError
from lace_sdn.controller.name_locks import NameLocks
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.claims import why_not
from lace_sdn.kube.observed import owner_uid
from lace_sdn.node import NodeError
from lace_sdn.policy.allocation import mac_of
from lace_sdn.policy.refusal import Refusal
from lace_sdn.switch.ovsdb_plan import POD_UID
from lace_sdn.switch.pod_ports import PodPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from lace_sdn.controller.attaching import LinkKind, Links, Sandbox, Switch, WorldView
    from lace_sdn.model.objects import Address, Network, Prefix
    from lace_sdn.switch.pod_interface import PodInterface

log = logging.getLogger(__name__)

Data = dict[str, Any]

# Seconds.
BLOCK_WITHIN: Final = 20.0
"""Until the operator has given the node a block."""
PORT_WITHIN: Final = 10.0
FLOWS_WITHIN: Final = 20.0
"""Until the switch has confirmed the pod's flows."""
_LOOK_EVERY: Final = 0.01


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
        self._pods = NameLocks()
        self._addresses = Addresses(world)
        self.making: set[str] = set()
        """Interfaces of pods that are being attached."""

    # ADD.

    def add(self, sandbox: Sandbox) -> Attached:
        """Attach, or complete what was begun; returns when the switch has confirmed the pod's flows. Raises AttachError."""
        if not self._world.is_synced:
            kinds = ", ".join(self._world.missing)
            raise AttachError("the controller is starting", f"not listed from the API server yet: {kinds}")
        own = self._interface_of(sandbox.container)
        with self._alone(sandbox.pod, own):
            pod = self._pod(sandbox)
            uid = str(pod["metadata"]["uid"])
            self._remove_others(sandbox, uid)
            endpoint = self._endpoint(sandbox, pod)
            its = self._attached(sandbox, endpoint)
            self._plug(sandbox, its)
            self._world.put_endpoint(endpoint)
            self._put_port(sandbox, uid, its)
            self._await_flows(sandbox, uid, its)
        self._say_ready(sandbox, its)
        return its

    def _pod(self, sandbox: Sandbox) -> Mapping[str, Any]:
        """The pod that the runtime speaks of, and not one that had its name."""
        found = self._world.pod(sandbox.pod_namespace, sandbox.pod_name)
        if found is None or (sandbox.uid and found["metadata"]["uid"] != sandbox.uid):
            body = self._ask(
                lambda: self._world.api.get(resources.PODS, sandbox.pod_name, sandbox.pod_namespace), sandbox
            )
            if body is None:
                raise AttachError(f"Pod {sandbox.pod} does not exist", "it was deleted meanwhile")
            self._world.put_pod(body)
            found = body
        metadata, node = found["metadata"], found["spec"].get("nodeName")
        if sandbox.uid and metadata["uid"] != sandbox.uid:
            raise AttachError(
                f"Pod {sandbox.pod} is another one now", f"uid {metadata['uid']}, not {sandbox.uid}"
            )
        if node != self._world.node:
            raise AttachError(f"Pod {sandbox.pod} is on Node {node}", f"this is Node {self._world.node}")
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

    def _endpoint(self, sandbox: Sandbox, pod: Mapping[str, Any]) -> Data:
        """The pod's NetworkEndpoint: the one that it has, or a new one with addresses of its own."""
        uid = str(pod["metadata"]["uid"])
        present = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)
        if present is not None and owner_uid(present) == uid:
            self._confirm(sandbox, present, is_new=False)
            return dict(present)
        if present is not None:
            self.free(present)
        network = self._network(sandbox, pod)
        blocks = self._blocks(sandbox, network)
        addresses = self._addresses.choose(sandbox.pod, network, blocks)
        try:
            made = self._create(sandbox, uid, network.name, addresses)
            self._confirm(sandbox, made, is_new=True)
        except AttachError:
            # It may have been written all the same: it is found in the next try, or swept.
            self._addresses.release(sandbox.pod)
            raise
        return made

    def _confirm(self, sandbox: Sandbox, endpoint: Mapping[str, Any], *, is_new: bool) -> None:
        """What was seen here may be old: ask, after the endpoint is written, whether its addresses may be used."""
        try:
            why = why_not(self._world.api, endpoint, is_new=is_new)
        except (ApiError, ApiUnreachable) as error:
            raise AttachError(f"Pod {sandbox.pod} may not use its address yet", str(error)) from None
        if why:
            self.free(endpoint)
            raise AttachError(f"Pod {sandbox.pod} gets another address", why)

    def _network(self, sandbox: Sandbox, pod: Mapping[str, Any]) -> Network:
        found = self._world.network_of(sandbox.pod_namespace, pod["metadata"].get("labels") or {})
        if isinstance(found, Refusal):
            raise AttachError(f"Pod {sandbox.pod} has no Network", f"{found.found}; {found.expected}")
        return found

    def _blocks(self, sandbox: Sandbox, network: Network) -> tuple[Prefix, ...]:
        """The node's blocks of the network, of each of its families: the operator may be about to give them."""
        families = {subnet.prefix.version for subnet in network.subnets}
        deadline = time.monotonic() + BLOCK_WITHIN
        while True:
            found = self._world.blocks(network.name)
            if {block.version for block in found} >= families:
                return found
            if time.monotonic() > deadline:
                raise AttachError(
                    f'Node {self._world.node} has no block of Network "{network.name}"',
                    f"expected an Allocation of the operator within {BLOCK_WITHIN:.0f} s; "
                    f"`kubectl describe network {network.name}` says why there is none (Pod {sandbox.pod})",
                )
            time.sleep(_LOOK_EVERY)

    def _create(self, sandbox: Sandbox, uid: str, network: str, addresses: Iterable[Address]) -> Data:
        body = {
            "apiVersion": resources.NETWORK_ENDPOINTS.api_version,
            "kind": resources.NETWORK_ENDPOINTS.kind,
            "metadata": {
                "name": sandbox.pod_name,
                "namespace": sandbox.pod_namespace,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": sandbox.pod_name, "uid": uid}
                ],
            },
            "spec": {
                "network": network,
                "node": self._world.node,
                "addresses": [str(address) for address in addresses],
            },
        }
        try:
            return self._world.api.create(resources.NETWORK_ENDPOINTS, body)
        except ApiError as error:
            if not error.is_already_exists:
                raise AttachError(f"NetworkEndpoint {sandbox.pod} is not accepted", str(error)) from None
        except ApiUnreachable as error:
            raise AttachError("the API server cannot be reached", str(error)) from None
        present = self._ask(
            lambda: self._world.api.get(resources.NETWORK_ENDPOINTS, sandbox.pod_name, sandbox.pod_namespace),
            sandbox,
        )
        if present is not None and owner_uid(present) == uid and present["spec"]["node"] == self._world.node:
            return present  # of an attempt whose answer was lost
        raise AttachError(
            f"NetworkEndpoint {sandbox.pod} of an earlier pod is still there",
            "it is removed by Kubernetes with that pod, or by its node",
        )

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
                raise AttachError(
                    f"the switch has not confirmed the flows of Pod {sandbox.pod} within {FLOWS_WITHIN:.0f} s",
                    f"does ovs-vswitchd run, and is interface {its.interface} well (ovs-vsctl list interface)?",
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

        def say() -> None:
            with contextlib.suppress(ApiError, ApiUnreachable):
                self._world.api.patch(
                    resources.NETWORK_ENDPOINTS,
                    sandbox.pod_name,
                    sandbox.pod_namespace,
                    body,
                    subresource="status",
                )

        threading.Thread(target=say, daemon=True).start()

    # DEL, CHECK.

    def delete(self, sandbox: Sandbox) -> None:
        """Detach; what is not there is no fault. What cannot be done now is done by the sweep."""
        own = self._interface_of(sandbox.container)
        with self._alone(sandbox.pod or sandbox.container, own):
            others = [each for each in self.interfaces() if each.endpoint == sandbox.pod and each.name != own]
            uid = next(
                (each.external_ids.get(POD_UID, "") for each in self.interfaces() if each.name == own),
                sandbox.uid,
            )
            self.remove_port(own)
            self.unplug(own)
            present = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)
            # A later sandbox of the pod goes on with its addresses.
            if (
                present is not None
                and not others
                and uid
                and owner_uid(present) == uid
                and self.is_over(present)
            ):
                self.free(present)

    def is_over(self, endpoint: Mapping[str, Any]) -> bool:
        """Whether its pod will not be attached again: addresses of one whose sandbox only failed stay with it."""
        metadata = endpoint["metadata"]
        pod = self._world.pod(metadata.get("namespace", ""), metadata["name"])
        if pod is None or pod["metadata"]["uid"] != owner_uid(endpoint):
            return True
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return bool(pod["metadata"].get("deletionTimestamp")) or ended

    def check(self, sandbox: Sandbox) -> list[str]:
        """What is not as ``add`` left it, in words."""
        endpoint = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)
        if endpoint is None:
            return [f"there is no NetworkEndpoint {sandbox.pod}"]
        its = self._attached(sandbox, endpoint)
        problems = self._links.faults(self._link(sandbox, its))
        if not self._switch.is_programmed(sandbox.pod, owner_uid(endpoint), its.interface):
            problems.append(f"the switch has no flows for {its.interface}")
        return problems

    # Parts.

    def interfaces(self) -> tuple[PodInterface, ...]:
        """All interfaces of pods on the bridge; none while the database is away."""
        return self._switch.interfaces() or ()

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

    def free(self, endpoint: Mapping[str, Any]) -> None:
        """Free its addresses, if it is still this one."""
        metadata = endpoint["metadata"]
        try:
            self._world.api.delete(
                resources.NETWORK_ENDPOINTS,
                metadata["name"],
                metadata.get("namespace", ""),
                uid=metadata["uid"],
            )
        except (ApiError, ApiUnreachable) as error:
            if not (isinstance(error, ApiError) and (error.is_not_found or error.is_conflict)):
                name = full_name(endpoint)
                log.warning("NetworkEndpoint %s is not deleted: %s; it is swept later", name, error)
                return
        self._world.drop_endpoint(endpoint)
        self._addresses.release(full_name(endpoint))

    @staticmethod
    def _ask(get: Callable[[], Data], sandbox: Sandbox) -> Data | None:
        """None if it is not there. Raises AttachError."""
        try:
            return get()
        except ApiError as error:
            if error.is_not_found:
                return None
            raise AttachError(f"the API server refuses to say about Pod {sandbox.pod}", str(error)) from None
        except ApiUnreachable as error:
            raise AttachError("the API server cannot be reached", str(error)) from None

    @contextlib.contextmanager
    def _alone(self, pod: str, interface: str) -> Iterator[None]:
        with self._pods.held(pod):
            self.making.add(interface)
            try:
                yield
            finally:
                self.making.discard(interface)
                self._addresses.release(pod)

    def unless_busy(self, pod: str) -> AbstractContextManager[bool]:
        """Nothing is done for the pod meanwhile; False if something is."""
        return self._pods.if_free(pod)


def addresses_of(endpoint: Mapping[str, Any]) -> tuple[Address, ...]:
    """IPv4 first."""
    found = [ip_address(text) for text in endpoint["spec"]["addresses"]]
    return tuple(sorted(found, key=lambda each: each.version))


def full_name(data: Mapping[str, Any]) -> str:
    """``namespace/name``."""
    return f"{data['metadata'].get('namespace', '')}/{data['metadata']['name']}"
