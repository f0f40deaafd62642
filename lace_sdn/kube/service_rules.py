"""What a schema cannot say about one Service or EndpointSlice. Kubernetes refuses the same; a folder has no API server."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.problems import Finding, Path, any_of, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.model.objects import Address, Prefix

Data = dict[str, Any]

HEADLESS: Final = "None"
LONGEST_AFFINITY: Final = 86_400
"""Seconds (Kubernetes API: ClientIPConfig)."""
DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
FAMILIES: Final = {"IPv4": 4, "IPv6": 6}
OPEN_ON_NODES: Final = ("NodePort", "LoadBalancer")
TUNNELS: Final = ("UDP", 6081)
"""Where nodes send to each other (IANA: geneve); a NodePort there would swallow it."""
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_PORT_NAME: Final = 15

RESERVED: Final[Mapping[Prefix, str]] = {
    ip_network(text): why
    for text, why in {
        "0.0.0.0/8": "this host",
        "127.0.0.0/8": "loopback",
        "169.254.0.0/16": "link-local, with the pods' gateway 169.254.127.1",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved, with broadcast",
        "::/128": "no address",
        "::1/128": "loopback",
        "::ffff:0:0/96": "IPv4-mapped",
        "64:ff9b:1::/48": "local translation, with the addresses of pods that call themselves through a VIP",
        "fe80::/10": "link-local, with the pods' gateway fe80::1",
        "ff00::/8": "multicast",
    }.items()
}
"""Addresses that no pod and no VIP can have (RFC 6890, RFC 4291, RFC 8215)."""


def has_no_vip(spec: Data) -> bool:
    """Headless Services and ExternalNames: nothing is to be served."""
    return spec.get("type") == "ExternalName" or HEADLESS in _written(spec)


def is_open_on_nodes(spec: Data) -> bool:
    """Whether its ports may have NodePorts."""
    return spec.get("type") in OPEN_ON_NODES


def node_ports(spec: Data) -> Iterator[tuple[Path, Data, int]]:
    """Each NodePort that is written: where, for which port, its number."""
    for index, port in enumerate(spec.get("ports") or ()):
        if port.get("nodePort"):
            yield ("spec", "ports", index, "nodePort"), port, int(port["nodePort"])


def cluster_ips(spec: Data) -> list[tuple[Path, str]]:
    """Where each cluster IP is written, and its text; none while none is assigned."""
    if spec.get("clusterIPs"):
        return [(("spec", "clusterIPs", index), text) for index, text in enumerate(spec["clusterIPs"])]
    return [(("spec", "clusterIP"), spec["clusterIP"])] if spec.get("clusterIP") else []


def _written(spec: Data) -> list[str]:
    return [text for _, text in cluster_ips(spec)]


def service(data: Data) -> Iterator[Finding]:
    """Everything wrong with a Service that is to be served."""
    spec = data["spec"]
    if has_no_vip(spec):
        return
    yield from _cluster_ips(spec)
    if not spec.get("ports"):
        yield Finding(("spec", "ports"), "is missing or empty", "expected at least one port")
    yield from _ports(spec.get("ports") or [])
    yield from _on_nodes(spec)
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = config.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= LONGEST_AFFINITY:
        path: Path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        size = "small" if seconds < 1 else "large"
        yield Finding(path, f"{seconds} is too {size}", f"expected 1 to {LONGEST_AFFINITY} seconds")
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        yield Finding(
            ("spec", "trafficDistribution"),
            f"{quoted(distribution)} is unknown",
            f"expected {any_of(DISTRIBUTIONS)}",
        )


def _cluster_ips(spec: Data) -> Iterator[Finding]:
    families: dict[int, str] = {}
    for path, text in cluster_ips(spec):
        address = _address(text)
        if address is None:
            yield Finding(path, f"{quoted(text)} is not an IP address", 'expected one such as "10.96.0.10"')
            continue
        yield from _reserved(path, address)
        if address.version in families:
            yield Finding(
                path,
                f"{quoted(text)} is a second IPv{address.version} address",
                f"expected one of each family ({quoted(families[address.version])} stands before)",
            )
        families[address.version] = text
    first, listed = spec.get("clusterIP"), spec.get("clusterIPs")
    if first and listed and first != listed[0]:
        found = f"{quoted(first)} is not the first of clusterIPs"
        yield Finding(("spec", "clusterIP"), found, f"expected {quoted(listed[0])}")


def _address(text: str) -> Address | None:
    """None for what is no address; one of an interface ("fe80::1%eth0") is none for others."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _reserved(path: Path, address: Address) -> Iterator[Finding]:
    for prefix, why in RESERVED.items():
        if address in prefix:
            yield Finding(path, f'"{address}" lies in {prefix} ({why})', "expected another address")


