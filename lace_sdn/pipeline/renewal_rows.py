"""Packets of a connection that is no longer permitted: they end here, or are the first of a new one that is.

Conntrack knows a connection by addresses and ports alone, and keeps it while packets come, refused ones too. Where a policy
was turned round, or another pod has the address, a packet of the same addresses and ports is another connection: it is asked
about as a new one, in its own direction, and if it is permitted it takes the entry's place (docs/decisions/0028).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import Ct, Goto, Resubmit
from lace_sdn.openflow.fields import ICMP_TYPE, ICMPV6_TYPE, IP_PROTO, IpProto
from lace_sdn.openflow.match import Match, ct_state, tcp_flags, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.packet import family
from lace_sdn.pipeline.registers import (
    ADMITTED,
    DESTINATION_TYPE,
    FRAME_PORT,
    HAIRPIN,
    KNOWN_SENDER,
    LOOKUP,
    OWN_PORT,
    PERMITTED,
    RENEWED,
    SERVICE_PORT,
    SERVICE_SCOPE,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    THROUGH,
    TRANSLATED,
    DestinationType,
    SourceType,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.openflow.actions import Action, Move, SetField
    from lace_sdn.openflow.fields import Term
    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.registers import RegField
    from lace_sdn.pipeline.tables import Table
    from lace_sdn.pipeline.unit import Owner

_ECHO: Final = {4: (IpProto.ICMP, ICMP_TYPE, 8), 6: (IpProto.ICMPV6, ICMPV6_TYPE, 128)}
"""By IP version: protocol, field and number of an echo request (RFC 792, RFC 4443 section 4.1)."""

# What was translated here has addresses that no new connection would have; what quotes a packet starts nothing; and nobody takes
# the place of a connection that another network has part in.
STALE: Final = (
    ct_state("-rel+trk"),
    ADMITTED.equals(1),
    TRANSLATED.equals(0),
    OWN_PORT.equals(0),
    HAIRPIN.equals(0),
    KNOWN_SENDER.equals(1),
)

UNTRANSLATED_REPLY: Final = (ct_state("+rpl-snat-dnat"), THROUGH.equals(0))
"""Who saw its client at another address, or was called through a VIP, answers to an entry that is translated here or there: a
connection of its own has other addresses at one end."""


def renewals(
    owner: Owner, table: Table, ways: tuple[tuple[Term, ...], ...], *actions: Action
) -> Iterator[Flow]:
    """What may start a connection, of the stale ones in ``table`` that are one of ``ways``: TCP only by its SYN."""
    for version in (4, 6):
        ip = family(version)
        echo, kind, request = _ECHO[version]
        tcp, icmp = term(IP_PROTO, IpProto.TCP), term(IP_PROTO, echo)
        for way in ways:
            stale = Match(ip, *STALE, *way)
            for first in ((tcp, tcp_flags("+syn-ack")), (icmp, term(kind, request))):
                yield owner.flow(table, Priority.ESTABLISHED, stale & Match(*first), *actions)
            yield owner.flow(table, Priority.LOW, stale, *actions)
        for protocol in (tcp, icmp):
            yield owner.flow(table, Priority.TRANSLATED, Match(ip, protocol))


def source_renewal(owner: Owner) -> Iterator[Flow]:
    """At the sender's node: from a pod, or from outside in the direction in which it was started."""
    table = tables.SOURCE_RENEWAL
    yield _still_permitted(owner, table, tables.SOURCE_GATE)
    yield from renewals(
        owner,
        table,
        (
            (SOURCE_TYPE.equals(SourceType.POD), ct_state("-rpl")),
            (SOURCE_TYPE.equals(SourceType.POD), *UNTRANSLATED_REPLY),
            (SOURCE_TYPE.equals(SourceType.GATEWAY), ct_state("-rpl")),
        ),
        RENEWED.set(1),
        SERVICE_PORT.set(0),
        SERVICE_SCOPE.set(0),
        SOURCE_NETWORK.copy_to(LOOKUP),
        Resubmit(tables.POLICY_CLASS.number),
        Goto(tables.NODE_ADDRESS.number),
    )


def destination_renewal(owner: Owner) -> Iterator[Flow]:
    """At the receiver's node: to a pod, or to outside in the direction in which it was started."""
    table = tables.DESTINATION_RENEWAL
    yield _still_permitted(owner, table, tables.DESTINATION_GATE)
    yield from renewals(
        owner,
        table,
        (
            (DESTINATION_TYPE.equals(DestinationType.LOCAL), ct_state("-rpl")),
            (DESTINATION_TYPE.equals(DestinationType.LOCAL), *UNTRANSLATED_REPLY),
            (DESTINATION_TYPE.equals(DestinationType.GATEWAY), ct_state("-rpl")),
        ),
        RENEWED.set(1),
        FRAME_PORT.copy_to(SERVICE_PORT),
        Resubmit(tables.LOCAL_BACKEND.number),
        Resubmit(tables.PERMIT_NEW.number),
        Goto(tables.DESTINATION_GATE.number),
    )


def _still_permitted(owner: Owner, table: Table, gate: Table) -> Flow:
    return owner.flow(table, Priority.SELF, Match(PERMITTED.equals(1)), Goto(gate.number))


def renew(
    owner: Owner, table: Table, zone: RegField, then: Table, execute: tuple[SetField | Move, ...]
) -> Iterator[Flow]:
    """Admit it in place of the entry that there is. ``force``: also where that was started by the other end."""
    for version in (4, 6):
        yield owner.flow(
            table,
            Priority.RENEWED,
            Match(family(version), RENEWED.equals(1), ct_state("+trk")),
            Ct(zone.slice, then.number, commit=True, force=True, execute=execute),
        )
