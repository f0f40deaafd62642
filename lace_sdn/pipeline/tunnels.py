"""Other nodes: whose tunnel packets are taken, what they mean, and which addresses lie behind which node.

The tunnel key is that of the destination network; the key of the source network rides in the inner source MAC and the number
of the Service's port in the inner destination MAC, so that the same flows work over Geneve and VXLAN (docs/pipeline.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import DecTtl, Goto, Move, SetField
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, IN_PORT, TUN_ID
from lace_sdn.openflow.match import Match, ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import (
    TUNNEL_DESTINATION,
    TUNNEL_DESTINATION_MASK,
    TUNNEL_PORT,
    TUNNEL_SOURCE,
    TUNNEL_SOURCE_MASK,
    Priority,
)
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.packet import UNTAGGED, destination_in, tunnel_from, tunnel_to
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    DESTINATION_TYPE,
    ENTERED,
    ENTRY,
    MAY_ENTER_TUNNEL,
    OUTPUT_PORT,
    RENEWED,
    SERVICE_PORT,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.unit import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address, Prefix
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import Flow

KEY_BITS = 24


@dataclass(frozen=True, slots=True)
class Peer:
    """A node whose tunnel packets are taken, as far as they come from its end of the tunnel with this one. ``number``: of the node.

    IPv6 has a priority of its own, since no flow says that a tunnel packet is of one family only: two peers' would overlap.
    """

    node: str
    number: int
    address: Address

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NODE, name_id(self.node)), f"Node {self.node}").flow(
            tables.CLASSIFIER,
            Priority.LOW if self.address.version == 4 else Priority.NORMAL,
            Match(term(IN_PORT, TUNNEL_PORT), tunnel_from(self.address)),
            SOURCE_TYPE.set(SourceType.TUNNEL),
            ENTRY.set(self.number),
            Goto(tables.TUNNEL_DECODE.number),
        )


@dataclass(frozen=True, slots=True)
class TunnelArrival:
    """A network with pods on this node: its packets are taken from the tunnel."""

    network: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NETWORK, self.key), f"Network {self.network}").flow(
            tables.TUNNEL_DECODE,
            Priority.LOW,
            Match(
                term(TUN_ID, self.key),
                UNTAGGED,
                term(ETH_SRC, TUNNEL_SOURCE, TUNNEL_SOURCE_MASK),
                term(ETH_DST, TUNNEL_DESTINATION, TUNNEL_DESTINATION_MASK),
            ),
            DESTINATION_NETWORK.set(self.key),
            Move(ETH_SRC[0 : KEY_BITS - 1], SOURCE_NETWORK.field[0 : KEY_BITS - 1]),
            Move(ETH_DST[0:31], SERVICE_PORT.slice),
            Goto(tables.TUNNEL_SOURCE.number),
        )


@dataclass(frozen=True, slots=True)
class RemoteRoute:
    """Addresses of a network that another node holds: its block, or a single pod outside of any block."""

    network: str
    key: int
    prefix: Prefix
    node: str
    address: Address

    def flows(self) -> Iterator[Flow]:
        yield Owner(
            cookie(Category.NETWORK, self.key), f"Network {self.network}, {self.prefix} on Node {self.node}"
        ).flow(
            tables.ROUTE,
            Priority.ROUTE + self.prefix.prefixlen,
            Match(
                MAY_ENTER_TUNNEL.equals(1),
                DESTINATION_NETWORK.equals(self.key),
                *destination_in(self.prefix),
            ),
            DecTtl(),
            *into_tunnel(self.address),
        )


@dataclass(frozen=True, slots=True)
class EntryReturn:
    """Replies to connections that the world outside started by another node go back to that one, whatever their address."""

    node: str
    number: int
    address: Address

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NODE, name_id(self.node)), f"Node {self.node}").flow(
            tables.OUTSIDE_EXIT,
            Priority.NORMAL,
            Match(
                ct_state("+rpl+trk"),
                SOURCE_TYPE.equals(SourceType.POD),
                RENEWED.equals(0),
                ENTERED.equals(self.number),
            ),
            *into_tunnel(self.address),
        )


def into_tunnel(address: Address) -> tuple[Action, ...]:
    """To the node that has its end of the tunnel at this address, with what it must know."""
    return (
        SetField(ETH_DST, TUNNEL_DESTINATION),
        Move(SERVICE_PORT.slice, ETH_DST[0:31]),
        SetField(ETH_SRC, TUNNEL_SOURCE),
        Move(SOURCE_NETWORK.field[0 : KEY_BITS - 1], ETH_SRC[0 : KEY_BITS - 1]),
        tunnel_to(address),
        Move(DESTINATION_NETWORK.slice, TUN_ID[0:31]),
        OUTPUT_PORT.set(TUNNEL_PORT),
        DESTINATION_TYPE.set(DestinationType.TUNNEL),
        Goto(tables.SOURCE_COMMIT.number),
    )