def _ports(ports: list[Data]) -> Iterator[Finding]:
    numbers: set[tuple[str, int]] = set()
    names: set[str] = set()
    for index, port in enumerate(ports):
        path: Path = ("spec", "ports", index)
        key = (port.get("protocol", "TCP"), port["port"])
        if key in numbers:
            yield Finding(path, f"port {key[0]} {key[1]} is there twice", "expected each port once")
        numbers.add(key)
        name = port.get("name") or ""
        if len(ports) > 1 and not name:
            yield Finding((*path, "name"), "is missing", "expected a name for each of several ports")
        if name and name in names:
            yield Finding((*path, "name"), f"{quoted(name)} is used twice", "expected another name")
        names.add(name)
        yield from _target((*path, "targetPort"), port.get("targetPort"))


def _on_nodes(spec: Data) -> Iterator[Finding]:
    """What belongs to the types NodePort and LoadBalancer, and to the latter alone."""
    kind = spec.get("type") or "ClusterIP"
    policy, health = spec.get("externalTrafficPolicy"), spec.get("healthCheckNodePort")
    if policy and not is_open_on_nodes(spec) and not spec.get("externalIPs"):
        found, expected = f"{quoted(policy)} is set", f"expected none with type {kind}"
        yield Finding(("spec", "externalTrafficPolicy"), found, expected)
    if health and (kind, policy) != ("LoadBalancer", "Local"):
        expected = "expected none but with type LoadBalancer and externalTrafficPolicy Local"
        yield Finding(("spec", "healthCheckNodePort"), f"{health} is set", expected)
    seen: set[tuple[str, int]] = set()
    for path, port, number in node_ports(spec):
        key = (port.get("protocol", "TCP"), number)
        if not is_open_on_nodes(spec):
            yield Finding(path, f"{number} is set", f"expected none with type {kind}")
        elif key == TUNNELS:
            found = f"{key[0]} {number} is where tunnels between nodes end"
            yield Finding(path, found, "expected another port, such as one from 30000 to 32767")
        elif key in seen:
            yield Finding(path, f"{key[0]} {number} is there twice", "expected each NodePort once")
        seen.add(key)


def _target(path: Path, target: int | str | None) -> Iterator[Finding]:
    if target is None:
        return
    if not isinstance(target, str) and not 1 <= target <= 0xFFFF:
        yield Finding(path, f"{target} is no port", "expected a port from 1 to 65535, or a name")
    if isinstance(target, str) and not (_PORT_NAME.fullmatch(target) and len(target) <= _LONGEST_PORT_NAME):
        found = f"{quoted(target)} is no name of a port"
        yield Finding(path, found, 'expected a port from 1 to 65535, or a name such as "http"')


def endpoint_slice(data: Data) -> Iterator[Finding]:
    """Addresses must be of the slice's type; FQDN is passed over."""
    family = FAMILIES.get(data["addressType"])
    for index, endpoint in enumerate(data.get("endpoints") or () if family else ()):
        for place, text in enumerate(endpoint["addresses"]):
            path: Path = ("endpoints", index, "addresses", place)
            address = _address(text)
            if address is None:
                yield Finding(path, f"{quoted(text)} is not an IP address", f"expected one of IPv{family}")
            elif address.version != family:
                found = f"{quoted(text)} is an IPv{address.version} address"
                yield Finding(path, found, f"expected one of IPv{family}, as addressType says")
