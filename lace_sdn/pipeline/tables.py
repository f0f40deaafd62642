"""The flow tables, declared once: numbers, names, what each decides, where it may send a packet next.

The order of a packet: source half (0-50) at the node of the sender, destination half (51-80) at the node of the receiver;
packets from a tunnel enter the second by 1 and 40. Tables from 100 on are subroutines: only ``resubmit`` reaches them, so
that every jump leads forward.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    number: int
    name: str
    decides: str
    """One sentence for docs/pipeline.md and the headings of the goldens."""
    next: tuple[int, ...] = ()
    """Tables that its flows may go to or resubmit to."""


CLASSIFIER = Table(0, "Classifier", "Who sent this: a pod's port, or a tunnel of a known node.", (1, 2))
TUNNEL_DECODE = Table(
    1, "TunnelDecode", "Which networks a packet from a tunnel comes from and goes to.", (40,)
)
SPOOF_GUARD = Table(2, "SpoofGuard", "Whether the sender uses its own MAC and addresses.", (3, 11))
ARP_RESPONDER = Table(3, "ArpResponder", "The answer to a request for the gateway's MAC.")
SOURCE_CONNTRACK = Table(11, "SourceConntrack", "Look the packet up in the zone of the sender's port.", (12,))
SOURCE_STATE = Table(12, "SourceState", "New, of an admitted connection, or neither.", (30, 37, 101, 102))
DESTINATION_NETWORK = Table(
    30, "DestinationNetwork", "Which network the address means, for this source.", (37, 100)
)
SOURCE_GATE = Table(37, "SourceGate", "Only permitted packets leave the source half.", (40,))
ROUTE = Table(40, "Route", "A local pod, or the node that holds the address.", (50,))
SOURCE_COMMIT = Table(50, "SourceCommit", "Admit a new connection in the zone of the sender's port.", (51,))
DISPATCH = Table(51, "Dispatch", "To the tunnel, or into the zone of the receiver's port.", (61, 80))
DESTINATION_STATE = Table(
    61, "DestinationState", "The sender's question again, asked by the receiver's node.", (67, 100, 101)
)
DESTINATION_GATE = Table(67, "DestinationGate", "Only permitted packets reach the port.", (70,))
DESTINATION_COMMIT = Table(
    70, "DestinationCommit", "Admit a new connection in the zone of the receiver's port.", (80,)
)
OUTPUT = Table(80, "Output", "Out.")
PERMIT_NEW = Table(
    100, "PermitNew", "May the sender's network start a connection to the receiver's?", (102, 103)
)
PERMIT_ESTABLISHED = Table(
    101,
    "PermitEstablished",
    "Is the sender who conntrack says, and is the connection's relation still there?",
    (102, 103),
)
POLICY_CLASS = Table(102, "PolicyClass", "The policy class of a network that initiates.")
PERMIT = Table(103, "Permit", "The relations: (policy class of the initiator, responder).")

TABLES: tuple[Table, ...] = (
    CLASSIFIER,
    TUNNEL_DECODE,
    SPOOF_GUARD,
    ARP_RESPONDER,
    SOURCE_CONNTRACK,
    SOURCE_STATE,
    DESTINATION_NETWORK,
    SOURCE_GATE,
    ROUTE,
    SOURCE_COMMIT,
    DISPATCH,
    DESTINATION_STATE,
    DESTINATION_GATE,
    DESTINATION_COMMIT,
    OUTPUT,
    PERMIT_NEW,
    PERMIT_ESTABLISHED,
    POLICY_CLASS,
    PERMIT,
)
TABLE_BY_NUMBER = {table.number: table for table in TABLES}
