"""The NetworkEndpoints of a node's pods: each claims addresses of the node's blocks; found, made, confirmed and freed here.

An address is another pod's neither while an endpoint has it, nor while one with it may have been written: no answer is no denial.
"""

from __future__ import annotations

import logging
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.controller.addresses import Addresses
from lace_sdn.controller.attaching import AttachError
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.claims import why_not
from lace_sdn.kube.observed import owner_uid
from lace_sdn.policy.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.controller.attaching import Sandbox, WorldView
    from lace_sdn.model.objects import Address, Network, Prefix

log = logging.getLogger(__name__)

Data = dict[str, Any]

BLOCK_WITHIN: Final = 20.0
"""Seconds until the operator has given the node a block."""
_LOOK_EVERY: Final = 0.01


class Endpoints:
    """One caller at a time for a pod."""

    def __init__(self, world: WorldView) -> None:
        self._world = world
        self._addresses = Addresses(world)

    @property
    def doubtful(self) -> frozenset[str]:
        """Pods whose endpoints are being written, or may have been: ``namespace/name``."""
        return self._addresses.pods

    def of(self, sandbox: Sandbox, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """The pod's endpoint: the one that it has, or a new one with addresses of its own. Raises AttachError."""
        self.settle(sandbox.pod)
        uid = str(pod["metadata"]["uid"])
        present = self._world.endpoint(sandbox.pod_namespace, sandbox.pod_name)
        if present is not None and owner_uid(present) == uid:
            self._confirm(sandbox, present, is_new=False)
            return present
        if present is not None:
            self.free(present)
        network = self._network(sandbox, pod)
        addresses = self._addresses.choose(sandbox.pod, network, self._blocks(sandbox, network))
        made = self._create(sandbox, uid, network.name, addresses)
        self._confirm(sandbox, made, is_new=True)
        return made

    def settle(self, pod: str) -> None:
        """Find out whether an endpoint was written whose answer did not come. Raises AttachError if that cannot be known now."""
        if pod in self.doubtful:
            namespace, _, name = pod.partition("/")
            self._note(pod, self._asked(namespace, name))

    def free(self, endpoint: Mapping[str, Any]) -> None:
        """Delete it, if it is still this one; what cannot be done now is done by the sweep."""
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
            made = self._world.api.create(resources.NETWORK_ENDPOINTS, body)
        except ApiError as error:
            if error.is_already_exists:
                return self._found(sandbox, uid)
            # It may have been written before the server's own errors (5xx).
            if error.status < 500:
                self._addresses.release(sandbox.pod)
            raise AttachError(f"NetworkEndpoint {sandbox.pod} is not accepted", str(error)) from None
        except ApiUnreachable as error:
            raise AttachError("the API server cannot be reached", str(error)) from None
        self._note(sandbox.pod, made)
        return made

    def _found(self, sandbox: Sandbox, uid: str) -> Data:
        """What was there already: of an attempt whose answer was lost, or of another pod."""
        present = self._asked(sandbox.pod_namespace, sandbox.pod_name)
        self._note(sandbox.pod, present)
        if present is not None and owner_uid(present) == uid and present["spec"]["node"] == self._world.node:
            return present
        raise AttachError(
            f"NetworkEndpoint {sandbox.pod} of an earlier pod is still there",
            "it is removed by Kubernetes with that pod, or by its node",
        )

    def _note(self, pod: str, endpoint: Data | None) -> None:
        """What the API server has of it. It is known before its addresses are kept for it no longer."""
        if endpoint is not None and endpoint["spec"]["node"] == self._world.node:
            self._world.put_endpoint(endpoint)
        self._addresses.release(pod)

    def _asked(self, namespace: str, name: str) -> Data | None:
        return asked(
            lambda: self._world.api.get(resources.NETWORK_ENDPOINTS, name, namespace), f"{namespace}/{name}"
        )


def asked(get: Callable[[], Data], pod: str) -> Data | None:
    """What the API server has for a pod; None if it has it not. Raises AttachError."""
    try:
        return get()
    except ApiError as error:
        if error.is_not_found:
            return None
        raise AttachError(f"the API server refuses to say about Pod {pod}", str(error)) from None
    except ApiUnreachable as error:
        raise AttachError("the API server cannot be reached", str(error)) from None


def addresses_of(endpoint: Mapping[str, Any]) -> tuple[Address, ...]:
    """IPv4 first."""
    found = [ip_address(text) for text in endpoint["spec"]["addresses"]]
    return tuple(sorted(found, key=lambda each: each.version))


def full_name(data: Mapping[str, Any]) -> str:
    """``namespace/name``."""
    return f"{data['metadata'].get('namespace', '')}/{data['metadata']['name']}"
