"""Pods of this node: classification by port, guard against spoofing, delivery."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Action, DecTtl, Goto, SetField
from lace_sdn.openflow.fields import ARP_SHA, ARP_SPA, ETH_DST, ETH_SRC, IN_PORT
from lace_sdn.openflow.match import Match, parse_mac, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import GATEWAY_ETHER, Priority
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.limits import told_limit, told_meter
from lace_sdn.pipeline.packet import ARP, UNTAGGED, destination_in, source_is
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    DESTINATION_TYPE,
    OUTPUT_PORT,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import ZonesOfPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Flow, Meter


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """A pod behind port ``ofport`` (1..28671) of this bridge."""

    id: str
    network: str
    network_key: int
    ofport: int
    mac: str
    addresses: tuple[Address, ...]

    @property
    def _owner(self) -> Owner:
        return Owner(cookie(Category.ENDPOINT, name_id(self.id)), f"Pod {self.id} (Network {self.network})")

    def meters(self) -> Iterator[Meter]:
        yield told_meter(self._owner, self.ofport)

    def flows(self) -> Iterator[Flow]:
        owner = self._owner
        ether = parse_mac(self.mac)
        port = term(IN_PORT, self.ofport)
        yield owner.flow(
            tables.CLASSIFIER,
            Priority.LOW,
            Match(port, UNTAGGED),
            SOURCE_TYPE.set(SourceType.POD),
            SOURCE_NETWORK.set(self.network_key),
            SOURCE_ZONE.set(self.ofport),
            Goto(tables.SPOOF_GUARD.number),
        )
        yield told_limit(owner, self.ofport)
        yield from ZonesOfPort(owner, self.ofport, self.addresses).flows()
        for address in self.addresses:
            yield owner.flow(
                tables.SPOOF_GUARD,
                Priority.NORMAL,
                Match(port, term(ETH_SRC, ether), term(ETH_DST, GATEWAY_ETHER), *source_is(address)),
                Goto(tables.PACKET_SIZE.number),
            )
            if address.version == 4:
                yield owner.flow(
                    tables.SPOOF_GUARD,
                    Priority.NORMAL,
                    Match(port, ARP, term(ETH_SRC, ether), term(ARP_SPA, int(address)), term(ARP_SHA, ether)),
                    Goto(tables.ARP_RESPONDER.number),
                )
            host = ip_network(address)
            yield owner.flow(
                tables.ROUTE,
                Priority.ROUTE + host.prefixlen,
                Match(DESTINATION_NETWORK.equals(self.network_key), *destination_in(host)),
                *deliver(ether, self.ofport),
            )


def deliver(ether: int, port: int, *more: Action) -> tuple[Action, ...]:
    """To the pod with the MAC ``ether``; ``port`` is that to put out by, and its zone."""
    return (
        SetField(ETH_SRC, GATEWAY_ETHER),
        SetField(ETH_DST, ether),
        DecTtl(),
        OUTPUT_PORT.set(port),
        DESTINATION_TYPE.set(DestinationType.LOCAL),
        *more,
        Goto(tables.SOURCE_COMMIT.number),
    )
