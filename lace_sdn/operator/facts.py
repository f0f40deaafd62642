"""What planning looks at: objects of the API server as small frozen values, and the names by which things are claimed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.resources import GROUP
from lace_sdn.kube.claims import FREEING
from lace_sdn.kube.decode import label_selector
from lace_sdn.model.labels import Labels, labels
from lace_sdn.model.objects import BindingPolicy, NetworkType, Subnet
from lace_sdn.policy.cuts import Cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.model.objects import Address, Prefix

Data = dict[str, Any]

FINALIZER: Final = f"{GROUP}/in-use"
"""On Networks: they stay until nothing carries them any more."""
MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "lace-sdn-operator")
"""Label of the Allocations made here; others are the users' and never removed."""

_LONGEST_NETWORK: Final = 200
"""Of the network's name in that of an Allocation: names end at 253 characters, the digits of an index need up to 39."""


@dataclass(frozen=True, slots=True)
class NetworkFact:
    """``key``: what the status says, 0 for nothing; ``version``: the resourceVersion."""

    name: str
    uid: str
    version: str
    type: NetworkType
    key: int
    cut: Cut
    created: str = ""
    is_deleted: bool = False
    finalizers: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether it cannot vanish before it is let go here."""
        return FINALIZER in self.finalizers


@dataclass(frozen=True, slots=True)
class Claim:
    """A NetworkKey: ``number`` is the key of ``network``, of the very one that has the uid ``network_uid``."""

    number: int
    network: str
    network_uid: str
    uid: str
    version: str


@dataclass(frozen=True, slots=True)
class Block:
    """An Allocation. ``is_ours``: made by an operator; ``is_freeing``: marked to be removed; ``is_deleted``: on its way out."""

    name: str
    network: str
    node: str
    prefixes: tuple[Prefix, ...]
    uid: str
    version: str
    created: str = ""
    is_ours: bool = False
    is_freeing: bool = False
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class EndpointFact:
    """A NetworkEndpoint: ``pod_uid`` is of the pod that owns it, "" for none."""

    id: str
    pod_uid: str
    network: str
    node: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class PodFact:
    """A pod that needs a network and is on a node."""

    id: str
    namespace: str
    uid: str
    node: str
    labels: Labels


def block_name(network: str, index: int) -> str:
    """The one name that a block of this number can have."""
    if len(network) > _LONGEST_NETWORK:
        network = f"{network[:_LONGEST_NETWORK]}.{blake2b(network.encode(), digest_size=5).hexdigest()}"
    return f"{network}-{index}"


def network_fact(data: Mapping[str, Any]) -> NetworkFact:
    """A Network as the API server accepted it."""
    meta, spec = data["metadata"], data["spec"]
    subnets = (
        Subnet(ip_network(spec[name]["prefix"]), int(spec[name].get("hostLocalPrefixLength", length)))
        for name, length in (("ipv4Subnet", 24), ("ipv6Subnet", 64))
        if name in spec
    )
    return NetworkFact(
        meta["name"],
        meta.get("uid", ""),
        meta.get("resourceVersion", ""),
        NetworkType(spec["type"]),
        int((data.get("status") or {}).get("networkKey") or 0),
        Cut(tuple(subnets)),
        meta.get("creationTimestamp") or "",
        bool(meta.get("deletionTimestamp")),
        tuple(meta.get("finalizers") or ()),
    )


def claim(data: Mapping[str, Any]) -> Claim | None:
    """A NetworkKey; None for one whose name is no number, which claims nothing."""
    meta = data["metadata"]
    if not meta["name"].isdecimal():
        return None
    return Claim(
        int(meta["name"]),
        str(data["spec"]["network"]),
        str(data["spec"].get("uid", "")),
        meta.get("uid", ""),
        meta.get("resourceVersion", ""),
    )


def block(data: Mapping[str, Any]) -> Block:
    """An Allocation, whoever wrote it."""
    meta, spec = data["metadata"], data["spec"]
    key, value = MANAGED_BY
    return Block(
        meta["name"],
        str(spec["network"]),
        str(spec["node"]),
        tuple(ip_network(spec[name]) for name in ("ipv4Block", "ipv6Block") if name in spec),
        meta.get("uid", ""),
        meta.get("resourceVersion", ""),
        meta.get("creationTimestamp") or "",
        (meta.get("labels") or {}).get(key) == value,
        FREEING in (meta.get("annotations") or {}),
        bool(meta.get("deletionTimestamp")),
    )


def endpoint(data: Mapping[str, Any]) -> EndpointFact:
    """A NetworkEndpoint."""
    meta, spec = data["metadata"], data["spec"]
    owners = (each["uid"] for each in meta.get("ownerReferences") or () if each.get("kind") == "Pod")
    return EndpointFact(
        f"{meta.get('namespace', '')}/{meta['name']}",
        next(owners, ""),
        str(spec["network"]),
        str(spec["node"]),
        tuple(ip_address(text) for text in spec["addresses"]),
    )


def binding(data: Mapping[str, Any]) -> BindingPolicy:
    """A NetworkBindingPolicy; what was left out is as the schema's defaults say."""
    meta, spec = data["metadata"], data["spec"]
    return BindingPolicy(
        meta["name"],
        str(spec["network"]),
        label_selector(spec.get("namespaceSelector") or {}),
        label_selector(spec.get("selector") or {}),
        int(spec.get("priority") or 0),
        meta.get("creationTimestamp") or "",
    )


def pod(data: Mapping[str, Any]) -> PodFact | None:
    """A Pod that needs a network of ours now; None for one that is on its node's, not scheduled or at its end."""
    meta, spec = data["metadata"], data["spec"]
    has_ended = (data.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if spec.get("hostNetwork") or has_ended or not spec.get("nodeName"):
        return None
    namespace = meta.get("namespace", "")
    return PodFact(
        f"{namespace}/{meta['name']}",
        namespace,
        meta.get("uid", ""),
        spec["nodeName"],
        labels(meta.get("labels")),
    )
