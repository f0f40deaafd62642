"""Endpoints of Services whose clients have their own address: themselves, and twins of other networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.fields import IN_PORT
from lace_sdn.openflow.match import Match, parse_mac, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import SECOND_ZONE, TWIN_SOURCE, Priority
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.endpoints import deliver
from lace_sdn.pipeline.fixed import IS_NOT_ADMITTED, NEW, admit_as
from lace_sdn.pipeline.packet import destination_is, source_is
from lace_sdn.pipeline.registers import DESTINATION_NETWORK, HAIRPIN, OUTPUT_PORT, TRANSLATED
from lace_sdn.pipeline.unit import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Flow


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A pod of this node that may reach itself through a VIP, or (``has_twins``) be called by another network's pod of its address."""

    id: str
    network: str
    network_key: int
    ofport: int
    mac: str
    address: Address
    has_twins: bool

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.ENDPOINT, name_id(self.id)), f"Pod {self.id} (Network {self.network})")
        yield owner.flow(
            tables.ROUTE,
            Priority.OWN_ADDRESS,
            Match(
                term(IN_PORT, self.ofport),
                DESTINATION_NETWORK.equals(self.network_key),
                TRANSLATED.equals(1),
                *destination_is(self.address),
            ),
            *deliver(parse_mac(self.mac), SECOND_ZONE | self.ofport, HAIRPIN.set(1)),
        )
        if self.has_twins:
            yield owner.flow(
                tables.DESTINATION_COMMIT,
                Priority.OWN_ADDRESS,
                Match(
                    *source_is(self.address),
                    NEW,
                    IS_NOT_ADMITTED,
                    HAIRPIN.equals(0),
                    OUTPUT_PORT.equals(self.ofport),
                ),
                admit_as(TWIN_SOURCE[self.address.version]),
            )
