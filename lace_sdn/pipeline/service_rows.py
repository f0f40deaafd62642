"""Services: VIPs, the endpoints behind them, and who may use them. One unit a VIP, a port, a scope, a local endpoint.

A Service's port has one number on every node; it rides in the inner destination MAC of tunnelled frames and in the label of
every connection that came by it, so that both nodes can ask at every packet whether it still may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.actions import Ct, Goto, GroupAction, Learn, Move, Nat, Resubmit
from lace_sdn.openflow.fields import (
    ETH_TYPE,
    IPV4_SRC,
    IPV6_SRC,
)
from lace_sdn.openflow.flow import Bucket, Group
from lace_sdn.openflow.match import Match, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.cookies import Category, affinity_cookie, cookie, name_id
from lace_sdn.pipeline.fixed import PARTIES
from lace_sdn.pipeline.limits import REMEMBERED_CLIENTS
from lace_sdn.pipeline.packet import PORTS, destination_is, family, is_of, port_is, source_is
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    ENDPOINT,
    LIVE_SERVICE,
    LOCAL_CHOICE,
    LOOKUP,
    NODE_PORT,
    PERMITTED,
    SERVICE_CLASS,
    SERVICE_PORT,
    SERVICE_SCOPE,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    TRANSLATED,
    SourceType,
)
from lace_sdn.pipeline.unit import Owner
from lace_sdn.policy.balancing import WhenNone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address, Protocol
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.fields import Term
    from lace_sdn.openflow.flow import Flow

LARGEST_GROUP: Final = 64
"""Endpoints of one group: ``MOST_SLOTS`` leave four or more for each, so shares are near enough to even."""

MOST_SLOTS: Final = 256
"""That dp_hash divides among the buckets of a group (ofproto-dpif.c, MAX_SELECT_GROUP_HASH_VALUES)."""
SLOTS_EACH: Final = 16
EXTRA_BUCKET: Final = 0
"""Id of the bucket that only makes slots: no endpoint has the number 0."""

LIVE: Final = 1 << 31
"""Bit of ``SERVICE_SCOPE``."""


class Target(NamedTuple):
    """An endpoint and its number among those of its Service's port."""

    number: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class ServiceVip:
    """A VIP means the network of its Service, for those who may use it. ``scope``: number of the Service's Namespace."""

    service: str
    network: str
    network_key: int
    vip: Address
    scope: int

    def flows(self) -> Iterator[Flow]:
        owner = Owner(
            cookie(Category.SERVICE, name_id(self.service)),
            f"Service {self.service} (Network {self.network})",
        )
        yield owner.flow(
            tables.SERVICE_VIP,
            Priority.NORMAL,
            Match(*destination_is(self.vip)),
            DESTINATION_NETWORK.set(self.network_key),
            SERVICE_SCOPE.set(LIVE | self.scope),
            Resubmit(tables.PERMIT_NEW.number),
            Goto(tables.SERVICE_GATE.number),
        )


class Entrance(NamedTuple):
    """Where a Service's port is called: at a VIP, or (``vip`` None) at a NodePort.

    ``caller``: only by this address, ``by_pods``: only by pods, before others are asked.
    """

    number: int
    vip: Address | None = None
    caller: Address | None = None
    by_pods: bool = False


@dataclass(frozen=True, slots=True)
class NodePortEntry:
    """A port of every node's addresses means the network of its Service, for those who may use it."""

    name: str
    number: int
    network_key: int
    version: int
    protocol: Protocol
    node_port: int
    scope: int

    def flows(self) -> Iterator[Flow]:
        yield _owner(self.name, self.number).flow(
            tables.SERVICE_VIP,
            Priority.NODE_PORT,
            Match(
                NODE_PORT.equals(1),
                *is_of(self.version, self.protocol),
                port_is(self.protocol, self.node_port),
            ),
            DESTINATION_NETWORK.set(self.network_key),
            SERVICE_SCOPE.set(LIVE | self.scope),
            Resubmit(tables.PERMIT_NEW.number),
            Goto(tables.SERVICE_GATE.number),
        )


