"""Who may reach whom as a whole: every connection that could be started, and the lines in which people write it down.

``FROM -> TO PROTO/PORT VERDICT [v4|v6] [by END ...]``; an end is a pod, ``host NAME`` (outside the cluster) or ``node NAME``, TO
also ``service NAMESPACE/NAME``; pairs that no line names are denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.ends import (
    HOST_PREFIX,
    NODE_PREFIX,
    SERVICE_PREFIX,
    addresses_of,
    entry_node,
    is_outside,
)
from lace_sdn.policy.oracle import Connection, node_port, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Port, Service
    from lace_sdn.policy.oracle import Verdict

    _Asked = tuple[Protocol, int]

FORM = (
    "expected FROM -> TO PROTO/PORT allow|deny|reject [v4|v6] [by END ...], such as: "
    "shop/web-0 -> shop/db-0 tcp/5432 allow, or shop/web-0 -> service shop/db tcp/5432 allow by shop/db-0 shop/db-1"
)
FAMILIES = (4, 6)
_PORT_DIGITS = 5


class Outcome(StrEnum):
    """What becomes of a connection: it is made, there is silence, or it is refused at once."""

    ALLOW = "allow"
    DENY = "deny"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Expectation:
    """``backends``: all the pods that answer one or another attempt; None: not said."""

    outcome: Outcome
    backends: frozenset[str] | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Expectation:
        if verdict.allowed:
            return cls(Outcome.ALLOW, frozenset(verdict.backends))
        return cls(Outcome.REJECT if verdict.is_rejected else Outcome.DENY)

    @property
    def is_allowed(self) -> bool:
        return self.outcome is Outcome.ALLOW

    def agrees_with(self, other: Expectation) -> bool:
        """What one of them leaves open, the other may say."""
        is_open = self.backends is None or other.backends is None
        return self.outcome is other.outcome and (is_open or self.backends == other.backends)


DENIED = Expectation(Outcome.DENY)


def connections(state: ClusterState) -> Iterator[Connection]:
    """Every pod to every other pod, and to every Service, in each address family that both have.

    To pods: their declared ports and ICMP; to Services: their ports. SCTP is not asked. Where the objects speak of the world
    outside, hosts and nodes take part: pods to them and they to pods, to Services and to NodePorts.
    """
    has_outside = _has_outside(state)
    for source in state.endpoints:
        for destination in state.endpoints:
            if source is not destination:
                yield from _between(state, source.id, destination.id, _listened(destination.ports))
        for service in state.services:
            yield from _to_service(state, source.id, service)
        if has_outside:
            yield from _to_outside(state, source.id)
    if has_outside:
        hosts = [HOST_PREFIX + host.name for host in state.external_hosts]
        for name in (*hosts, *(NODE_PREFIX + node.name for node in state.nodes)):
            yield from _from_outside(state, name)


def _has_outside(state: ClusterState) -> bool:
    return bool(
        state.external_hosts
        or state.host_pods
        or any(network.is_external for network in state.networks)
        or any(endpoint.probes for endpoint in state.endpoints)
        or any(port.node_port for service in state.services for port in service.ports)
    )


def _listened(ports: Iterable[Port]) -> list[_Asked]:
    return [(port.protocol, port.number) for port in ports if port.protocol is not Protocol.SCTP]


def _between(
    state: ClusterState, source: str, destination: str, ports: Iterable[_Asked]
) -> Iterator[Connection]:
    asked = dict.fromkeys((*ports, (Protocol.ICMP, 0)))
    for family in shared_families(addresses_of(state, source), addresses_of(state, destination)):
        if _has_way(state, source, destination, family):
            for protocol, number in asked:
                yield Connection(source, destination, protocol, number, family)


def _has_way(state: ClusterState, source: str, destination: str, family: int) -> bool:
    """Whether the node between a pod and the world outside has an address of the family, without which nothing is forwarded."""
    if not (is_outside(source) or is_outside(destination)):
        return True
    node = state.node_by_name[entry_node(state, source)]
    return any(address.version == family for address in node.addresses)


def _to_service(state: ClusterState, source: str, service: Service) -> Iterator[Connection]:
    name = SERVICE_PREFIX + service.id
    for family in shared_families(addresses_of(state, source), service.vips):
        for port in service.ports:
            if port.protocol is not Protocol.SCTP and _has_way(state, source, name, family):
                yield Connection(source, name, port.protocol, port.number, family)


def _to_outside(state: ClusterState, source: str) -> Iterator[Connection]:
    """A pod to hosts, and to nodes: NodePorts, and what listens there by itself."""
    for host in state.external_hosts:
        yield from _between(state, source, HOST_PREFIX + host.name, _listened(host.ports))
    node_ports = _node_ports(state)
    for node in state.nodes:
        own = [port for pod in state.host_pods if pod.node == node.name for port in _listened(pod.ports)]
        yield from _between(state, source, NODE_PREFIX + node.name, [*own, *node_ports])


def _from_outside(state: ClusterState, source: str) -> Iterator[Connection]:
    """A host or a node to pods, by their declared ports and those of probes, to VIPs and to NodePorts."""
    for destination in state.endpoints:
        probed = [(Protocol.TCP, number) for number in destination.probes]
        yield from _between(state, source, destination.id, [*_listened(destination.ports), *probed])
    for service in state.services:
        yield from _to_service(state, source, service)
    for node in state.nodes:
        for protocol, number in _node_ports(state):
            for family in shared_families(addresses_of(state, source), node.addresses):
                asked = Connection(source, NODE_PREFIX + node.name, protocol, number, family)
                if node_port(state, asked) is not None:
                    yield asked


def _node_ports(state: ClusterState) -> list[_Asked]:
    return [
        (port.protocol, port.node_port)
        for service in state.services
        for port in service.ports
        if port.node_port and port.protocol is not Protocol.SCTP
    ]


def shared_families(one: tuple[Address, ...], other: tuple[Address, ...]) -> tuple[int, ...]:
    """4, 6 or both: what both have an address of."""
    versions = {address.version for address in one} & {address.version for address in other}
    return tuple(family for family in FAMILIES if family in versions)


def intended(state: ClusterState) -> dict[Connection, Expectation]:
    """What the objects mean, for each of ``connections``."""
    return {connection: Expectation.of(verdict(state, connection)) for connection in connections(state)}


def probe_name(protocol: Protocol, port: int) -> str:
    """``tcp/8080``, ``icmp``."""
    return "icmp" if protocol is Protocol.ICMP else f"{protocol.lower()}/{port}"


def parse_probe(text: str) -> tuple[Protocol, int]:
    """The inverse of ``probe_name``. Raises ValueError that says what was expected."""
    word, _, number = text.partition("/")
    if word.upper() not in Protocol.__members__:
        raise ValueError(f"{text!r}: expected tcp/PORT, udp/PORT or icmp")
    protocol = Protocol[word.upper()]
    if protocol is Protocol.ICMP:
        if number:
            raise ValueError(f"{text!r}: icmp has no port")
        return protocol, 0
    if (
        not (number.isascii() and number.isdigit() and len(number) <= _PORT_DIGITS)
        or not 1 <= int(number) <= 0xFFFF
    ):
        raise ValueError(f"{text!r}: expected a port from 1 to 65535")
    return protocol, int(number)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a ``reachability.txt``; ``families`` as written: one, or both."""

    source: str
    destination: str
    protocol: Protocol
    port: int
    meant: Expectation
    families: tuple[int, ...] = FAMILIES


