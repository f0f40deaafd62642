"""Link, addresses, neighbours, routes and rules of the process's namespace, by netlink."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.node import sysctl
from lace_sdn.node.checksum import disable_transmit_checksum
from lace_sdn.node.wanted import (
    GATEWAY,
    ROUTE_PROTOCOL,
    UNSUPPRESSED,
    Route,
    Rule,
    host_address,
    routes,
    rules,
)
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE, GATEWAY_MAC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lace_sdn.node import Outcome
    from lace_sdn.pipeline.host import HostProgram

MISSING = (
    f"interface {GATEWAY_INTERFACE} is missing: the controller has Open vSwitch make it with the bridge br-int, "
    "look at ovs-vswitchd and the controller of this node; its addresses and routes follow when it is there"
)
FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

_UP = 1  # linux/if.h: IFF_UP
_ONLINK = 4  # linux/rtnetlink.h: RTNH_F_ONLINK
_INVERT = 2  # linux/fib_rules.h: FIB_RULE_INVERT
_NODAD, _TENTATIVE = 2, 0x40  # linux/if_addr.h
_PERMANENT = 0x80  # linux/neighbour.h: NUD_PERMANENT
_SCOPE_LINK = 253  # linux/rtnetlink.h: RT_SCOPE_LINK
_FOREVER = 0xFFFFFFFF
_NOT_CHOSEN: Final[dict[int, dict[str, int]]] = {
    4: {"scope": _SCOPE_LINK},
    6: {"flags": _NODAD, "preferred": 0, "valid": _FOREVER},
}
"""So that the node's own packets do not get the inner address as their source (RFC 6724 rule 3: not a deprecated one)."""


