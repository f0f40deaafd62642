"""A lab on Kubernetes as a whole: brought to what manifests ask for, seen as the API server says, and removed."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.backends import SERVICE_NAME_LABEL
from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests, merged, read
from lace_sdn.kube.observed import manifests_of, observe
from lace_sdn.lab import LabError, agent_client, hosts, neighbours, places, stacks, switches, underlay
from lace_sdn.lab.api import access, applying, bridges, objects, parts
from lace_sdn.lab.api.slices import MANAGER_LABEL, slices_of
from lace_sdn.lab.desired import served
from lace_sdn.lab.files import publish
from lace_sdn.lab.nodes import make_wire, remove_nodes_but
from lace_sdn.lab.switches import Switch
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.underlay import Wire
    from lace_sdn.model.cluster import ClusterState

    Tell = Callable[[str], None]

_BRIDGE_TIMEOUT = 30.0
_TIMEOUT = 90.0
_STACK_TIMEOUT = 30.0
_INTERVAL = 0.1

SEEN = (
    resources.NODES,
    resources.NAMESPACES,
    resources.NETWORKS,
    resources.BINDING_POLICIES,
    resources.ROUTING_POLICIES,
    resources.SERVICE_POLICIES,
    resources.ALLOCATIONS,
    resources.PODS,
    resources.NETWORK_ENDPOINTS,
    resources.SERVICES,
    resources.ENDPOINT_SLICES,
    resources.SERVICE_MEMBERSHIPS,
)


def converge(lab: Lab, source: Path, tell: Tell) -> Built:
    """Bring the lab and the API server to the manifests of ``source``, until every bridge holds what they mean.

    Raises LabError for whatever an operator can put right.
    """
    try:
        return _converge(lab, source, tell)
    except (ApiError, ApiUnreachable) as problem:
        raise LabError(f"the API server: {problem}; `lace-sdn lab up` goes on from here") from None


def _converge(lab: Lab, source: Path, tell: Tell) -> Built:
    tell("reading the manifests")
    manifests = read(source)
    meant = build(manifests, Ledger())
    wire = underlay.wire(meant.state.nodes, meant.state.external_hosts)
    if not wire.nodes:
        said = "".join(f"\n{problem}" for problem in manifests.problems)
        raise LabError(
            f"{source}: no Node is found, expected at least one with an InternalIP; nothing is changed{said}"
        )
    for node in wire.nodes:
        lab.node(node)  # says so if its name is too long, before anything is made
    lab.nodes.mkdir(parents=True, exist_ok=True)
    api = access.connect(lab)
    server = access.server_of(lab)
    tell(f"writing the objects to the API server {server.host}:{server.port}")
    applying.install_definitions(api)
    parts.ensure_operator(lab)
    applying.apply(api, lab.name, objects.wanted(manifests, lab.name))
    publish(source, lab.manifests)
    hosts.remove(lab, hosts.leaving(lab, meant.state.external_host_by_name))
    remove_nodes_but(lab, wire.nodes, tell)
    make_wire(lab, wire, tell)
    for node in wire.nodes:
        parts.ensure_node(lab, node)
    tell("waiting until the controllers have made the nodes' bridges")
    _await(lab, wire, _BRIDGE_TIMEOUT, lambda: _without_bridge(lab, wire))
    parts.ensure_kubelet(lab)
    agent_client.ensure(lab)
    tell("waiting until every pod is attached")
    expected = {endpoint.id for endpoint in meant.state.endpoints}
    _await(lab, wire, _TIMEOUT, lambda: _unattached(api, expected))
    tell("waiting until Services have their endpoints")
    _await(lab, wire, _TIMEOUT, lambda: _without_slices(api))
    tell("waiting until every bridge holds what the objects mean")
    _await(lab, wire, _TIMEOUT, lambda: _different(lab, api, wire))
    return _settle(lab, wire, manifests)


def _settle(lab: Lab, wire: Wire, manifests: Manifests) -> Built:
    """What has to be in force beside the bridges, and the agent in all places."""
    stacks.await_in_force(lab, wire.nodes, _STACK_TIMEOUT)
    neighbours.introduce(lab, {node: post.addresses for node, post in wire.nodes.items()})
    with ThreadPoolExecutor(max_workers=len(wire.nodes)) as workers:
        for _ in workers.map(switches.await_revalidation, (Switch(lab, node) for node in wire.nodes)):
            pass
    built = live(lab)
    agent_client.settle(lab, places.residents(lab, built.state))
    return replace(built, problems=(*manifests.problems, *built.problems))


def live(lab: Lab) -> Built:
    """What runs on the lab's nodes now, as the API server says. Raises LabError if it does not answer."""
    try:
        built = observed(lab, access.connect(lab))
    except (ApiError, ApiUnreachable) as problem:
        raise LabError(f"the API server: {problem}") from None
    return replace(built, state=_here(lab, built.state))


