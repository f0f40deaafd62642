"""A cluster in which nearly every object forbids something, each in a file of its own: name of the file -> text."""

from __future__ import annotations

import textwrap

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def _own(kind: str, name: str, spec: str, *, created: str = OLD, metadata: str = "") -> str:
    return (
        f"apiVersion: lace-cni.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, creationTimestamp: '{created}'{metadata}}}\n"
        f"spec: {spec}\n"
    )


def _node(name: str, address: str) -> str:
    addresses = f"addresses: [{{type: InternalIP, address: {address}}}]"
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus: {{{addresses}}}\n"


def _pod(name: str, namespace: str, node: str, *, labels: str = "", status: str = "") -> str:
    port = "containers: [{name: a, ports: [{containerPort: 80}]}]"
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n"
    return f"{text}spec: {{nodeName: {node}, {port}}}\n" + (f"status: {{{status}}}\n" if status else "")


def _service(name: str, namespace: str, address: str, created: str = OLD, selector: str = "app: web") -> str:
    spec = f"clusterIP: {address}, selector: {{{selector}}}, ports: [{{port: 80}}]"
    metadata = f"name: {name}, namespace: {namespace}, creationTimestamp: '{created}'"
    return f"apiVersion: v1\nkind: Service\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"


def _namespace(name: str, labels: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"


def _l3(prefix: str) -> str:
    return f"{{type: l3, ipv4Subnet: {{prefix: {prefix}}}}}"


def _external(prefix: str) -> str:
    return f"{{type: external, externalPrefixes: [{prefix}]}}"


def _route(source: str, destination: str) -> str:
    return f"{{srcSelector: {{name: {source}}}, destSelector: {{name: {destination}}}}}"


SLICE = textwrap.dedent("""\
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: web-1, namespace: front, labels: {kubernetes.io/service-name: web}}
    addressType: IPv4
    ports: [{port: 80}]
    endpoints: [{addresses: [10.7.0.9], targetRef: {kind: Pod, name: web-0}}]
    """)
HOST = textwrap.dedent("""\
    apiVersion: lab.lace-cni.io/v1alpha1
    kind: ExternalHost
    metadata: {name: %s}
    spec: {addresses: [%s], ports: [{port: 443}]}
    """)

FILES = {
    "node-1": _node("node-1", "192.0.2.1"),
    "node-2": _node("node-2", "192.0.2.2"),
    # It is node-2's address.
    "node-3": _node("node-3", "192.0.2.2"),
    "internet": _own("Network", "internet", _external("0.0.0.0/0")),
    "corp": _own("Network", "corp", _external("10.0.0.0/8")),
    "shop": _own("Network", "shop", _l3("10.7.0.0/16")),
    "db": _own("Network", "db", _l3("10.8.0.0/16")),
    # Its prefix is the db's, which shop reaches by the older policy.
    "twin": _own("Network", "twin", _l3("10.8.0.0/16")),
    "lab": _own("Network", "lab", _l3("10.9.0.0/16")),
    "shop-internet": _own("NetworkRoutingPolicy", "shop-internet", _route("shop", "internet")),
    "shop-db": _own("NetworkRoutingPolicy", "shop-db", _route("shop", "db")),
    "shop-twin": _own("NetworkRoutingPolicy", "shop-twin", _route("shop", "twin"), created=NEW),
    "lab-db": _own("ServiceRoutingPolicy", "lab-db", _route("lab", "db")),
    "bind-all": _own("NetworkBindingPolicy", "bind-all", "{network: shop}"),
    "bind-lab": _own(
        "NetworkBindingPolicy",
        "bind-lab",
        "{network: lab, priority: 10, namespaceSelector: {matchLabels: {team: lab}}}",
    ),
    "bind-db": _own(
        "NetworkBindingPolicy",
        "bind-db",
        "{network: db, priority: 5, namespaceSelector: {matchLabels: {team: db}}}",
    ),
    "bind-twin": _own(
        "NetworkBindingPolicy",
        "bind-twin",
        "{network: twin, priority: 5, namespaceSelector: {matchLabels: {team: twin}}}",
    ),
    "front": _namespace("front", ""),
    "labs": _namespace("labs", "team: lab"),
    "dbs": _namespace("dbs", "team: db"),
    "twins": _namespace("twins", "team: twin"),
    "web-0": _pod("web-0", "front", "node-1", labels="app: web", status="podIPs: [{ip: 10.7.0.9}]"),
    "web-1": _pod("web-1", "front", "node-1", labels="app: web"),
    # It asks for the address of the one before.
    "web-2": _pod("web-2", "front", "node-1", status="podIPs: [{ip: 10.7.0.9}]"),
    "lab-0": _pod("lab-0", "labs", "node-1"),
    "lab-1": _pod("lab-1", "labs", "node-2"),
    "db-0": _pod("db-0", "dbs", "node-2", labels="app: web"),
    "twin-0": _pod("twin-0", "twins", "node-1", labels="app: web"),
    "web": _service("web", "front", "10.96.0.10"),
    # The VIP is the older one's.
    "late": _service("late", "dbs", "10.96.0.10", NEW),
    # Node-2 has this address, a host has that one, and pods of twin and db may have the last.
    "of-node": _service("of-node", "dbs", "192.0.2.2"),
    "of-host": _service("of-host", "dbs", "203.0.113.9"),
    "of-lab": _service("of-lab", "dbs", "10.9.0.80"),
    "slice": SLICE,
    "host-corp": HOST % ("host-corp", "10.1.2.3"),
    "host-internet": HOST % ("host-internet", "203.0.113.9"),
    "lease": _own(
        "NetworkEndpoint",
        "stays",
        "{network: lab, node: node-1, addresses: [10.9.0.77]}",
        metadata=", namespace: front",
    ),
    # Bindings would put it into shop now; it runs in lab.
    "stays": _pod("stays", "front", "node-1"),
}

SHARP = ("corp", "shop-db", "bind-lab", "bind-db", "labs", "dbs", "node-2", "web", "slice", "lab", "lease")
"""Files without which something would be open that is shut, were it not for the law; of every kind whose absence can do that."""