class Routing:
    """Brings the namespace to what is wanted; writes only differences, and only what bears our marks is taken away."""

    def __init__(self) -> None:
        # With strict_check the kernel filters what it dumps: a full table of BGP costs nothing.
        self._netlink = IPRoute(strict_check=True)

    def close(self) -> None:
        self._netlink.close()

    def keep(self, program: HostProgram, outcome: Outcome) -> None:
        """Everything of ``program`` that is routing; without the interface only the rules."""
        versions = [4, 6] if sysctl.has_ipv6() else [4]
        self._set_rules({rule for version in versions for rule in rules(version)}, outcome)
        device = self._device()
        if device is None:
            outcome.problems.append(MISSING)
            return
        self._bring_up(device, outcome)
        versions = [4, 6] if sysctl.has_ipv6(GATEWAY_INTERFACE) else [4]
        for version in versions:
            self._set_address(device, version, outcome)
            self._set_neighbour(device, version, outcome)
        present = self._host_addresses()
        outcome.problems += _without_source(program, versions, present)
        wanted = [each for version in versions for each in routes(program, version, device, present)]
        self._set_routes(wanted, outcome)

    def remove(self, outcome: Outcome) -> None:
        """Everything that ``keep`` makes, except that the interface stays up."""
        self._set_rules(set(), outcome)
        self._set_routes([], outcome)
        device = self._device()
        if device is not None:
            for version in FAMILY:
                self._remove_neighbour(device, version, outcome)
                for length in self._lengths(device, version):
                    self._remove_address(device, version, length, outcome)

    @staticmethod
    def _write(outcome: Outcome, text: str, request: Callable[..., object], verb: str, **what: Any) -> None:
        """One refusal stops nothing else."""
        try:
            request(verb, **what)
        except (NetlinkError, OSError) as error:
            reason = error.args[1] if isinstance(error, NetlinkError) else error.strerror
            outcome.problems.append(f"{text}: the kernel refuses it: {reason}")
        else:
            outcome.changes.append(text)

    def _device(self) -> int | None:
        return next(iter(self._netlink.link_lookup(ifname=GATEWAY_INTERFACE)), None)

    def _bring_up(self, device: int, outcome: Outcome) -> None:
        """The link is down after it was made; its MTU and MAC are the controller's."""
        try:
            if disable_transmit_checksum(GATEWAY_INTERFACE):
                outcome.changes.append(f"{GATEWAY_INTERFACE}: checksums are made whole before they are sent")
        except OSError as error:
            outcome.problems.append(
                f"{GATEWAY_INTERFACE}: transmit checksums stay with the device: {error.strerror}"
            )
        (link,) = self._netlink.get_links(device)
        if not link["flags"] & _UP:
            self._write(
                outcome,
                f"{GATEWAY_INTERFACE}: up",
                self._netlink.link,
                "set",
                index=device,
                state="up",
            )

    # Addresses and neighbours of our interface.

    def _lengths(self, device: int, version: int) -> list[int]:
        """With which prefix lengths the device has our address."""
        address, _ = host_address(version)
        found = self._netlink.get_addr(index=device, family=FAMILY[version])
        return [message["prefixlen"] for message in found if _local(message) == address]

    def _set_address(self, device: int, version: int, outcome: Outcome) -> None:
        address, wanted = host_address(version)
        present = self._lengths(device, version)
        for length in present:
            if length != wanted:
                self._remove_address(device, version, length, outcome)
        if wanted not in present:
            self._write(
                outcome,
                f"{GATEWAY_INTERFACE}: address {address}/{wanted} added",
                self._netlink.addr,
                "add",
                index=device,
                address=address,
                prefixlen=wanted,
                family=FAMILY[version],
                **_NOT_CHOSEN[version],
            )

    def _remove_address(self, device: int, version: int, length: int, outcome: Outcome) -> None:
        address, _ = host_address(version)
        self._write(
            outcome,
            f"{GATEWAY_INTERFACE}: address {address}/{length} removed",
            self._netlink.addr,
            "del",
            index=device,
            address=address,
            prefixlen=length,
            family=FAMILY[version],
        )

    def _has_neighbour(self, device: int, version: int) -> bool:
        found = self._netlink.get_neighbours(
            ifindex=device, family=FAMILY[version], dst=str(GATEWAY[version])
        )
        return any(
            message.get("lladdr") == GATEWAY_MAC and message["state"] & _PERMANENT for message in found
        )

    def _set_neighbour(self, device: int, version: int, outcome: Outcome) -> None:
        if not self._has_neighbour(device, version):
            self._write(
                outcome,
                f"{GATEWAY_INTERFACE}: neighbour {GATEWAY[version]} is {GATEWAY_MAC}",
                self._netlink.neigh,
                "replace",
                dst=str(GATEWAY[version]),
                lladdr=GATEWAY_MAC,
                ifindex=device,
                family=FAMILY[version],
                state=_PERMANENT,
            )

    def _remove_neighbour(self, device: int, version: int, outcome: Outcome) -> None:
        if self._has_neighbour(device, version):
            self._write(
                outcome,
                f"{GATEWAY_INTERFACE}: neighbour {GATEWAY[version]} removed",
                self._netlink.neigh,
                "del",
                dst=str(GATEWAY[version]),
                ifindex=device,
                family=FAMILY[version],
            )

    def _host_addresses(self) -> set[str]:
        """All addresses that a route may name as its source."""
        return {_local(message) for message in self._netlink.get_addr() if not _flags(message) & _TENTATIVE}

    # Routes and rules, ours by their protocol.

    def _set_routes(self, wanted: Iterable[Route], outcome: Outcome) -> None:
        wanted_now = {route.key: route for route in wanted}
        present = {route.key: route for version in FAMILY for route in self._routes(version)}
        for route in [route for key, route in present.items() if key not in wanted_now]:
            self._write(outcome, f"{route} removed", self._netlink.route, "del", **_spec(route))
        for key, route in wanted_now.items():
            if present.get(key) != route:
                # "add" is refused where somebody else has a route; "replace" would take that one.
                verb = "replace" if key in present else "add"
                self._write(
                    outcome,
                    f"{route} set",
                    self._netlink.route,
                    verb,
                    **_spec(route),
                )

    def _routes(self, version: int) -> list[Route]:
        if version == 6 and not sysctl.has_ipv6():
            return []
        found = self._netlink.route("dump", dump_filter={}, family=FAMILY[version], proto=ROUTE_PROTOCOL)
        return [_route(version, message) for message in found if message["proto"] == ROUTE_PROTOCOL]

    def _set_rules(self, wanted: set[Rule], outcome: Outcome) -> None:
        present = {rule for version in FAMILY for rule in self._rules(version)}
        for verb, word, some in (("del", "removed", present - wanted), ("add", "added", wanted - present)):
            for rule in sorted(some, key=str):
                self._write(
                    outcome,
                    f"{rule} {word}",
                    self._netlink.rule,
                    verb,
                    **_rule_spec(rule),
                )

    def _rules(self, version: int) -> list[Rule]:
        if version == 6 and not sysctl.has_ipv6():
            return []
        found = self._netlink.get_rules(family=FAMILY[version])
        return [_rule(version, message) for message in found if message.get("FRA_PROTOCOL") == ROUTE_PROTOCOL]


