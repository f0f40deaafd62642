"""Match fields and slices of them, declared once: name, OXM header and width (ovs-fields(7)).

Values are integers everywhere: an address is its number, so that a field needs no type of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple


class Form(StrEnum):
    """How ``ovs-ofctl`` prints a value of the field."""

    HEX = "hex"
    DECIMAL = "decimal"
    MAC = "mac"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    STATE = "state"
    FLAGS = "flags"


class Field:
    """A field of ovs-fields(7). Compared by identity: there is one object a field."""

    __slots__ = (
        "all_ones",
        "bits",
        "form",
        "header",
        "masked_header",
        "name",
        "number",
        "nxm",
        "octets",
        "oxm_class",
        "rank",
    )

    def __init__(self, name: str, nxm: str, oxm: tuple[int, int], bits: int, form: Form = Form.HEX) -> None:
        """``nxm``: the name in ``move`` and slices; ``oxm``: class and field number; ``bits``: width.

        ``header`` and ``masked_header`` are the 4 bytes before a value, and before a value with its mask
        (OpenFlow 1.5.1 section 7.2.3.2); ``octets`` is the length of the value behind them.
        """
        self.name = name
        self.nxm = nxm
        self.oxm_class, self.number = oxm
        self.bits = bits
        self.octets = (bits + 7) // 8
        self.all_ones = (1 << bits) - 1
        start = (self.oxm_class << 16) | (self.number << 9)
        self.header = (start | self.octets).to_bytes(4, "big")
        self.masked_header = (start | 0x100 | 2 * self.octets).to_bytes(4, "big")
        self.form = form
        self.rank = len(_ALL)
        _ALL.append(self)

    def __repr__(self) -> str:
        return f"<field {self.name}>"

    def __getitem__(self, bits: slice) -> Slice:
        """``REG0[0:3]``: bits 0 to 3, both included, as in ovs-fields(7)."""
        return Slice(self, bits.start, bits.stop - bits.start + 1)

    @property
    def whole(self) -> Slice:
        return Slice(self, 0, self.bits)


class Slice(NamedTuple):
    """Some bits of a field: ``width`` bits from bit ``low`` on (bit 0 is the least)."""

    field: Field
    low: int
    width: int

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.low

    def __str__(self) -> str:
        if self.width == self.field.bits:
            return f"{self.field.nxm}[]"
        if self.width == 1:
            return f"{self.field.nxm}[{self.low}]"
        return f"{self.field.nxm}[{self.low}..{self.low + self.width - 1}]"


class Term(NamedTuple):
    """A field must have ``value`` in the bits of ``mask``."""

    field: Field
    value: int
    mask: int


_ALL: list[Field] = []

NXM_0, NXM_1, BASIC = 0x0000, 0x0001, 0x8000

# In the order in which ovs-ofctl prints them.
CT_STATE = Field("ct_state", "NXM_NX_CT_STATE", (NXM_1, 105), 32, Form.STATE)
CT_ZONE = Field("ct_zone", "NXM_NX_CT_ZONE", (NXM_1, 106), 16, Form.DECIMAL)
CT_MARK = Field("ct_mark", "NXM_NX_CT_MARK", (NXM_1, 107), 32)
CT_LABEL = Field("ct_label", "NXM_NX_CT_LABEL", (NXM_1, 108), 128)
REG = tuple(Field(f"reg{i}", f"NXM_NX_REG{i}", (NXM_1, i), 32) for i in range(16))
TUN_ID = Field("tun_id", "NXM_NX_TUN_ID", (BASIC, 38), 64)
TUN_SRC = Field("tun_src", "NXM_NX_TUN_IPV4_SRC", (NXM_1, 31), 32, Form.IPV4)
TUN_DST = Field("tun_dst", "NXM_NX_TUN_IPV4_DST", (NXM_1, 32), 32, Form.IPV4)
TUN_IPV6_SRC = Field("tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC", (NXM_1, 109), 128, Form.IPV6)
TUN_IPV6_DST = Field("tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST", (NXM_1, 110), 128, Form.IPV6)
METADATA = Field("metadata", "OXM_OF_METADATA", (BASIC, 2), 64)
IN_PORT = Field("in_port", "OXM_OF_IN_PORT", (BASIC, 0), 32, Form.DECIMAL)
VLAN = Field("vlan_tci", "OXM_OF_VLAN_VID", (BASIC, 6), 13)
"""0 means: no 802.1Q tag. Bit 12 is set for every tag, the VLAN id is below it (OpenFlow 1.5.1 section 7.2.3.8)."""
ETH_SRC = Field("dl_src", "NXM_OF_ETH_SRC", (BASIC, 4), 48, Form.MAC)
ETH_DST = Field("dl_dst", "NXM_OF_ETH_DST", (BASIC, 3), 48, Form.MAC)
ETH_TYPE = Field("dl_type", "NXM_OF_ETH_TYPE", (BASIC, 5), 16)
IPV4_SRC = Field("nw_src", "NXM_OF_IP_SRC", (BASIC, 11), 32, Form.IPV4)
IPV4_DST = Field("nw_dst", "NXM_OF_IP_DST", (BASIC, 12), 32, Form.IPV4)
IPV6_SRC = Field("ipv6_src", "NXM_NX_IPV6_SRC", (BASIC, 26), 128, Form.IPV6)
IPV6_DST = Field("ipv6_dst", "NXM_NX_IPV6_DST", (BASIC, 27), 128, Form.IPV6)
IP_PROTO = Field("nw_proto", "NXM_OF_IP_PROTO", (BASIC, 10), 8, Form.DECIMAL)
ARP_SPA = Field("arp_spa", "NXM_OF_ARP_SPA", (BASIC, 22), 32, Form.IPV4)
ARP_TPA = Field("arp_tpa", "NXM_OF_ARP_TPA", (BASIC, 23), 32, Form.IPV4)
ARP_OP = Field("arp_op", "NXM_OF_ARP_OP", (BASIC, 21), 16, Form.DECIMAL)
ARP_SHA = Field("arp_sha", "NXM_NX_ARP_SHA", (BASIC, 24), 48, Form.MAC)
ARP_THA = Field("arp_tha", "NXM_NX_ARP_THA", (BASIC, 25), 48, Form.MAC)
TCP_SRC = Field("tcp_src", "NXM_OF_TCP_SRC", (BASIC, 13), 16, Form.DECIMAL)
TCP_DST = Field("tcp_dst", "NXM_OF_TCP_DST", (BASIC, 14), 16, Form.DECIMAL)
UDP_SRC = Field("udp_src", "NXM_OF_UDP_SRC", (BASIC, 15), 16, Form.DECIMAL)
UDP_DST = Field("udp_dst", "NXM_OF_UDP_DST", (BASIC, 16), 16, Form.DECIMAL)
SCTP_SRC = Field("sctp_src", "OXM_OF_SCTP_SRC", (BASIC, 17), 16, Form.DECIMAL)
SCTP_DST = Field("sctp_dst", "OXM_OF_SCTP_DST", (BASIC, 18), 16, Form.DECIMAL)
ICMP_TYPE = Field("icmp_type", "NXM_OF_ICMP_TYPE", (BASIC, 19), 8, Form.DECIMAL)
ICMP_CODE = Field("icmp_code", "NXM_OF_ICMP_CODE", (BASIC, 20), 8, Form.DECIMAL)
ICMPV6_TYPE = Field("icmpv6_type", "NXM_NX_ICMPV6_TYPE", (BASIC, 29), 8, Form.DECIMAL)
ICMPV6_CODE = Field("icmpv6_code", "NXM_NX_ICMPV6_CODE", (BASIC, 30), 8, Form.DECIMAL)
TCP_FLAGS = Field("tcp_flags", "NXM_NX_TCP_FLAGS", (BASIC, 42), 12, Form.FLAGS)

FIELDS: tuple[Field, ...] = tuple(_ALL)
FIELD_BY_NAME = {field.name: field for field in FIELDS}
FIELD_BY_NXM = {field.nxm: field for field in FIELDS}
FIELD_BY_OXM = {(field.oxm_class, field.number): field for field in FIELDS}


class State:
    """Bits of ct_state (ovs-fields(7))."""

    ALL = 0xFF
    NEW, EST, REL, RPL, INV, TRK, SNAT, DNAT = (1 << bit for bit in range(8))
    NAMES = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")


class TcpFlag:
    """Bits of tcp_flags (RFC 9293 section 3.1), with the names of ovs-fields(7)."""

    FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, NS = (1 << bit for bit in range(9))
    NAMES = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")


class EthType:
    IPV4, ARP, RARP, IPV6 = 0x0800, 0x0806, 0x8035, 0x86DD
    MPLS, MPLS_MULTICAST = 0x8847, 0x8848


class Port:
    """Reserved port numbers (OpenFlow 1.5.1 section 7.2.1) that may stand in a match or an action."""

    IN_PORT, CONTROLLER, LOCAL, ANY = 0xFFFFFFF8, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF
    NAMES: ClassVar = {0xFFFFFFFA: "NORMAL", 0xFFFFFFFB: "FLOOD", 0xFFFFFFFC: "ALL", 0xFFFFFFFE: "LOCAL"}


class IpProto:
    ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