@dataclass(frozen=True, slots=True)
class BalancedPort:
    """A Service's port over IPv``version``, called at ``entrances`` and spread over ``chosen``.

    ``serving`` are all endpoints that connections may still be with. ``is_second``: it is called in another way too, which
    has the rows for both; then ``chosen`` are this node's own. ``groups``: ids, as many as ``groups_needed`` says.
    ``affinity``: seconds after a client's last new connection, 0 for none.
    """

    name: str
    number: int
    version: int
    protocol: Protocol
    entrances: tuple[Entrance, ...]
    chosen: tuple[Target, ...]
    serving: tuple[Target, ...]
    when_none: WhenNone
    affinity: int
    is_second: bool = False
    groups: tuple[int, ...] = ()

    def with_groups(self, groups: tuple[int, ...]) -> BalancedPort:
        """The same with ids for its groups, the outermost first."""
        return replace(self, groups=groups)

    @property
    def _owner(self) -> Owner:
        return _owner(self.name, self.number)

    @property
    def _ours(self) -> tuple[Term, ...]:
        """Packets of this port in the tables behind ServicePort."""
        choice = (LOCAL_CHOICE.equals(1),) if self.is_second and self.affinity else ()
        return (*is_of(self.version, self.protocol), SERVICE_PORT.equals(self.number), *choice)

    def flows(self) -> Iterator[Flow]:
        for entrance in self.entrances:
            yield self._entry(entrance)
        if self.affinity and self.chosen:
            yield from self._remembering()
        if not self.is_second:
            for target in self.serving:
                yield self._translation(target)

    def _entry(self, entrance: Entrance) -> Flow:
        called = entrance.vip
        priority = Priority.NODE_PORT if called is None else Priority.NORMAL
        where = (NODE_PORT.equals(1),) if called is None else destination_is(called)
        if entrance.caller is not None:
            priority, where = Priority.NODE_PORT_OF_OWN, (*where, *source_is(entrance.caller))
        if entrance.by_pods:
            priority, where = Priority.NODE_PORT_OF_PODS, (*where, SOURCE_TYPE.equals(SourceType.POD))
        choice = (LOCAL_CHOICE.set(1),) if self.is_second and self.affinity else ()
        return self._owner.flow(
            tables.SERVICE_PORT,
            priority,
            Match(*where, *is_of(self.version, self.protocol), port_is(self.protocol, entrance.number)),
            SERVICE_PORT.set(self.number),
            *choice,
            *self._spread(),
        )

    def _spread(self) -> tuple[Action, ...]:
        if not self.chosen:
            return (Goto(tables.REJECT.number),) if self.when_none is WhenNone.REJECT else ()
        if self.affinity:
            return (Resubmit(tables.AFFINITY.number), Goto(tables.SERVICE_ENDPOINT.number))
        return (GroupAction(self.groups[0]),)

    def _remembering(self) -> Iterator[Flow]:
        """What was learned counts while the endpoint is among the chosen; otherwise the client gets another."""
        above = Priority.NODE_PORT - Priority.NORMAL if self.is_second else 0
        for target in self.chosen:
            yield self._owner.flow(
                tables.SERVICE_ENDPOINT,
                Priority.NORMAL + 2 * above,
                Match(*self._ours, ENDPOINT.equals(target.number)),
                Goto(tables.SERVICE_LEARN.number),
            )
        yield self._owner.flow(
            tables.SERVICE_ENDPOINT,
            Priority.NORMAL + above if above else Priority.LOW,
            Match(*self._ours),
            GroupAction(self.groups[0]),
        )
        for by_outside, priority, who in (
            (False, Priority.NORMAL, ()),
            (True, Priority.OF_OUTSIDE, (SOURCE_TYPE.equals(SourceType.GATEWAY),)),
        ):
            yield self._owner.flow(
                tables.SERVICE_LEARN,
                priority + above,
                Match(*self._ours, *who),
                self._learning(by_outside=by_outside),
                Goto(tables.ENDPOINT_DNAT.number),
            )

    def _learning(self, *, by_outside: bool) -> Learn:
        """Pods and the world outside have a limit each: sources outside can be forged, as many as one likes."""
        version = self.version
        return Learn(
            table=tables.AFFINITY.number,
            priority=Priority.NORMAL,
            cookie=affinity_cookie(self.number, self.affinity, by_outside=by_outside),
            limit=REMEMBERED_CLIENTS,
            idle_timeout=self.affinity,
            delete_learned=True,
            matches=(
                term(ETH_TYPE, family(version).value),
                SOURCE_NETWORK.slice,
                SERVICE_PORT.slice,
                (IPV4_SRC if version == 4 else IPV6_SRC).whole,
            ),
            loads=(Move(ENDPOINT.slice, ENDPOINT.slice),),
        )

    def _translation(self, target: Target) -> Flow:
        return self._owner.flow(
            tables.ENDPOINT_DNAT,
            Priority.NORMAL,
            Match(*self._ours, ENDPOINT.equals(target.number)),
            Ct(
                SOURCE_ZONE.slice,
                tables.SERVICE_ADMIT.number,
                commit=True,
                nat=Nat(is_source=False, address=target.address, port=target.port),
                execute=(TRANSLATED.set(1), *PARTIES),
            ),
        )

    def select_groups(self) -> Iterator[Group]:
        """One, or for many endpoints a group of groups, whose levels hash differently: equal hashes would be correlated."""
        if not self.chosen:
            return
        source = "ip_src" if self.version == 4 else "ipv6_src"
        by_client = (source,) if self.affinity else ()
        owner = self._owner.text
        if len(self.groups) == 1:
            buckets = self._buckets(self.chosen, is_hashed=not by_client)
            yield Group(self.groups[0], buckets, by_client, owner=owner)
            return
        outer, *inner = self.groups
        for index, number in enumerate(inner):
            targets = self.chosen[
                index * len(self.chosen) // len(inner) : (index + 1) * len(self.chosen) // len(inner)
            ]
            param = 1 if self.affinity else 0
            buckets = self._buckets(targets, is_hashed=not by_client)
            yield Group(number, buckets, by_client, hash_param=param, owner=owner)
        fields = by_client or (source, PORTS[self.protocol][1].name)
        yield Group(
            outer, tuple(Bucket(number, (GroupAction(number),)) for number in inner), fields, owner=owner
        )

    def _buckets(self, targets: tuple[Target, ...], *, is_hashed: bool) -> tuple[Bucket, ...]:
        """Of equal weight. dp_hash makes as many slots as the smallest weight asks for: more of them make shares more even."""
        after = tables.SERVICE_LEARN if self.affinity else tables.ENDPOINT_DNAT
        ways = {each.number: (ENDPOINT.set(each.number), Resubmit(after.number)) for each in targets}
        count = len(targets)
        if not is_hashed or not count & (count - 1):
            return tuple(map(Bucket, ways, ways.values()))
        # Between half of the slots and all of them: so many times is the smallest weight in the total.
        weight = min(MOST_SLOTS, SLOTS_EACH * 2 ** count.bit_length()) * 3 // 4
        extra = Bucket(EXTRA_BUCKET, ways[targets[0].number], count)
        return (extra, *(Bucket(number, way, weight) for number, way in ways.items()))