def _without_source(program: HostProgram, versions: list[int], present: set[str]) -> list[str]:
    own = {
        version: [str(each) for each in program.addresses if each.version == version] for version in versions
    }
    return [
        f"no interface has {' or '.join(addresses)}, the node's address of IPv{version}: "
        "its own calls of pods have another source until one has it"
        for version, addresses in own.items()
        if addresses and not present.intersection(addresses)
    ]


def _local(message: Any) -> str:
    """RFC 5952's form; IFA_ADDRESS is the other end where a link is point-to-point."""
    return str(ip_address(message.get("local") or message.get("address")))


def _flags(message: Any) -> int:
    """IFA_FLAGS has more bits than the field of the header."""
    return int(message.get("IFA_FLAGS") or message["flags"])


def _spec(route: Route) -> dict[str, Any]:
    named = {"gateway": route.gateway, "oif": route.device, "prefsrc": route.source}
    return {
        "family": FAMILY[route.version],
        "table": route.table,
        "dst": route.prefix,
        "proto": ROUTE_PROTOCOL,
        "flags": _ONLINK if route.onlink else 0,
        **{name: value for name, value in named.items() if value is not None},
    }


def _route(version: int, message: Any) -> Route:
    source, destination = message.get("prefsrc"), message.get("dst") or ("::" if version == 6 else "0.0.0.0")  # noqa: S104
    return Route(
        version,
        table=message.get_attr("RTA_TABLE") or message["table"],
        prefix=f"{ip_address(destination)}/{message['dst_len']}",
        device=message.get("oif"),
        gateway=message.get("gateway"),
        source=str(ip_address(source)) if source else None,
        onlink=bool(message["flags"] & _ONLINK),
    )


def _rule_spec(rule: Rule) -> dict[str, Any]:
    named = {
        "FRA_IIFNAME": rule.device,
        "FRA_SUPPRESS_PREFIXLEN": None if rule.suppressed_length == UNSUPPRESSED else rule.suppressed_length,
    }
    return {
        "family": FAMILY[rule.version],
        "priority": rule.priority,
        "table": rule.table,
        "flags": _INVERT if rule.inverted else 0,
        "FRA_PROTOCOL": ROUTE_PROTOCOL,
        **{name: value for name, value in named.items() if value is not None},
    }


def _rule(version: int, message: Any) -> Rule:
    return Rule(
        version,
        priority=message.get("FRA_PRIORITY") or 0,
        table=message.get("FRA_TABLE") or message["table"],
        suppressed_length=message.get("FRA_SUPPRESS_PREFIXLEN", UNSUPPRESSED),
        device=message.get("FRA_IIFNAME"),
        inverted=bool(message["flags"] & _INVERT),
    )
