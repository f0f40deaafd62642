"""What a schema cannot say about addresses of the underlay: the prefixes of external Networks, and hosts of the lab."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.problems import Finding, Path, quoted
from lace_sdn.policy.external import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.model.objects import Prefix

Data = dict[str, Any]

METADATA_SERVICES: Final = ip_network("169.254.128.0/17")
"""The link-local addresses that may be hosts outside: clouds serve instance metadata there (169.254.169.254)."""

_INSTEAD: Final = {
    "169.254.0.0/16": f"expected one inside {METADATA_SERVICES}, where metadata services may be, or elsewhere",
    "::ffff:0:0/96": "expected the IPv4 prefix itself",
}


def nobodys(prefix: Prefix) -> Prefix | None:
    """The reserved prefix that all of ``prefix`` lies in; None if it has an address that can be a host's."""
    if _is_inside(prefix, METADATA_SERVICES):
        return None
    return next((each for each in NOBODY if _is_inside(prefix, each)), None)


def _is_inside(inner: Prefix, outer: Prefix) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def external_prefix(path: Path, text: str) -> Iterator[Finding]:
    """Why no address of the prefix can be a host's; one that merely contains reserved ones is fine, as 0.0.0.0/0."""
    taken = nobodys(ip_network(text))
    if taken:
        expected = _INSTEAD.get(str(taken), "expected one where hosts are")
        yield Finding(path, f"{quoted(text)} lies in {taken}, where no host of the underlay is", expected)


def external_host(data: Data) -> Iterator[Finding]:
    """Everything wrong with an ExternalHost by itself."""
    yield from _host_addresses(("spec", "addresses"), data["spec"]["addresses"])
    listeners: set[tuple[str, int]] = set()
    for index, port in enumerate(data["spec"]["ports"]):
        key = (port["protocol"], port["port"])
        if key in listeners:
            yield Finding(
                ("spec", "ports", index), f"port {key[0]} {key[1]} is there twice", "expected each port once"
            )
        listeners.add(key)


def _host_addresses(path: Path, texts: Iterable[str]) -> Iterator[Finding]:
    seen = set()
    for index, text in enumerate(texts):
        try:
            address = ip_address(text if "%" not in text else "")
        except ValueError:
            found = f"{quoted(text)} is not an IP address"
            yield Finding((*path, index), found, 'expected one such as "192.0.2.80"')
            continue
        taken = nobodys(ip_network(address))
        if taken:
            found = f"{quoted(text)} lies in {taken}, where no host of the underlay is"
            yield Finding((*path, index), found, "expected another address")
        if address in seen:
            yield Finding((*path, index), f"{quoted(text)} is there twice", "expected each address once")
        seen.add(address)
