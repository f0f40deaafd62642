"""Pods of a lab: a namespace each, a cable to the node, and a record of what was made, written when all of it was made."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lace_sdn.lab import datapath, links, netns, processes, switches
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.files import write_whole
from lace_sdn.lab.names import pod_interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint


@dataclass(frozen=True, slots=True)
class Pod:
    """What cannot change in a running pod. ``id`` is ``namespace/name``."""

    id: str
    node: str
    network: str
    addresses: tuple[str, ...]
    mac: str

    @classmethod
    def of(cls, endpoint: Endpoint) -> Pod:
        addresses = tuple(str(address) for address in endpoint.addresses)
        return cls(endpoint.id, endpoint.node, endpoint.network, addresses, endpoint.mac)


@dataclass(frozen=True, slots=True)
class Change:
    """The way from the pods that are there to those that should be: first ``detach``, then ``attach``."""

    detach: tuple[Pod, ...]
    attach: tuple[Pod, ...]


def wanted(state: ClusterState) -> dict[str, Pod]:
    """The pods that should be there, by ``namespace/name``."""
    return {endpoint.id: Pod.of(endpoint) for endpoint in state.endpoints}


def change(there: Mapping[str, Pod], should_be: Mapping[str, Pod]) -> Change:
    """Only what differs; a pod whose node, network, address or MAC differs goes and comes again."""
    detach = [pod for name, pod in sorted(there.items()) if should_be.get(name) != pod]
    attach = [pod for name, pod in sorted(should_be.items()) if there.get(name) != pod]
    return Change(tuple(detach), tuple(attach))


def recorded(lab: Lab) -> dict[str, Pod]:
    """All pods that were attached completely and not detached since."""
    found = {}
    for path in sorted(lab.pods.glob("*.json")):
        # A damaged record is none: the pod is made anew.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(path.read_text())
            pod = Pod(**{**record, "addresses": tuple(record["addresses"])})
            found[pod.id] = pod
    return found


def whole(lab: Lab, pods: Mapping[str, Pod]) -> dict[str, Pod]:
    """Those whose namespace and cable, with both of its ends, are still there."""
    links_of = {node: links.devices(lab.node_namespace(node)) for node in {pod.node for pod in pods.values()}}
    return {
        name: pod
        for name, pod in pods.items()
        if pod_interface(name) in links_of[pod.node]
        and links.POD_DEVICE in links.devices(lab.pod_namespace(name))
    }


def attach(lab: Lab, pods: Iterable[Pod]) -> None:
    """Make the pods and plug them into the br-int of their nodes, which must exist."""
    for node, its in _by_node(pods).items():
        # A port that a killed command left would stay bound to the device that goes now, deaf to its successor.
        switches.remove_pods(switches.Switch(lab, node), [pod.id for pod in its])
        for pod in its:
            _make(lab, pod)
        ensure_ports(lab, its)
        for pod in its:
            write_whole(lab.pod(pod.id), json.dumps(asdict(pod)))


def detach(lab: Lab, pods: Iterable[Pod]) -> None:
    """Remove the pods: the interface goes first, so that nothing of a pod is forwarded when the rest goes."""
    for node, its in _by_node(pods).items():
        switches.remove_pods(switches.Switch(lab, node), [pod.id for pod in its])
        for pod in its:
            lab.pod(pod.id).unlink(missing_ok=True)
            _unmake(lab, pod)


def restore(lab: Lab, pods: Iterable[Pod]) -> None:
    """Give attached pods again what somebody may have taken from them; changes nothing where it is. Raises LabError."""
    for node, its in _by_node(pods).items():
        for pod in its:
            with concerning(f'pod "{pod.id}"'):
                links.put_up(lab.node_namespace(node), pod_interface(pod.id), links.POD_MTU)
                _configure(lab, pod)
    ensure_ports(lab, pods)


def ensure_ports(lab: Lab, pods: Iterable[Pod]) -> None:
    """Make the pods' interfaces ports of br-int; changes nothing where they are."""
    for node, its in _by_node(pods).items():
        switches.add_pods(switches.Switch(lab, node), [(pod.id, pod.mac) for pod in its])


def _by_node(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    nodes: dict[str, list[Pod]] = {}
    for pod in pods:
        nodes.setdefault(pod.node, []).append(pod)
    return nodes


def _make(lab: Lab, pod: Pod) -> None:
    _unmake(lab, pod)  # what a killed command left
    namespace, node = lab.pod_namespace(pod.id), lab.node_namespace(pod.node)
    cable = links.Cable(namespace, links.POD_DEVICE, node, pod_interface(pod.id), links.POD_MTU, pod.mac)
    with concerning(f'pod "{pod.id}"'):
        netns.ensure(namespace)
        links.prepare_pod(namespace, pod.addresses)
        links.plug(cable)
        _configure(lab, pod)


def _configure(lab: Lab, pod: Pod) -> None:
    is_userspace = datapath.of(lab).is_userspace
    links.configure_pod(lab.pod_namespace(pod.id), pod.mac, pod.addresses, is_userspace=is_userspace)


def _unmake(lab: Lab, pod: Pod) -> None:
    """The commands run inside the pod end with it, as its containers would."""
    namespace = lab.pod_namespace(pod.id)
    with concerning(f'pod "{pod.id}"'):
        if netns.exists(namespace):
            processes.stop(lab.pod(pod.id), grace=1.0)
        links.unplug(lab.node_namespace(pod.node), pod_interface(pod.id))
        netns.remove(namespace)
