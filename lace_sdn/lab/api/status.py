"""What of a lab on Kubernetes is as it should be: seen at its processes, bridges and namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.lab import LabError, links, pods, processes
from lace_sdn.lab.api import access, bridges, cluster, parts
from lace_sdn.lab.control import Programmed
from lace_sdn.pipeline.compiler import Cluster

if TYPE_CHECKING:
    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.pods import Pod


def programmed(lab: Lab) -> dict[str, Programmed]:
    """The nodes whose bridges hold what the objects mean now. Raises LabError if the API server does not answer."""
    try:
        state = Cluster.of(cluster.observed(lab, access.connect(lab)).state)
    except (ApiError, ApiUnreachable) as problem:
        raise LabError(f"the API server: {problem}") from None
    found = {}
    for folder in lab.nodes.iterdir() if lab.nodes.exists() else ():
        node = folder.name
        if not bridges.difference(lab, state, node):
            local = frozenset(endpoint.id for endpoint in state.endpoints_of.get(node, ()))
            found[node] = Programmed(bridges.size(lab, node), local)
    return found


def attached(lab: Lab) -> dict[str, Pod]:
    """The pods that the plugin attached and whose link is still there."""
    return {
        name: pod
        for name, pod in pods.recorded(lab).items()
        if links.POD_DEVICE in links.devices(lab.pod_namespace(name))
    }


def alive(lab: Lab) -> dict[str, bool]:
    """The processes beside the switches, by a name for humans."""
    nodes = sorted(folder.name for folder in lab.nodes.iterdir()) if lab.nodes.exists() else []
    return {name: bool(processes.find(mark)) for name, mark in parts.all_marks(lab, nodes).items()}
