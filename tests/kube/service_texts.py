"""Texts of manifests with Services: Namespaces shop in Network red and lab in blue, three nodes, two of them with a zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import parse
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from lace_sdn.model.objects import Backend, Service

LACE = "apiVersion: lace-cni.io/v1alpha1\n"


def node(name: str, address: str, labels: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        f"status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n---\n"
    )


def network(name: str, spec: str) -> str:
    return f"{LACE}kind: Network\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"


def binding(name: str, spec: str) -> str:
    return f"{LACE}kind: NetworkBindingPolicy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"


def of_namespace(name: str) -> str:
    return f"namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}"


NODES = (
    node("node-1", "192.0.2.1", "topology.kubernetes.io/zone: east")
    + node("node-2", "192.0.2.2", "topology.kubernetes.io/zone: west")
    + node("node-3", "192.0.2.3")
)
RED = network("red", "type: l3, ipv4Subnet: {prefix: 10.0.0.0/16}, ipv6Subnet: {prefix: 'fd00:10::/48'}")
BLUE = network("blue", "type: l3, ipv4Subnet: {prefix: 10.1.0.0/16}")
BINDINGS = binding("shop", f"network: red, {of_namespace('shop')}") + binding(
    "lab", f"network: blue, {of_namespace('lab')}"
)
WORLD = NODES + RED + BLUE + BINDINGS


def pod(name: str, node: str = "node-1", *, ports: str = "", status: str = "", more: str = "") -> str:
    """``ports``: of its container; ``more``: of its metadata."""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: web}}{more}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{name: c, ports: [{ports}]}}]}}\nstatus: {{{status}}}\n---\n"
    )


NINE = pod("nine", status="podIPs: [{ip: 10.0.0.9}, {ip: 'fd00:10::9'}]")
"""A pod with known addresses."""


def service(spec: str = "", name: str = "web", *, vip: str = "10.96.0.1", more: str = "") -> str:
    """A Service of shop for port 80, unless ``spec`` has other ports. ``more``: of its metadata."""
    address = f"clusterIP: {vip}, " if vip else ""
    ports = "" if "ports:" in spec else "ports: [{port: 80}], "
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop{more}}}\n"
        f"spec: {{{address}{ports}{spec}}}\n---\n"
    )


def endpoint_slice(
    *endpoints: str, ports: str = "{port: 8080}", family: str = "IPv4", name: str = "web-1", of: str = "web"
) -> str:
    """A slice of the Service ``of`` in shop."""
    return (
        f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {of}}}}}\n"
        f"addressType: {family}\nports: [{ports}]\nendpoints: [{', '.join(endpoints)}]\n---\n"
    )


def at(address: str, more: str = "") -> str:
    """An endpoint of a slice."""
    return f"{{addresses: ['{address}'], {more}}}"


def of_pod(name: str) -> str:
    """What a slice says of the pod behind an endpoint."""
    return f"targetRef: {{kind: Pod, name: {name}, namespace: shop}}"


def built(*texts: str, known: Ledger | None = None) -> Built:
    return build(parse("".join(texts), "x.yaml"), known or Ledger())


def in_world(*texts: str) -> Built:
    return built(WORLD, *texts)


def in_lab(text: str) -> str:
    """The object, in the Namespace lab."""
    return text.replace("namespace: shop", "namespace: lab")


def served(*texts: str) -> Service:
    """The only Service that the texts make, about which there is nothing to say."""
    result = in_world(*texts)
    assert (result.problems, result.conditions) == ((), ())
    (found,) = result.state.services
    return found


def endpoints(result: Built | Service, place: int = 0) -> list[str]:
    """``ADDRESS:PORT NODE POD`` of each endpoint of a port of the only Service."""
    (found,) = result.state.services if isinstance(result, Built) else (result,)
    return [_line(each) for each in found.ports[place].backends]


def _line(backend: Backend) -> str:
    return f"{backend.address}:{backend.port} {backend.node or '-'} {backend.pod or '-'}"


def only(found: Service) -> Backend:
    """The only endpoint of the first port."""
    (backend,) = found.ports[0].backends
    return backend


def state_of(found: Service) -> tuple[bool, bool, bool]:
    """Of the only endpoint: ready, serving, terminating."""
    backend = only(found)
    return backend.ready, backend.serving, backend.terminating


def names(result: Built) -> list[str]:
    return [each.id for each in result.state.services]


def said(result: Built) -> list[str]:
    """All problems and conditions, without words."""
    problems = [f"{each.place} {each.subject} {each.field}" for each in result.problems]
    return problems + [f"{each.name} {each.type} {each.status} {each.reason}" for each in result.conditions]
