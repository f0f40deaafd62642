"""Who may reach whom as a whole: every connection that pods could start, and the lines in which people write it down.

``FROM -> TO PROTO/PORT VERDICT [v4|v6]``; pairs that no line names are denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.oracle import Connection, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint

FORM = "expected FROM -> TO PROTO/PORT allow|deny [v4|v6], such as: shop/web-0 -> shop/db-0 tcp/5432 allow"
FAMILIES = (4, 6)
_PORT_DIGITS = 5


def connections(state: ClusterState) -> Iterator[Connection]:
    """Every pod to every other pod: its declared ports and ICMP, in each address family that both have."""
    for source in state.endpoints:
        for destination in state.endpoints:
            if source is not destination:
                yield from _between(source, destination)


def _between(source: Endpoint, destination: Endpoint) -> Iterator[Connection]:
    asked = [(port.protocol, port.number) for port in destination.ports]
    for family in shared_families(source, destination):
        for protocol, number in [*asked, (Protocol.ICMP, 0)]:
            yield Connection(source.id, destination.id, protocol, number, family)


def shared_families(one: Endpoint, other: Endpoint) -> tuple[int, ...]:
    """4, 6 or both: what both have an address of."""
    versions = {address.version for address in one.addresses} & {
        address.version for address in other.addresses
    }
    return tuple(family for family in FAMILIES if family in versions)


def intended(state: ClusterState) -> dict[Connection, bool]:
    """What the objects mean, for each of ``connections``."""
    return {connection: verdict(state, connection).allowed for connection in connections(state)}


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
    allowed: bool
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
    match words:
        case [source, "->", destination, probe, "allow" | "deny" as word]:
            return Line(source, destination, *parse_probe(probe), word == "allow")
        case [source, "->", destination, probe, "allow" | "deny" as word, "v4" | "v6" as family]:
            return Line(source, destination, *parse_probe(probe), word == "allow", (int(family[1]),))
    raise ValueError(f"{' '.join(words)!r}: {FORM}")


def expected(state: ClusterState, lines: tuple[Line, ...]) -> Mapping[Connection, bool]:
    """A verdict for each of ``connections``: what the lines say, deny where they say nothing.

    Raises ValueError for a line about a connection that the cluster does not have, or that two lines judge differently.
    """
    answers = dict.fromkeys(connections(state), False)
    said: dict[Connection, bool] = {}
    for line in lines:
        asked = [
            connection
            for family in line.families
            if (connection := Connection(line.source, line.destination, line.protocol, line.port, family))
            in answers
        ]
        text = f"{line.source} -> {line.destination} {probe_name(line.protocol, line.port)}"
        if not asked and not _is_never(state, line):
            raise ValueError(f"{text}: no such pods, port or common address family in the cluster")
        for connection in asked:
            if said.setdefault(connection, line.allowed) != line.allowed:
                raise ValueError(f"{text}: both allowed and denied, over IPv{connection.family}")
    return answers | said


def _is_never(state: ClusterState, line: Line) -> bool:
    """A denied line between pods without a common address family: true, and worth saying."""
    ends = [state.endpoint_by_id.get(name) for name in (line.source, line.destination)]
    return not line.allowed and None not in ends
