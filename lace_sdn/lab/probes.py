"""What is asked of the lab's agent and what it saw: plain values, and their form on its socket."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from lace_sdn.lab.links import POD_DEVICE
from lace_sdn.model.objects import Protocol


class Hearing(StrEnum):
    """Which frames on its links a place has seen."""

    ALL = "all"
    """Whatever comes by its cable: a pod."""
    ADDRESSED = "addressed"
    """What is sent to its MAC: a host on a wire that others share."""
    SERVED = "served"
    """What its own stack keeps, of its MAC, its addresses and its ports; not what it forwards: a node."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A place as the agent sees it. ``identity`` changes when its namespace or one of its ``devices`` is another one.

    ``id``: a pod (``namespace/name``), ``host NAME`` or ``node NAME``. ``addresses``: where SERVED hears.
    """

    id: str
    namespace: str
    identity: tuple[int, ...]
    ports: tuple[tuple[Protocol, int], ...]
    devices: tuple[str, ...] = (POD_DEVICE,)
    hearing: Hearing = Hearing.ALL
    addresses: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Resident:
        return cls(
            value["id"],
            value["namespace"],
            tuple(value["identity"]),
            tuple((Protocol(protocol), int(number)) for protocol, number in value["ports"]),
            tuple(value["devices"]),
            Hearing(value["hearing"]),
            tuple(value["addresses"]),
        )

    def is_same_place(self, other: Resident) -> bool:
        """Whether only the ports may differ."""
        return replace(self, ports=()) == replace(other, ports=())


@dataclass(frozen=True, slots=True)
class Probe:
    """A token sent from the place ``source`` to an address, by one connection; ``port`` is 0 for ICMP.

    ``patience``: seconds without an answer after which it is over. ``source_port``: 0 for one of its own; probes of one
    question that a place sends with the same one are connected at the same time, and each is asked again while all are.
    """

    source: str
    address: str
    protocol: Protocol
    port: int = 0
    patience: float = 1.0
    source_port: int = 0

    def as_json(self) -> list[Any]:
        return [self.source, self.address, self.protocol, self.port, self.patience, self.source_port]

    @classmethod
    def from_json(cls, value: list[Any]) -> Probe:
        source, address, protocol, port, patience, source_port = value
        return cls(source, address, Protocol(protocol), port, float(patience), source_port)


@dataclass(frozen=True, slots=True)
class Observation:
    """Which places the token reached (whatever address it bore), and which one's answer came back to the source.

    ``refused``: the source was told at once that nobody takes it (a reset, an ICMP error). ``lost``: the connection was made,
    and was silent when others from its source port had been made too.
    """

    seen_at: tuple[str, ...] = ()
    answered_by: tuple[str, ...] = ()
    refused: bool = False
    lost: bool = False

    def as_json(self) -> list[Any]:
        return [list(self.seen_at), list(self.answered_by), self.refused, self.lost]

    @classmethod
    def from_json(cls, value: list[Any]) -> Observation:
        seen_at, answered_by, refused, lost = value
        return cls(tuple(seen_at), tuple(answered_by), bool(refused), bool(lost))
