"""What a schema cannot say about one object: the CEL rules of the CRDs, and the same kind of care for core kinds.

Each rule takes an object that its schema has allowed, defaults filled in, and yields what is wrong with it.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from lace_sdn.kube import outside_rules, service_rules
from lace_sdn.kube.problems import Finding, Path, quoted
from lace_sdn.kube.service_rules import RESERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lace_sdn.model.objects import Prefix

Data = dict[str, Any]

_SUBNETS = (("ipv4Subnet", 4), ("ipv6Subnet", 6))
_BLOCKS = (("ipv4Block", 4), ("ipv6Block", 6))
_EXAMPLES = {4: '"10.0.0.0/16"', 6: '"fd00:10::/48"'}


def findings(kind: str, data: Data) -> Iterator[Finding]:
    """Everything wrong with a schema-valid object of ``kind``."""
    rule = _RULES.get(kind)
    if rule:
        yield from rule(data)


def _network(data: Data) -> Iterator[Finding]:
    spec = data["spec"]
    kind = spec["type"]
    subnets = [name for name, _ in _SUBNETS if name in spec]
    if kind == "external":
        for name in subnets:
            yield Finding(
                ("spec", name), "is set", "expected none: an external network has only externalPrefixes"
            )
        if "externalPrefixes" not in spec:
            yield Finding(
                ("spec", "externalPrefixes"), "is missing", "expected where the external network lies"
            )
    else:
        if not subnets:
            yield Finding(
                ("spec",), "has no subnet", f"expected ipv4Subnet, ipv6Subnet or both for type {kind}"
            )
        if "externalPrefixes" in spec:
            yield Finding(
                ("spec", "externalPrefixes"), "is set", f"expected only with type external, not {kind}"
            )
    for name, family in _SUBNETS:
        if name in spec:
            yield from _subnet(("spec", name), spec[name], family, kind)
    yield from _external_prefixes(spec.get("externalPrefixes", ()))


def _external_prefixes(texts: Iterable[str]) -> Iterator[Finding]:
    seen: dict[Prefix, str] = {}
    for index, text in enumerate(texts):
        path: Path = ("spec", "externalPrefixes", index)
        if wrong := tuple(_cidr(path, text)):
            yield from wrong
            continue
        prefix = ip_network(text)
        yield from outside_rules.external_prefix(path, text)
        if prefix in seen:
            found = f"{quoted(text)} is there twice"
            yield Finding(path, found, f"expected each prefix once ({quoted(seen[prefix])} stands before)")
        seen[prefix] = text


def _subnet(path: Path, subnet: Data, family: int, kind: str) -> Iterator[Finding]:
    wrong = tuple(_cidr((*path, "prefix"), subnet["prefix"], family))
    yield from wrong
    if wrong or kind == "external":
        return
    prefix = ip_network(subnet["prefix"])
    yield from _reserved((*path, "prefix"), prefix)
    if kind != "l3":
        return
    length = subnet["hostLocalPrefixLength"]
    if length < prefix.prefixlen:
        yield Finding(
            (*path, "prefix"),
            f"{quoted(subnet['prefix'])} is too small for a node's block of /{length}",
            f"expected a prefix of /{length} or shorter, or hostLocalPrefixLength {prefix.prefixlen} or more",
        )


def _reserved(path: Path, prefix: Prefix) -> Iterator[Finding]:
    taken = [f"{each} ({why})" for each, why in RESERVED.items() if prefix.overlaps(each)]
    if taken:
        found = f'"{prefix}" overlaps {", ".join(taken)}'
        yield Finding(path, found, f"expected one that pods can use, such as {_EXAMPLES[prefix.version]}")


def _cidr(path: Path, text: str, family: int | None = None) -> Iterator[Finding]:
    expected = f"expected one such as {_EXAMPLES[family or 4]}"
    name = f"an IPv{family} CIDR" if family else "a CIDR"
    try:
        prefix = _parsed(text, family)
    except (AddressValueError, NetmaskValueError, ValueError):
        yield Finding(path, f"{quoted(text)} is not {name}", expected)
        return
    if str(prefix.network_address) != str(ip_address(text.partition("/")[0])):
        yield Finding(path, f"{quoted(text)} has host bits set", f'expected "{prefix}"')


def _parsed(text: str, family: int | None) -> Prefix:
    if family == 4:
        return IPv4Network(text, strict=False)
    if family == 6:
        return IPv6Network(text, strict=False)
    return ip_network(text, strict=False)


def _routing_policy(data: Data) -> Iterator[Finding]:
    for name in ("srcSelector", "destSelector"):
        yield from _network_selector(("spec", name), data["spec"][name])


def _service_policy(data: Data) -> Iterator[Finding]:
    yield from _routing_policy(data)
    yield from _terms(("spec", "namespaceSelector"), data["spec"].get("namespaceSelector", {}))


def _binding_policy(data: Data) -> Iterator[Finding]:
    for name in ("namespaceSelector", "selector"):
        yield from _terms(("spec", name), data["spec"].get(name, {}))


def _network_selector(path: Path, selector: Data) -> Iterator[Finding]:
    labels = [name for name in ("matchLabels", "matchExpressions") if name in selector]
    if "name" in selector and labels:
        yield Finding(path, f"has name and {' and '.join(labels)}", "expected either a name or labels")
    yield from _terms(path, selector)


def _terms(path: Path, selector: Data) -> Iterator[Finding]:
    for index, term in enumerate(selector.get("matchExpressions", ())):
        values = term.get("values", [])
        where: Path = (*path, "matchExpressions", index, "values")
        if term["operator"] in ("In", "NotIn") and not values:
            yield Finding(
                where, "is missing or empty", f"expected at least one value with {term['operator']}"
            )
        if term["operator"] in ("Exists", "DoesNotExist") and values:
            yield Finding(where, f"{quoted(values)} is set", f"expected none with {term['operator']}")


def _allocation(data: Data) -> Iterator[Finding]:
    spec = data["spec"]
    if not any(name in spec for name, _ in _BLOCKS):
        yield Finding(("spec",), "has no block", "expected ipv4Block, ipv6Block or both")
    for name, family in _BLOCKS:
        if name in spec:
            yield from _cidr(("spec", name), spec[name], family)


def _endpoint(data: Data) -> Iterator[Finding]:
    yield from _addresses(("spec", "addresses"), enumerate(data["spec"]["addresses"]))
    yield from _addresses(("spec", "gateways"), enumerate(data["spec"].get("gateways", ())))


def _node(data: Data) -> Iterator[Finding]:
    path: Path = ("status", "addresses")
    own = [
        (index, entry["address"])
        for index, entry in enumerate(data["status"]["addresses"] or ())
        if entry["type"] == "InternalIP"
    ]
    if not own:
        yield Finding(path, "has no InternalIP", "expected the node's underlay address")
    for index, text in own:
        for finding in _addresses(path, iter([(index, text)])):
            yield Finding((*finding.path, "address"), finding.found, finding.expected)


def _pod(data: Data) -> Iterator[Finding]:
    status = data.get("status") or {}
    path: Path = ("status", "podIPs")
    for finding in _addresses(path, enumerate(entry["ip"] for entry in status.get("podIPs") or ())):
        yield Finding((*finding.path, "ip"), finding.found, finding.expected)
    if "podIP" in status:
        yield from (
            Finding(("status", "podIP"), finding.found, finding.expected)
            for finding in _addresses((), iter([(0, status["podIP"])]))
        )


def _addresses(path: Path, texts: Iterator[tuple[int, str]]) -> Iterator[Finding]:
    """At most one address of each family."""
    families: dict[int, str] = {}
    for index, text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            yield Finding(
                (*path, index), f"{quoted(text)} is not an IP address", 'expected one such as "10.0.0.2"'
            )
            continue
        other = families.setdefault(address.version, text)
        if other != text:
            yield Finding(
                (*path, index),
                f"{quoted(text)} is a second IPv{address.version} address",
                f"expected one of each family ({quoted(other)} stands before)",
            )


_RULES: Mapping[str, Callable[[Data], Iterator[Finding]]] = {
    "Network": _network,
    "NetworkRoutingPolicy": _routing_policy,
    "ServiceRoutingPolicy": _service_policy,
    "NetworkBindingPolicy": _binding_policy,
    "NetworkEndpoint": _endpoint,
    "Allocation": _allocation,
    "Node": _node,
    "Pod": _pod,
    "Service": service_rules.service,
    "EndpointSlice": service_rules.endpoint_slice,
    "ExternalHost": outside_rules.external_host,
}
