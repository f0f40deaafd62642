"""Addresses of nodes as pods call them: a NodePort is a port of each, and judged by the pod's own network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Goto
from lace_sdn.openflow.match import Match
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.fixed import OWNER
from lace_sdn.pipeline.packet import destination_is, is_of, port_is
from lace_sdn.pipeline.registers import NODE_PORT, SOURCE_NETWORK, SOURCE_TYPE, SourceType
from lace_sdn.pipeline.unit import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address, Protocol
    from lace_sdn.openflow.flow import Flow


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node's own address: what pods send there may be meant for a NodePort."""

    node: str
    address: Address

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NODE, name_id(self.node)), f"Node {self.node}").flow(
            tables.NODE_ADDRESS,
            Priority.NORMAL,
            Match(SOURCE_TYPE.equals(SourceType.POD), *destination_is(self.address)),
            NODE_PORT.set(1),
            Goto(tables.SERVICE_VIP.number),
        )


@dataclass(frozen=True, slots=True)
class AddressOfPods:
    """For pods of a network a node's address is one of a pod network that they reach, and not the node's."""

    name: str
    key: int
    address: Address

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}").flow(
            tables.NODE_ADDRESS,
            Priority.DROP,
            Match(
                SOURCE_TYPE.equals(SourceType.POD),
                SOURCE_NETWORK.equals(self.key),
                *destination_is(self.address),
            ),
            Goto(tables.SERVICE_VIP.number),
        )


@dataclass(frozen=True, slots=True)
class ForeignNodePort:
    """A NodePort that no network here may use: its Service is not called by way of a node's own stack either."""

    version: int
    protocol: Protocol
    number: int

    def flows(self) -> Iterator[Flow]:
        yield OWNER.flow(
            tables.SERVICE_VIP,
            Priority.NODE_PORT,
            Match(
                NODE_PORT.equals(1), *is_of(self.version, self.protocol), port_is(self.protocol, self.number)
            ),
        )
