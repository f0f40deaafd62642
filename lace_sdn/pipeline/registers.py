"""Registers, marks and labels, declared once: every bit that a flow reads or writes has a name here."""

from __future__ import annotations

from dataclasses import dataclass

from lace_sdn.openflow.actions import Move, SetField
from lace_sdn.openflow.fields import CT_LABEL, CT_MARK, REG, Field, Slice, Term
from lace_sdn.openflow.match import term


@dataclass(frozen=True, slots=True)
class RegField:
    """Bits ``low``..``high`` (both included) of a register, mark or label, and what they mean."""

    name: str
    field: Field
    low: int
    high: int
    meaning: str

    @property
    def slice(self) -> Slice:
        return Slice(self.field, self.low, self.high - self.low + 1)

    def set(self, value: int) -> SetField:
        return SetField(self.field, value << self.low, self.slice.mask)

    def equals(self, value: int) -> Term:
        return term(self.field, value << self.low, self.slice.mask)

    def copy_to(self, other: RegField) -> Move:
        return Move(self.slice, other.slice)


class SourceType:
    """Values of ``SOURCE_TYPE``. The lowest bit: did not come from a tunnel, so it may enter one (split horizon)."""

    POD, TUNNEL, GATEWAY = 1, 2, 3


class DestinationType:
    """Values of ``DESTINATION_TYPE``."""

    LOCAL, TUNNEL, GATEWAY = 1, 2, 3


SOURCE_TYPE = RegField("SourceType", REG[0], 0, 3, "1 pod, 2 tunnel, 3 gateway")
MAY_ENTER_TUNNEL = RegField("MayEnterTunnel", REG[0], 0, 0, "lowest bit of SourceType: not from a tunnel")
DESTINATION_TYPE = RegField("DestinationType", REG[0], 4, 7, "1 local port, 2 tunnel, 3 gateway")
PERMITTED = RegField("Permitted", REG[0], 8, 8, "verdict of the relation tables; cleared between the halves")
HAIRPIN = RegField("Hairpin", REG[0], 10, 10, "on its way back into the port it came from, through a VIP")
NODE_PORT = RegField("NodePort", REG[0], 11, 11, "to a node's own address: its port may be a NodePort")
LOCAL_CHOICE = RegField(
    "LocalChoice", REG[0], 12, 12, "only endpoints of this node, for a Service with affinity"
)
TOO_LARGE = RegField("TooLarge", REG[0], 13, 13, "larger than pods' packets may be")
FRAME_SERVICE = RegField(
    "FrameService", REG[0], 14, 14, "a datagram of a known connection: the Service is what its frame names"
)
RENEWED = RegField(
    "Renewed",
    REG[0],
    9,
    9,
    "its connection is no longer permitted; it is asked about as the first of a new one",
)
IN_ZONE = RegField("InZone", REG[0], 15, 15, "this very packet was looked up in the zone that it should")
FROM_OUTSIDE = RegField("FromOutside", REG[0], 16, 16, "its sender is in the world outside")
KNOWN_SENDER = RegField(
    "KnownSender",
    REG[0],
    17,
    17,
    "its sender's network is the one that the connection says, permitted or not",
)
SOURCE_NETWORK = RegField("SourceNetwork", REG[1], 0, 31, "network key of the sender")
DESTINATION_NETWORK = RegField("DestinationNetwork", REG[2], 0, 31, "network key of the receiver")
OUTPUT_PORT = RegField("OutputPort", REG[3], 0, 31, "ofport of the receiver, or of the tunnel")
DESTINATION_ZONE = RegField(
    "DestinationZone", REG[3], 0, 15, "conntrack zone of the receiver's port: its ofport, or its second zone"
)
ENDPOINT = RegField("Endpoint", REG[4], 0, 31, "number of the chosen endpoint of a Service; 0 none yet")
ENTRY = RegField("Entry", REG[5], 0, 31, "number of the node whose tunnel brought this packet; 0 none did")
SOURCE_ZONE = RegField(
    "SourceZone", REG[6], 0, 15, "conntrack zone of the sender's port: its ofport, or its second zone"
)
OUTPUT_ZONE = RegField("OutputZone", REG[3], 15, 15, "of DestinationZone: the port's other zone")
PORT_OF_ZONE = RegField("PortOfZone", REG[6], 0, 14, "of SourceZone: the ofport that it belongs to")
SECOND_ZONE = RegField(
    "SecondZone", REG[6], 15, 15, "of SourceZone: the port's other zone, for its part as its own server"
)
INITIATOR_CLASS = RegField(
    "InitiatorClass", REG[7], 0, 31, "policy class of the initiator; 0 reaches only itself"
)
SERVICE_PORT = RegField(
    "ServicePort", REG[8], 0, 31, "number of the Service's port that the connection came by; 0 none"
)
SERVICE_CLASS = RegField(
    "ServiceClass", REG[9], 0, 31, "service class of the initiator; 0: no ServiceRoutingPolicy admits it"
)
SERVICE_SCOPE = RegField(
    "ServiceScope", REG[10], 0, 31, "bit 31: a Service of the responder; below: number of its Namespace"
)
LIVE_SERVICE = RegField("LiveService", REG[10], 31, 31, "of ServiceScope: there is such a Service")
LOOKUP = RegField(
    "Lookup", REG[11], 0, 31, "network that a relation table is asked about: initiator, then responder"
)
ZONE_LOOKUP = RegField("ZoneLookup", REG[11], 0, 15, "zone that the packet should have been looked up in")
SIDE_LOOKUP = RegField(
    "SideLookup", REG[11], 16, 16, "with ZoneLookup: 1 the sender's zone, 0 the receiver's"
)
FRAME_PORT = RegField(
    "FramePort",
    REG[12],
    0,
    31,
    "number of the Service's port that the frame named, before conntrack's is asked",
)