def parse(text: str, name: str = "reachability.txt") -> tuple[Line, ...]:
    """The lines of a text; ``#`` starts a comment. Raises ValueError with ``name`` and line number."""
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        words = raw.partition("#")[0].split()
        if not words:
            continue
        try:
            found.append(_line(words))
        except ValueError as error:
            raise ValueError(f"{name}:{number}: {error}") from None
    return tuple(found)


def _line(words: list[str]) -> Line:
    place = words.index("by") if "by" in words else len(words)
    said, backends = _joined(words[:place]), _joined(words[place + 1 :])
    match said:
        case [source, "->", destination, probe, "allow" | "deny" | "reject" as word]:
            families: tuple[int, ...] = FAMILIES
        case [source, "->", destination, probe, "allow" | "deny" | "reject" as word, "v4" | "v6" as family]:
            families = (int(family[1]),)
        case _:
            raise ValueError(f"{' '.join(words)!r}: {FORM}")
    if (place < len(words)) != bool(backends) or (backends and word != "allow"):
        raise ValueError(f"{' '.join(words)!r}: who answers what is allowed is expected behind by")
    meant = Expectation(Outcome(word), frozenset(backends) if backends else None)
    return Line(source, destination, *parse_probe(probe), meant, families)


def _joined(words: list[str]) -> list[str]:
    """With the two words of ``host NAME``, ``node NAME`` and ``service NAMESPACE/NAME`` as one."""
    found: list[str] = []
    kinds = {prefix.strip() for prefix in (HOST_PREFIX, NODE_PREFIX, SERVICE_PREFIX)}
    for word in words:
        if found and found[-1] in kinds:
            found[-1] = f"{found[-1]} {word}"
        else:
            found.append(word)
    return found


def expected(state: ClusterState, lines: tuple[Line, ...]) -> Mapping[Connection, Expectation]:
    """What is expected of each of ``connections``: what the lines say, deny where they say nothing.

    Raises ValueError for a line about a connection that the cluster does not have, or that two lines judge differently.
    """
    answers = dict.fromkeys(connections(state), DENIED)
    said: dict[Connection, Expectation] = {}
    for line in lines:
        asked = [
            connection
            for family in line.families
            if (connection := Connection(line.source, line.destination, line.protocol, line.port, family))
            in answers
        ]
        text = f"{line.source} -> {line.destination} {probe_name(line.protocol, line.port)}"
        unknown = sorted((line.meant.backends or frozenset()) - _ends(state))
        if unknown:
            raise ValueError(f"{text}: answered by {', '.join(unknown)}: no such pod in the cluster")
        if not asked and not _is_never(state, line):
            raise ValueError(f"{text}: no such pods, port or common address family in the cluster")
        for connection in asked:
            if said.setdefault(connection, line.meant) != line.meant:
                raise ValueError(f"{text}: judged in two ways, over IPv{connection.family}")
    return answers | said


def _is_never(state: ClusterState, line: Line) -> bool:
    """A denied line between ends without a common address family: true, and worth saying."""
    ends = {*_ends(state), *(SERVICE_PREFIX + name for name in state.service_by_id)}
    return line.meant == DENIED and {line.source, line.destination} <= ends


def _ends(state: ClusterState) -> set[str]:
    """All that start and answer connections."""
    hosts = {HOST_PREFIX + name for name in state.external_host_by_name}
    return {*state.endpoint_by_id, *hosts, *(NODE_PREFIX + name for name in state.node_by_name)}
