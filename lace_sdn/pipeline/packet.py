"""Words for matches on packets: families, addresses, prefixes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.actions import SetField
from lace_sdn.openflow.fields import (
    ETH_TYPE,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    TUN_DST,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    UDP_DST,
    UDP_SRC,
    VLAN,
    EthType,
    IpProto,
    Term,
)
from lace_sdn.openflow.match import term

if TYPE_CHECKING:
    from lace_sdn.model.objects import Address, Prefix
    from lace_sdn.openflow.fields import Field

IPV4: Final = term(ETH_TYPE, EthType.IPV4)
IPV6: Final = term(ETH_TYPE, EthType.IPV6)
ARP: Final = term(ETH_TYPE, EthType.ARP)
FAMILIES: Final = (IPV4, IPV6)
ADDRESSES: Final = {4: (IPV4_SRC, IPV4_DST), 6: (IPV6_SRC, IPV6_DST)}
"""By IP version: fields of source and destination."""
PORTS: Final = {
    Protocol.TCP: (IpProto.TCP, TCP_SRC, TCP_DST),
    Protocol.UDP: (IpProto.UDP, UDP_SRC, UDP_DST),
    Protocol.SCTP: (IpProto.SCTP, SCTP_SRC, SCTP_DST),
}
"""IP protocol, fields of the source and the destination port."""
UNTAGGED: Final = term(VLAN, 0)
"""No 802.1Q tag: ovs-fields(7) matches the type and addresses behind a tag as if it were not there."""


def family(version: int) -> Term:
    """The Ethernet type of IPv``version`` (4 or 6)."""
    return IPV4 if version == 4 else IPV6


def source_is(address: Address) -> tuple[Term, ...]:
    """Packets from exactly ``address``."""
    return source_in(ip_network(address))


def source_in(prefix: Prefix) -> tuple[Term, ...]:
    """Packets from any address of ``prefix``."""
    return _in(prefix, ADDRESSES[prefix.version][0])


def destination_is(address: Address) -> tuple[Term, ...]:
    """Packets to exactly ``address``."""
    return destination_in(ip_network(address))


def destination_in(prefix: Prefix) -> tuple[Term, ...]:
    """Packets to any address of ``prefix``."""
    return _in(prefix, ADDRESSES[prefix.version][1])


def _in(prefix: Prefix, field: Field) -> tuple[Term, ...]:
    """A prefix of length 0 is every address of its family."""
    if not prefix.prefixlen:
        return (family(prefix.version),)
    return family(prefix.version), term(field, int(prefix.network_address), int(prefix.netmask))


def is_of(version: int, protocol: Protocol) -> tuple[Term, Term]:
    """Packets of ``protocol`` over IPv``version``."""
    return family(version), term(IP_PROTO, PORTS[protocol][0])


def port_is(protocol: Protocol, number: int) -> Term:
    """Packets of ``protocol`` to port ``number``."""
    return term(PORTS[protocol][2], number)


def tunnel_from(address: Address) -> Term:
    """Tunnel packets whose outer source is ``address``."""
    return term(TUN_SRC if address.version == 4 else TUN_IPV6_SRC, int(address))


def tunnel_to(address: Address) -> SetField:
    """Set the outer destination to ``address``."""
    return SetField(TUN_DST if address.version == 4 else TUN_IPV6_DST, int(address))
