"""The flow tables, declared once: numbers, names, what each decides, where it may send a packet next.

The order of a packet: source half (0-54) at the node of the sender, destination half (55-80) at the node of the receiver;
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


CLASSIFIER = Table(
    0,
    "Classifier",
    "Who sent this: a pod's port, a tunnel of a known node, or the node's own stack.",
    (1, 2, 10),
)
TUNNEL_DECODE = Table(
    1, "TunnelDecode", "Which networks a packet from a tunnel comes from and goes to.", (38,)
)
SPOOF_GUARD = Table(2, "SpoofGuard", "Whether the sender uses its own MAC and addresses.", (3, 8))
ARP_RESPONDER = Table(3, "ArpResponder", "The answer to a request for the gateway's MAC.")
PACKET_SIZE = Table(8, "PacketSize", "Whether a pod's packet is larger than the MTU of pods.", (9,))
SIZE_GATE = Table(
    9, "SizeGate", "What is too large ends here: the controller tells its sender the MTU.", (10, 109)
)
RETURN_ZONE = Table(
    10,
    "ReturnZone",
    "Whose second zone knows it: of a pod that answers itself, or that called the world outside.",
    (11,),
)
SOURCE_CONNTRACK = Table(11, "SourceConntrack", "Look the packet up in the zone of the sender's port.", (12,))
SOURCE_ZONE_CHECK = Table(
    12, "SourceZoneCheck", "Whether it is this packet that was looked up in that zone.", (13, 14, 110)
)
OUTSIDE_SOURCE = Table(
    13, "OutsideSource", "Who of the world outside sent this, or the node itself.", (14, 108)
)
SOURCE_STATE = Table(
    14,
    "SourceState",
    "New, of an admitted connection, or neither.",
    (15, 19, 26, 37, 101, 102),
)
SOURCE_RENEWAL = Table(
    15,
    "SourceRenewal",
    "Whether its connection is still permitted; if not, it may be the first packet of another.",
    (19, 37, 102),
)
NODE_ADDRESS = Table(
    19, "NodeAddress", "Whether it is sent to a node's own address: it may be a NodePort.", (20,)
)
SERVICE_VIP = Table(
    20, "ServiceVip", "Whose VIP it is, and whether the sender's network may use it.", (21, 30, 100)
)
SERVICE_GATE = Table(21, "ServiceGate", "Only permitted packets learn anything of a Service.", (22,))
SERVICE_PORT = Table(
    22,
    "ServicePort",
    "Which port of the Service, and over which endpoints it is spread.",
    (23, 25, 90, 106),
)
SERVICE_ENDPOINT = Table(
    23, "ServiceEndpoint", "The endpoint that this client had before, if it still is one.", (24,)
)
SERVICE_LEARN = Table(24, "ServiceLearn", "Remember the endpoint of this client.", (25,))
ENDPOINT_DNAT = Table(25, "EndpointDnat", "The chosen endpoint's address in place of the VIP.", (26,))
SERVICE_ADMIT = Table(
    26,
    "ServiceAdmit",
    "May the sender's network use this Service, asked of the translated packet?",
    (37, 100, 104, 110),
)
DESTINATION_NETWORK = Table(
    30, "DestinationNetwork", "Which network the address means, for this source.", (37, 100, 107)
)
SOURCE_GATE = Table(37, "SourceGate", "Only permitted packets leave the source half.", (40,))
TUNNEL_SOURCE = Table(
    38, "TunnelSource", "Whether the node before says that the sender is in the world outside.", (39, 40, 108)
)
TUNNEL_IDENTITY = Table(
    39,
    "TunnelIdentity",
    "Whether that sender's address belongs to the Network that the node before says.",
    (40,),
)
ROUTE = Table(40, "Route", "A local pod, or the node that holds the address.", (41, 50, 107))
OUTSIDE_ROUTE = Table(
    41, "OutsideRoute", "Whether the receiver's address belongs to the external Network that is meant.", (42,)
)
OUTSIDE_EXIT = Table(
    42,
    "OutsideExit",
    "To the world outside: from here, or from the node where the connection came in.",
    (50,),
)
SOURCE_COMMIT = Table(
    50, "SourceCommit", "Admit a new connection in the zone of the sender's port.", (51, 54, 55)
)
REPLY_LOOKUP = Table(
    51, "ReplyLookup", "Look up, turned round, what replies to a new connection would look like.", (52,)
)
REPLY_ZONE_CHECK = Table(
    52, "ReplyZoneCheck", "Whether it is this packet that was looked up, turned round.", (53, 110)
)
REPLY_CHECK = Table(
    53, "ReplyCheck", "Admit it; with another port if a connection through a VIP has such replies.", (54,)
)
COMMIT_ZONE_CHECK = Table(
    54, "CommitZoneCheck", "Whether it is this packet that was admitted in that zone.", (55, 108, 110)
)
DISPATCH = Table(55, "Dispatch", "To the tunnel, or into the zone of the receiver's port.", (59, 80))
DESTINATION_ZONE_CHECK = Table(
    59, "DestinationZoneCheck", "Whether it is this packet that was looked up in that zone.", (60, 110)
)
TUPLE_CHECK = Table(
    60,
    "TupleCheck",
    "Whether a packet is of the connection that has its addresses and ports: by its network, or the node it came in by.",
    (61, 64),
)
DESTINATION_STATE = Table(
    61,
    "DestinationState",
    "The sender's question again, asked by the receiver's node.",
    (62, 63, 67, 100, 101, 105),
)
DATAGRAM_SERVICE = Table(
    62,
    "DatagramService",
    "By which Service a datagram came: its connection may be an older one's.",
    (63, 101),
)
DESTINATION_RENEWAL = Table(
    63,
    "DestinationRenewal",
    "Whether its connection is still permitted; if not, it may be the first packet of another.",
    (67, 100, 105),
)
OTHER_CONNECTION = Table(
    64,
    "OtherConnection",
    "If not: look it up as one of its own network, or of the node it came in by.",
    (65, 100, 105),
)
OTHER_CONNECTION_ZONE_CHECK = Table(
    65, "OtherConnectionZoneCheck", "Whether it is this packet that was looked up in that zone.", (66, 110)
)
OTHER_CONNECTION_STATE = Table(
    66,
    "OtherConnectionState",
    "Of such a connection, a new one with a port of its own, or one that a router has moved to this entry.",
    (67, 79, 101),
)
DESTINATION_GATE = Table(67, "DestinationGate", "Only permitted packets reach the port.", (70,))
DESTINATION_COMMIT = Table(
    70, "DestinationCommit", "Admit a new connection in the zone of the receiver's port.", (79, 80)
)
OUTPUT_ZONE_CHECK = Table(
    79, "OutputZoneCheck", "Whether it is this packet that was admitted in that zone.", (80, 110)
)
OUTPUT = Table(80, "Output", "Out.")
REJECT = Table(90, "Reject", "Refused at once, by an answer that the controller makes.", (109,))
PERMIT_NEW = Table(
    100, "PermitNew", "May the sender's network start a connection to the receiver's?", (102, 103)
)
PERMIT_ESTABLISHED = Table(
    101,
    "PermitEstablished",
    "Is the sender who conntrack says, and is the connection's relation still there?",
    (102, 103, 104),
)
POLICY_CLASS = Table(102, "PolicyClass", "Policy class and service class of a network that initiates.")
PERMIT = Table(
    103,
    "Permit",
    "The relations: (policy class of the initiator, responder), (service class, responder's services).",
)
SERVICE_SCOPE = Table(
    104, "ServiceScope", "Whether the connection's Service still is one of the responder, and its Namespace."
)
LOCAL_BACKEND = Table(
    105, "LocalBackend", "Whether a new connection through a VIP ends at an endpoint of that Service here."
)
OUTSIDE = Table(
    107, "Outside", "Which external Network the receiver's address belongs to: the longest prefix."
)
SENDER_OUTSIDE = Table(
    108, "SenderOutside", "Which external Network the sender's address belongs to: the longest prefix."
)
CONTROLLER_LIMIT = Table(
    109, "ControllerLimit", "How many packets of this port the controller answers; the others end here."
)
ZONE = Table(
    110,
    "Zone",
    "Whether the zone that the packet was looked up in is the one that it should be, a port's here.",
)
AFFINITY = Table(106, "Affinity", "The endpoint that a client of a Service had last; learned, not written.")

TABLES: tuple[Table, ...] = (
    CLASSIFIER,
    TUNNEL_DECODE,
    SPOOF_GUARD,
    ARP_RESPONDER,
    PACKET_SIZE,
    SIZE_GATE,
    RETURN_ZONE,
    SOURCE_CONNTRACK,
    SOURCE_ZONE_CHECK,
    OUTSIDE_SOURCE,
    SOURCE_STATE,
    SOURCE_RENEWAL,
    NODE_ADDRESS,
    SERVICE_VIP,
    SERVICE_GATE,
    SERVICE_PORT,
    SERVICE_ENDPOINT,
    SERVICE_LEARN,
    ENDPOINT_DNAT,
    SERVICE_ADMIT,
    DESTINATION_NETWORK,
    SOURCE_GATE,
    TUNNEL_SOURCE,
    TUNNEL_IDENTITY,
    ROUTE,
    OUTSIDE_ROUTE,
    OUTSIDE_EXIT,
    SOURCE_COMMIT,
    REPLY_LOOKUP,
    REPLY_ZONE_CHECK,
    REPLY_CHECK,
    COMMIT_ZONE_CHECK,
    DISPATCH,
    DESTINATION_ZONE_CHECK,
    TUPLE_CHECK,
    DESTINATION_STATE,
    DATAGRAM_SERVICE,
    DESTINATION_RENEWAL,
    OTHER_CONNECTION,
    OTHER_CONNECTION_ZONE_CHECK,
    OTHER_CONNECTION_STATE,
    DESTINATION_GATE,
    DESTINATION_COMMIT,
    OUTPUT_ZONE_CHECK,
    OUTPUT,
    REJECT,
    PERMIT_NEW,
    PERMIT_ESTABLISHED,
    POLICY_CLASS,
    PERMIT,
    SERVICE_SCOPE,
    LOCAL_BACKEND,
    AFFINITY,
    OUTSIDE,
    SENDER_OUTSIDE,
    CONTROLLER_LIMIT,
    ZONE,
)
TABLE_BY_NUMBER = {table.number: table for table in TABLES}
