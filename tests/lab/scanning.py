"""A port scan of a lab: every end asks every address at every port that anybody declares and at some that nobody does."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.lab import agent_client
from lace_sdn.lab.probes import Probe
from lace_sdn.model.objects import Protocol
from lace_sdn.pipeline.constants import (
    GATEWAY_IPV4,
    GATEWAY_PORT,
    HAIRPIN_SOURCE,
    HOST_ADDRESS,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
    TWIN_SOURCE,
)
from lace_sdn.policy.ends import HOST_PREFIX, NODE_PREFIX, SERVICE_PREFIX, addresses_of, is_outside
from lace_sdn.policy.oracle import Connection, node_port, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address

FIXED_PORTS = (
    1, 22, 53, 67, 80, 111, 179, 443, 500, 2379, 4789, 6081, 6443, 6640, 6653, 8080, 10250, 10256, 30000, 32767,
)  # fmt: skip
"""Twenty, of what listens on nodes and of nothing."""
SILENCE, PATIENCE = 0.4, 15.0
"""Seconds for what should reach nobody, and for what should be answered."""


class Asked(NamedTuple):
    source: str
    address: Address
    protocol: Protocol
    port: int


def ends(state: ClusterState) -> list[str]:
    """Who asks."""
    return [
        *(each.id for each in state.endpoints),
        *(HOST_PREFIX + each.name for each in state.external_hosts),
        *(NODE_PREFIX + each.name for each in state.nodes),
    ]


def addresses(state: ClusterState) -> dict[Address, list[str]]:
    """Every address of the lab, with the ends that have it; those of the data path itself have none."""
    found: dict[Address, list[str]] = {}
    for name in (*ends(state), *(SERVICE_PREFIX + each.id for each in state.services)):
        for address in addresses_of(state, name):
            found.setdefault(address, []).append(name)
    inner = [GATEWAY_IPV4, *HAIRPIN_SOURCE.values(), *TWIN_SOURCE.values()]
    inner += [*HOST_ADDRESS.values(), *NODE_PORT_ADDRESS.values()]
    for prefix in OUTWARD_SOURCES.values():
        first = int(prefix.network_address)
        inner += [
            ip_address(first + number) for number in (*range(1, len(state.endpoints) + 2), GATEWAY_PORT)
        ]
    return found | {address: [] for address in inner}


def questions(state: ClusterState) -> Iterator[Asked]:
    """All of them, but for what never enters a bridge: an end's own addresses, and the world outside among itself."""
    ports = sorted({*FIXED_PORTS, *_declared(state)})
    for source in ends(state):
        own = addresses_of(state, source)
        if source.startswith(NODE_PREFIX):
            own += tuple(HOST_ADDRESS.values())
        for address, bearers in addresses(state).items():
            if address in own or not any(each.version == address.version for each in own):
                continue
            for protocol in (Protocol.TCP, Protocol.UDP):
                for port in ports:
                    asked = Asked(source, address, protocol, port)
                    if not (
                        is_outside(source) and any(is_outside(each) for each in bearers)
                    ) or _is_node_port(state, asked, bearers):
                        yield asked


def _declared(state: ClusterState) -> Iterator[int]:
    yield from (port.number for each in state.endpoints for port in each.ports)
    yield from (number for each in state.endpoints for number in each.probes)
    yield from (port.number for each in (*state.external_hosts, *state.host_pods) for port in each.ports)
    for service in state.services:
        for port in service.ports:
            yield from (port.number, *(each.port for each in port.backends))
            if port.node_port:
                yield port.node_port


def _is_node_port(state: ClusterState, asked: Asked, bearers: list[str]) -> bool:
    return any(node_port(state, _connection(asked, each)) is not None for each in bearers)


def _connection(asked: Asked, destination: str) -> Connection:
    return Connection(asked.source, destination, asked.protocol, asked.port, asked.address.version)


def allowed(state: ClusterState, asked: Asked, bearers: list[str]) -> set[str]:
    """The ends that may hear of it."""
    return {name for each in bearers for name in verdict(state, _connection(asked, each)).backends}


def listening(state: ClusterState, name: str, protocol: Protocol, port: int) -> bool:
    """Whether somebody of that end answers there."""
    if name.startswith(NODE_PREFIX):
        pods = [each for each in state.host_pods if NODE_PREFIX + each.node == name]
        return any((each.protocol, each.number) == (protocol, port) for pod in pods for each in pod.ports)
    ports = (
        state.external_host_by_name[name.removeprefix(HOST_PREFIX)].ports
        if name.startswith(HOST_PREFIX)
        else state.endpoint_by_id[name].ports
    )
    return any((each.protocol, each.number) == (protocol, port) for each in ports)


def scan(lab: Lab, state: ClusterState) -> tuple[list[str], int, int]:
    """Sentences about what is not as allowed; how many questions there were, and how many of them were answered."""
    asked = list(questions(state))
    bearers = addresses(state)
    may = {each: allowed(state, each, bearers[each.address]) for each in asked}
    meant = {
        each for each in asked if may[each] and _should_answer(state, each, may[each], bearers[each.address])
    }
    probes = [
        Probe(
            each.source, str(each.address), each.protocol, each.port, PATIENCE if each in meant else SILENCE
        )
        for each in asked
    ]
    wrong, answered = [], 0
    for each, found in zip(asked, agent_client.probe(lab, probes), strict=True):
        answered += bool(found.answered_by)
        if not {*found.seen_at, *found.answered_by} <= may[each]:
            wrong.append(f"{_words(each)}: reached {found}, allowed {sorted(may[each])}")
        elif each in meant and not found.answered_by:
            wrong.append(f"{_words(each)}: no answer")
    return wrong, len(asked), answered


def _should_answer(state: ClusterState, asked: Asked, may: set[str], bearers: list[str]) -> bool:
    through_service = any(
        each.startswith(SERVICE_PREFIX) or node_port(state, _connection(asked, each)) for each in bearers
    )
    return through_service or any(listening(state, each, asked.protocol, asked.port) for each in may)


def _words(asked: Asked) -> str:
    return f"{asked.source} -> {asked.address} {asked.protocol.lower()}/{asked.port}"