ADMITTED = RegField("Admitted", CT_MARK, 0, 0, "the connection was admitted by policy (not merely seen)")
TRANSLATED = RegField("Translated", CT_MARK, 1, 1, "the connection's VIP was replaced by an endpoint")
LOOPED = RegField("Looped", CT_MARK, 2, 2, "the connection is of a pod with itself, through a VIP")
OWN_PORT = RegField(
    "OwnPort", CT_MARK, 3, 3, "it came in by another node than one with the same addresses and ports"
)
INITIATOR = RegField("Initiator", CT_LABEL, 0, 31, "network key of who started the connection")
RESPONDER = RegField("Responder", CT_LABEL, 32, 63, "network key of whom it was started to")
THROUGH = RegField("Through", CT_LABEL, 64, 95, "number of the Service's port it was started to; 0 none")
ENTERED = RegField(
    "Entered", CT_LABEL, 96, 127, "number of the node whose tunnel brought the connection; 0 none did"
)

REGISTERS: tuple[RegField, ...] = (
    SOURCE_TYPE,
    MAY_ENTER_TUNNEL,
    DESTINATION_TYPE,
    PERMITTED,
    RENEWED,
    HAIRPIN,
    NODE_PORT,
    LOCAL_CHOICE,
    TOO_LARGE,
    FRAME_SERVICE,
    IN_ZONE,
    FROM_OUTSIDE,
    KNOWN_SENDER,
    SOURCE_NETWORK,
    DESTINATION_NETWORK,
    OUTPUT_PORT,
    DESTINATION_ZONE,
    OUTPUT_ZONE,
    ENDPOINT,
    ENTRY,
    SOURCE_ZONE,
    PORT_OF_ZONE,
    SECOND_ZONE,
    INITIATOR_CLASS,
    SERVICE_PORT,
    SERVICE_CLASS,
    SERVICE_SCOPE,
    LIVE_SERVICE,
    LOOKUP,
    ZONE_LOOKUP,
    SIDE_LOOKUP,
    FRAME_PORT,
    ADMITTED,
    TRANSLATED,
    LOOPED,
    OWN_PORT,
    INITIATOR,
    RESPONDER,
    THROUGH,
    ENTERED,
)
