"""What no pod may use up: how much of what all pods of a node share one port gets. Meters of the switch, one a port and kind.

Numbers of meters are those of ports, so that an operator finds a pod's by ``ovs-ofctl meter-stats BRIDGE meter=OFPORT``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.actions import MeterAction
from lace_sdn.openflow.fields import IN_PORT
from lace_sdn.openflow.flow import Meter
from lace_sdn.openflow.match import Match, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import GATEWAY_PORT, SECOND_ZONE, Priority

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.unit import Owner

TOLD_A_SECOND: Final = 100
"""Packets of one port that are answered by the controller: refused, or too large. So many may also come at once."""
REMEMBERED_CLIENTS: Final = 4096
"""Of a port of a Service with affinity: pods, and again as many addresses of the world outside. Others are served by a hash of theirs."""
CONNECTIONS: Final = 65_536
"""Conntrack entries of one zone of a pod, where the operator says no other number. A pod has two zones."""
OUTSIDE_SHARE: Final = 4
"""So many times as many has the zone of what comes in from the world outside: all its clients share it."""
LAST_METER: Final = 0xFFFF
"""Meters of ours are 1..65535; others are somebody else's."""


def connection_limits(ports: Iterable[int], limit: int) -> dict[int, int]:
    """Entries that conntrack zones may have, by zone: ``limit`` for each of the pods' at these ofports; none at all for 0."""
    if not limit:
        return {}
    pods = {zone: limit for port in ports for zone in (port, SECOND_ZONE | port)}
    return {**pods, GATEWAY_PORT: OUTSIDE_SHARE * limit}


OTHER_PORTS: Final = "the world outside"
"""Who has no meter of its own."""


class PortLimit(NamedTuple):
    """What a meter is for: whose port, the kind of limit, and the limit in words."""

    port: int
    kind: str
    text: str


def limit_of(meter: int) -> PortLimit | None:
    """By the meter's number; None for one that no program has."""
    if not 1 <= meter <= GATEWAY_PORT:
        return None
    text = f"{TOLD_A_SECOND} packets a second that the controller answers (refused or too large)"
    return PortLimit(meter, "refusals", text)


def told_limit(owner: Owner, port: int) -> Flow:
    """Packets of ``port`` to the controller pass its own meter."""
    return owner.flow(tables.CONTROLLER_LIMIT, Priority.LOW, Match(term(IN_PORT, port)), MeterAction(port))


def told_meter(owner: Owner, port: int) -> Meter:
    """The meter that ``told_limit`` needs."""
    return Meter(port, TOLD_A_SECOND, TOLD_A_SECOND, owner.text)


def others_told_limit(owner: Owner) -> Flow:
    """Ports without a row of their own share one: what comes from the world outside, and what nobody thought of."""
    return owner.flow(tables.CONTROLLER_LIMIT, Priority.DEFAULT, Match(), MeterAction(GATEWAY_PORT))


def others_told_meter(owner: Owner) -> Meter:
    """The meter that ``others_told_limit`` needs."""
    return told_meter(owner, GATEWAY_PORT)
