"""EndpointSlices of Services with a selector, as the EndpointSlice controller of Kubernetes makes them. Pure.

Source: Kubernetes, "EndpointSlices"; EndpointSlice v1.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.backends import SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MANAGER_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "lab.lace-cni.io"
MOST: Final = 100
"""Endpoints of a slice."""
_TYPES: Final = {4: "IPv4", 6: "IPv6"}

Data = dict[str, Any]


def slices_of(service: Data, pods: Iterable[Data]) -> tuple[Data, ...]:
    """The slices of one Service, from all pods of its namespace; none for one without selector."""
    selector = service["spec"].get("selector") or {}
    if not selector or service["spec"].get("type") == "ExternalName":
        return ()
    chosen = sorted(
        (pod for pod in pods if _is_selected(selector, pod)), key=lambda pod: str(pod["metadata"]["name"])
    )
    return tuple(_slices(service, chosen))


def _slices(service: Data, pods: list[Data]) -> Iterator[Data]:
    families = [4 if name == "IPv4" else 6 for name in service["spec"].get("ipFamilies") or ()]
    families = families or sorted({ip_address(text).version for text in _cluster_ips(service)})
    number = 0
    for family in families:
        for ports, members in _by_ports(service, pods).items():
            endpoints = [
                each
                for pod in members
                for each in _endpoints(pod, family, bool(service["spec"].get("publishNotReadyAddresses")))
            ]
            for start in range(0, len(endpoints), MOST):
                yield _slice(service, number, family, ports, endpoints[start : start + MOST])
                number += 1


def _cluster_ips(service: Data) -> list[str]:
    spec = service["spec"]
    return [text for text in spec.get("clusterIPs") or [spec.get("clusterIP")] if text and text != "None"]


Ports = tuple[tuple[str, str, int], ...]


def _by_ports(service: Data, pods: list[Data]) -> dict[Ports, list[Data]]:
    """Pods with the same numbers behind the Service's ports share slices."""
    found: dict[Ports, list[Data]] = {}
    for pod in pods:
        ports = tuple(
            (port.get("name") or "", port.get("protocol") or "TCP", number)
            for port in service["spec"].get("ports") or ()
            if (number := _target(port, pod))
        )
        found.setdefault(ports, []).append(pod)
    return found


def _target(port: Mapping[str, Any], pod: Data) -> int:
    target = port.get("targetPort") or port["port"]
    if not isinstance(target, str):
        return int(target)
    for container in pod["spec"].get("containers") or ():
        for each in container.get("ports") or ():
            if (each.get("name"), each.get("protocol", "TCP")) == (target, port.get("protocol") or "TCP"):
                return int(each["containerPort"])
    return 0


def _endpoints(pod: Data, family: int, publish_unready: bool) -> Iterator[Data]:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    if status.get("phase") in ("Succeeded", "Failed"):
        return
    is_ready = any(
        each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()
    )
    is_leaving = bool(metadata.get("deletionTimestamp"))
    for entry in status.get("podIPs") or ():
        if ip_address(entry["ip"]).version == family:
            yield {
                "addresses": [entry["ip"]],
                "conditions": {
                    "ready": publish_unready or (is_ready and not is_leaving),
                    "serving": is_ready,
                    "terminating": is_leaving,
                },
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": {
                    "kind": "Pod",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            }


def _slice(service: Data, number: int, family: int, ports: Ports, endpoints: list[Data]) -> Data:
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-lab-{number}",
            "namespace": metadata["namespace"],
            "labels": {SERVICE_NAME_LABEL: metadata["name"], MANAGER_LABEL: MANAGER},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": _TYPES[family],
        "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in ports],
        "endpoints": endpoints,
    }


def _is_selected(selector: Mapping[str, str], pod: Data) -> bool:
    labels = pod["metadata"].get("labels") or {}
    on_host = bool(pod["spec"].get("hostNetwork"))
    return (
        bool(pod["spec"].get("nodeName"))
        and selector.items() <= labels.items()
        and not (on_host and not (pod.get("status") or {}).get("podIPs"))
    )
