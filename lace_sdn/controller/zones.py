"""Which conntrack zones must be emptied before a bridge gets a new program. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lace_sdn.openflow.fields import IN_PORT
from lace_sdn.pipeline.constants import LAST_POD_PORT, SECOND_ZONE
from lace_sdn.pipeline.tables import CLASSIFIER, SPOOF_GUARD

if TYPE_CHECKING:
    from lace_sdn.openflow.flow import BridgeProgram, Flow


def stale_zones(installed: BridgeProgram, desired: BridgeProgram) -> tuple[int, ...]:
    """The zones of ports whose pod is another one than before, in order of port: its ofport, and its second zone.

    A port is judged by the flows that say who sits behind it: classification and spoof guard. A pod must never meet
    the connections of its predecessor.
    """
    before, after = _identities(installed), _identities(desired)
    ports = sorted(port for port in before.keys() | after.keys() if before.get(port) != after.get(port))
    return tuple(zone for port in ports for zone in (port, SECOND_ZONE | port))


def _identities(program: BridgeProgram) -> dict[int, frozenset[Flow]]:
    found: dict[int, set[Flow]] = defaultdict(set)
    for flow in program.flows:
        if flow.table > SPOOF_GUARD.number:
            break
        port = flow.match.get(IN_PORT)
        if flow.table in (CLASSIFIER.number, SPOOF_GUARD.number) and port and port.value <= LAST_POD_PORT:
            found[port.value].add(flow)
    return {port: frozenset(flows) for port, flows in found.items()}
