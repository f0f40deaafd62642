"""What is asked of the lab's agent and what it saw: plain values, and their form on its socket."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lace_sdn.model.objects import Protocol


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod as the agent sees it. ``identity`` changes when a namespace of the same name is another one."""

    id: str
    namespace: str
    identity: int
    ports: tuple[tuple[Protocol, int], ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Resident:
        ports = tuple((Protocol(protocol), int(number)) for protocol, number in value["ports"])
        return cls(value["id"], value["namespace"], value["identity"], ports)


@dataclass(frozen=True, slots=True)
class Probe:
    """A token sent by the pod ``source`` to an address; ``port`` is 0 for ICMP."""

    source: str
    address: str
    protocol: Protocol
    port: int = 0

    def as_json(self) -> list[Any]:
        return [self.source, self.address, self.protocol, self.port]

    @classmethod
    def from_json(cls, value: list[Any]) -> Probe:
        source, address, protocol, port = value
        return cls(source, address, Protocol(protocol), port)


@dataclass(frozen=True, slots=True)
class Observation:
    """Which pods the token reached (whatever address it bore), and which one's answer came back to the source.

    ``refused``: the source was told at once that nobody takes it (a reset, an ICMP error).
    """

    seen_at: tuple[str, ...] = ()
    answered_by: tuple[str, ...] = ()
    refused: bool = False

    def as_json(self) -> list[Any]:
        return [list(self.seen_at), list(self.answered_by), self.refused]

    @classmethod
    def from_json(cls, value: list[Any]) -> Observation:
        seen_at, answered_by, refused = value
        return cls(tuple(seen_at), tuple(answered_by), bool(refused))
