"""Who may start connections to whom, keyed by policy class: a mesh of N networks costs O(N) flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Goto, Resubmit
from lace_sdn.openflow.match import Match, ct_state
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.cookies import Category, cookie
from lace_sdn.pipeline.packet import destination_in
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    INITIATOR,
    INITIATOR_CLASS,
    KNOWN_SENDER,
    LOOKUP,
    PERMITTED,
    RESPONDER,
    SERVICE_CLASS,
    SOURCE_NETWORK,
)
from lace_sdn.pipeline.unit import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Prefix
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.registers import RegField


def ask_permit(initiator: RegField, responder: RegField, *of_responder: Action) -> tuple[Action, ...]:
    """Set ``PERMITTED`` if the network in ``initiator`` may start connections to the one in ``responder``, now.

    Classes are looked up in the pass that uses them and never carried over a recirculation: their numbers may mean
    something else after the next bundle. ``of_responder`` is done while ``LOOKUP`` is the responder.
    """
    return (
        initiator.copy_to(LOOKUP),
        Resubmit(tables.POLICY_CLASS.number),
        responder.copy_to(LOOKUP),
        *of_responder,
        Resubmit(tables.PERMIT.number),
    )


SCOPE_OF_CONNECTION = Resubmit(tables.SERVICE_SCOPE.number)
"""The scope of the Service in ``SERVICE_PORT``, if it still is one of the responder."""


def _network(name: str, key: int) -> Owner:
    return Owner(cookie(Category.NETWORK, key), f"Network {name}")


def to_network(key: int) -> tuple[Action, ...]:
    """The destination is in the network with this key, if the sender's may start connections to it."""
    return (
        DESTINATION_NETWORK.set(key),
        Resubmit(tables.PERMIT_NEW.number),
        Goto(tables.SOURCE_GATE.number),
    )


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """A network with pods on this node: its own prefixes mean itself, and its pods reach each other."""

    name: str
    key: int
    prefixes: tuple[Prefix, ...]

    def flows(self) -> Iterator[Flow]:
        owner = _network(self.name, self.key)
        for prefix in self.prefixes:
            yield owner.flow(
                tables.DESTINATION_NETWORK,
                Priority.OWN_PREFIX + prefix.prefixlen,
                Match(SOURCE_NETWORK.equals(self.key), *destination_in(prefix)),
                *to_network(self.key),
            )
        yield owner.flow(
            tables.PERMIT,
            Priority.SELF,
            Match(SOURCE_NETWORK.equals(self.key), DESTINATION_NETWORK.equals(self.key)),
            PERMITTED.set(1),
        )


@dataclass(frozen=True, slots=True)
class ClassMember:
    """A network that may initiate: the numbers of its policy class and its service class, 0 for none."""

    name: str
    key: int
    policy_class: int
    service_class: int

    def flows(self) -> Iterator[Flow]:
        yield _network(self.name, self.key).flow(
            tables.POLICY_CLASS,
            Priority.NORMAL,
            Match(LOOKUP.equals(self.key)),
            INITIATOR_CLASS.set(self.policy_class),
            SERVICE_CLASS.set(self.service_class),
        )


@dataclass(frozen=True, slots=True)
class EstablishedInitiator:
    """Packets of the one who started a connection: its network is the label's initiator, and the relation still holds."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield _network(self.name, self.key).flow(
            tables.PERMIT_ESTABLISHED,
            Priority.NORMAL,
            Match(ct_state("-rpl+trk"), INITIATOR.equals(self.key), SOURCE_NETWORK.equals(self.key)),
            KNOWN_SENDER.set(1),
            *ask_permit(SOURCE_NETWORK, DESTINATION_NETWORK, SCOPE_OF_CONNECTION),
        )


@dataclass(frozen=True, slots=True)
class EstablishedResponder:
    """Replies: the sender's network is the label's responder, and the initiator's relation to it still holds."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield _network(self.name, self.key).flow(
            tables.PERMIT_ESTABLISHED,
            Priority.NORMAL,
            Match(ct_state("+rpl+trk"), RESPONDER.equals(self.key), SOURCE_NETWORK.equals(self.key)),
            KNOWN_SENDER.set(1),
            *ask_permit(DESTINATION_NETWORK, SOURCE_NETWORK, SCOPE_OF_CONNECTION),
        )


@dataclass(frozen=True, slots=True)
class ClassDestination:
    """What the prefixes of a destination mean for pods of a policy class on this node."""

    policy_class: int
    policy: str
    name: str
    key: int
    prefixes: tuple[Prefix, ...]

    def flows(self) -> Iterator[Flow]:
        owner = _class_owner(self.policy_class, self.policy, self.name)
        for prefix in self.prefixes:
            yield owner.flow(
                tables.DESTINATION_NETWORK,
                Priority.CLASS_PREFIX + prefix.prefixlen,
                Match(INITIATOR_CLASS.equals(self.policy_class), *destination_in(prefix)),
                *to_network(self.key),
            )


@dataclass(frozen=True, slots=True)
class ClassPermit:
    """Networks of a policy class may start connections to a destination."""

    policy_class: int
    policy: str
    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield _class_owner(self.policy_class, self.policy, self.name).flow(
            tables.PERMIT,
            Priority.NORMAL,
            Match(INITIATOR_CLASS.equals(self.policy_class), LOOKUP.equals(self.key)),
            PERMITTED.set(1),
        )


def _class_owner(number: int, policy: str, destination: str) -> Owner:
    return Owner(
        cookie(Category.POLICY_CLASS, number),
        f"NetworkRoutingPolicy {policy}: policy class {number:#x} to Network {destination}",
    )
