"""A node's own processes, as the kubelet: what they may do without a policy is to probe the pods of their node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import DecTtl, Goto
from lace_sdn.openflow.fields import IP_PROTO, TCP_DST, TCP_SRC, IpProto
from lace_sdn.openflow.match import Match, ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import HOST_KEY, Priority
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.fixed import OWNER, REPLY
from lace_sdn.pipeline.outside_rows import OUT_BY_HOST
from lace_sdn.pipeline.packet import FAMILIES, destination_is, source_is
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    INITIATOR,
    INITIATOR_CLASS,
    LOOKUP,
    PERMITTED,
    RESPONDER,
    SERVICE_CLASS,
    SOURCE_NETWORK,
    TRANSLATED,
)
from lace_sdn.pipeline.relation_rows import ask_permit, to_network
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import IS_IN_ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Flow


@dataclass(frozen=True, slots=True)
class HostItself:
    """The node's own processes, as far as they probe pods here: a source of its own, and the way back to it."""

    def flows(self) -> Iterator[Flow]:
        for ip in FAMILIES:
            yield OWNER.flow(
                tables.ROUTE,
                Priority.LOW,
                Match(ip, DESTINATION_NETWORK.equals(HOST_KEY)),
                DecTtl(),
                *OUT_BY_HOST,
            )
        # Also where the node's address is one of the pods' prefix, which nobody else's may be.
        yield OWNER.flow(
            tables.SOURCE_GATE,
            Priority.DROP,
            Match(PERMITTED.equals(1), IS_IN_ZONE, SOURCE_NETWORK.equals(HOST_KEY)),
            Goto(tables.ROUTE.number),
        )
        yield OWNER.flow(
            tables.POLICY_CLASS,
            Priority.NORMAL,
            Match(LOOKUP.equals(HOST_KEY)),
            INITIATOR_CLASS.set(HOST_KEY),
            SERVICE_CLASS.set(0),
        )
        yield OWNER.flow(
            tables.PERMIT_ESTABLISHED,
            Priority.NORMAL,
            Match(ct_state("-rpl+trk"), INITIATOR.equals(HOST_KEY), SOURCE_NETWORK.equals(HOST_KEY)),
            *ask_permit(SOURCE_NETWORK, DESTINATION_NETWORK),
        )
        # Whatever else of its network is probed here: an answer of what is no probe any more is permitted by no Network's row.
        yield OWNER.flow(
            tables.PERMIT_ESTABLISHED,
            Priority.DROP,
            Match(REPLY, INITIATOR.equals(HOST_KEY)),
        )


@dataclass(frozen=True, slots=True)
class HostPermit:
    """A network with pods here that the node probes."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}: probes").flow(
            tables.PERMIT,
            Priority.NORMAL,
            Match(INITIATOR_CLASS.equals(HOST_KEY), LOOKUP.equals(self.key)),
            PERMITTED.set(1),
        )


@dataclass(frozen=True, slots=True)
class HostProbe:
    """The node's own processes, at ``sources``, may call these TCP ports of a pod here (Kubernetes: probes)."""

    id: str
    network_key: int
    address: Address
    sources: tuple[Address, ...]
    ports: tuple[int, ...]

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.ENDPOINT, name_id(self.id)), f"Pod {self.id}: probes")
        for source in self.sources:
            for port in self.ports:
                yield owner.flow(
                    tables.OUTSIDE_SOURCE,
                    Priority.OWN_PREFIX,
                    Match(
                        *source_is(source),
                        *destination_is(self.address),
                        term(IP_PROTO, IpProto.TCP),
                        term(TCP_DST, port),
                        TRANSLATED.equals(0),
                    ),
                    SOURCE_NETWORK.set(HOST_KEY),
                    Goto(tables.SOURCE_STATE.number),
                )
        for port in self.ports:
            yield owner.flow(
                tables.PERMIT_ESTABLISHED,
                Priority.OWN_CONNECTION,
                Match(
                    REPLY,
                    INITIATOR.equals(HOST_KEY),
                    RESPONDER.equals(self.network_key),
                    SOURCE_NETWORK.equals(self.network_key),
                    *source_is(self.address),
                    term(IP_PROTO, IpProto.TCP),
                    term(TCP_SRC, port),
                ),
                PERMITTED.set(1),
            )
        yield owner.flow(
            tables.DESTINATION_NETWORK,
            Priority.OWN_PREFIX,
            Match(SOURCE_NETWORK.equals(HOST_KEY), *destination_is(self.address)),
            *to_network(self.network_key),
        )