def groups_needed(endpoints: int) -> int:
    """How many groups spread so many endpoints."""
    return min(endpoints, 1) if endpoints <= LARGEST_GROUP else 1 + -(-endpoints // LARGEST_GROUP)


@dataclass(frozen=True, slots=True)
class LiveServicePort:
    """Connections by this port of a Service belong to its network and Namespace, as long as there is such a port."""

    name: str
    number: int
    network_key: int
    scope: int

    def flows(self) -> Iterator[Flow]:
        yield _owner(self.name, self.number).flow(
            tables.SERVICE_SCOPE,
            Priority.NORMAL,
            Match(SERVICE_PORT.equals(self.number), LOOKUP.equals(self.network_key)),
            SERVICE_SCOPE.set(LIVE | self.scope),
        )


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """A pod of this node is an endpoint of a Service's port: new connections by that port may end here."""

    name: str
    number: int
    network_key: int
    scope: int
    protocol: Protocol
    address: Address
    port: int

    def flows(self) -> Iterator[Flow]:
        yield _owner(self.name, self.number).flow(
            tables.LOCAL_BACKEND,
            Priority.NORMAL,
            Match(
                *destination_is(self.address),
                *is_of(self.address.version, self.protocol),
                port_is(self.protocol, self.port),
                SERVICE_PORT.equals(self.number),
                DESTINATION_NETWORK.equals(self.network_key),
            ),
            SERVICE_SCOPE.set(LIVE | self.scope),
        )


@dataclass(frozen=True, slots=True)
class ServicePermit:
    """Networks of a service class may use the services of a network: all, or those of one Namespace (``scope`` not 0)."""

    service_class: int
    policy: str
    network: str
    network_key: int
    namespace: str
    scope: int

    def flows(self) -> Iterator[Flow]:
        where = f" in Namespace {self.namespace}" if self.namespace else ""
        text = f"service class {self.service_class:#x} to services of Network {self.network}{where}"
        owner = Owner(
            cookie(Category.SERVICE_CLASS, self.service_class), f"ServiceRoutingPolicy {self.policy}: {text}"
        )
        admitted = SERVICE_SCOPE.equals(LIVE | self.scope) if self.namespace else LIVE_SERVICE.equals(1)
        yield owner.flow(
            tables.PERMIT,
            Priority.NAMESPACE_SERVICES if self.namespace else Priority.ALL_SERVICES,
            Match(SERVICE_CLASS.equals(self.service_class), LOOKUP.equals(self.network_key), admitted),
            PERMITTED.set(1),
        )


def _owner(name: str, number: int) -> Owner:
    return Owner(cookie(Category.SERVICE, number), f"Service {name}")