def observed(lab: Lab, api: Api) -> Built:
    """The whole cluster, also nodes and pods that are none of the lab's, and the lab's hosts outside."""
    found: list[dict[str, Any]] = []
    for resource in SEEN:
        found += api.list(resource)[0]
    outside = read(lab.manifests) if lab.manifests.exists() else Manifests()
    lab_only = Manifests(objects=tuple(outside.of_kind("ExternalHost")))
    built = observe(merged([manifests_of(found), lab_only]))
    return served(lab, built)


def take_away(lab: Lab, tell: Tell) -> None:
    """Remove from the API server what the lab has written, while its operator and nodes still run. Raises LabError."""
    tell("removing the objects from the API server")
    try:
        applying.remove_all(access.connect(lab), lab.name)
    except (ApiError, ApiUnreachable) as problem:
        raise LabError(f"the API server: {problem}") from None


def _here(lab: Lab, state: ClusterState) -> ClusterState:
    """The part that is on the lab's own nodes."""
    own = {node.name for node in state.nodes if lab.node(node.name).exists()}
    return replace(
        state,
        nodes=tuple(node for node in state.nodes if node.name in own),
        endpoints=tuple(endpoint for endpoint in state.endpoints if endpoint.node in own),
        host_pods=tuple(pod for pod in state.host_pods if pod.node in own),
    )


def _await(lab: Lab, wire: Wire, timeout: float, missing: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while said := missing():
        parts.check_alive(lab, wire.nodes)
        if time.monotonic() > deadline:
            raise LabError(f"the lab is not complete in time: {said}; its processes go on trying")
        time.sleep(_INTERVAL)


def _without_bridge(lab: Lab, wire: Wire) -> str:
    for node in wire.nodes:
        if not switches.has_integration_bridge(Switch(lab, node)):
            return f'node "{node}" has no bridge {switches.INTEGRATION_BRIDGE}'
    return ""


def _unattached(api: Api, expected: set[str]) -> str:
    """Pods that should have addresses and have none. Those that no Network takes are none of them."""
    attached = {
        _name(body) for body in api.list(resources.PODS)[0] if (body.get("status") or {}).get("podIPs")
    }
    waiting = sorted(expected - attached)
    return f"{len(waiting)} pods are not attached: {', '.join(waiting[:5])}" if waiting else ""


def _without_slices(api: Api) -> str:
    """Services whose EndpointSlices do not say yet what their pods are; those written by hand are as they are."""
    pods, _ = api.list(resources.PODS)
    found: dict[str, set[str]] = defaultdict(set)
    for each in api.list(resources.ENDPOINT_SLICES)[0]:
        service = (each["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL, "")
        manager = (each["metadata"].get("labels") or {}).get(MANAGER_LABEL)
        name = f"{each['metadata']['namespace']}/{service}"
        found[name] |= _addresses(each) if manager else {"by hand"}
    for service in api.list(resources.SERVICES)[0]:
        its = [pod for pod in pods if pod["metadata"]["namespace"] == service["metadata"]["namespace"]]
        wanted = set().union(*map(_addresses, slices_of(service, its)))
        has = found[_name(service)]
        if "by hand" not in has and has != wanted:
            return f"Service {_name(service)} has the endpoints {sorted(has)}, its pods are {sorted(wanted)}"
    return ""


def _addresses(endpoint_slice: dict[str, Any]) -> set[str]:
    """With their readiness."""
    return {
        f"{entry['addresses'][0]} {(entry.get('conditions') or {}).get('ready')}"
        for entry in endpoint_slice.get("endpoints") or ()
    }


def _name(body: dict[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _different(lab: Lab, api: Api, wire: Wire) -> str:
    cluster = Cluster.of(observed(lab, api).state)
    return next(filter(None, (bridges.difference(lab, cluster, node) for node in wire.nodes)), "")
