"""Who may reach whom as a whole: every connection that pods could start, and the lines in which people write it down.

``FROM -> TO PROTO/PORT VERDICT [v4|v6] [by POD ...]``; TO is a pod, or ``service NAMESPACE/NAME``; pairs that no line names are
denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.oracle import SERVICE_PREFIX, Connection, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint, Service
    from lace_sdn.policy.oracle import Verdict

FORM = (
    "expected FROM -> TO PROTO/PORT allow|deny|reject [v4|v6] [by POD ...], such as: "
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

    To pods: their declared ports and ICMP; to Services: their ports. SCTP is not asked.
    """
    for source in state.endpoints:
        for destination in state.endpoints:
            if source is not destination:
                yield from _between(source, destination)
        for service in state.services:
            yield from _to_service(source, service)


def _between(source: Endpoint, destination: Endpoint) -> Iterator[Connection]:
    asked = [(port.protocol, port.number) for port in destination.ports if port.protocol is not Protocol.SCTP]
    for family in shared_families(source.addresses, destination.addresses):
        for protocol, number in [*asked, (Protocol.ICMP, 0)]:
            yield Connection(source.id, destination.id, protocol, number, family)


def _to_service(source: Endpoint, service: Service) -> Iterator[Connection]:
    for family in shared_families(source.addresses, service.vips):
        for port in service.ports:
            if port.protocol is not Protocol.SCTP:
                name = SERVICE_PREFIX + service.id
                yield Connection(source.id, name, port.protocol, port.number, family)


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
    said, backends = words[:place], words[place + 1 :]
    if said[2:3] == [SERVICE_PREFIX.strip()]:
        said[2:4] = [" ".join(said[2:4])]
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
        unknown = sorted((line.meant.backends or frozenset()) - state.endpoint_by_id.keys())
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
    ends = {*state.endpoint_by_id, *(SERVICE_PREFIX + name for name in state.service_by_id)}
    return line.meant == DENIED and {line.source, line.destination} <= ends
