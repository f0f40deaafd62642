"""What the node's routing is to be, as frozen values that can be compared with what is there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.pipeline.constants import (
    GATEWAY_INTERFACE,
    GATEWAY_IPV4,
    GATEWAY_IPV6,
    HOST_ADDRESS,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lace_sdn.model.objects import Address
    from lace_sdn.pipeline.host import HostProgram

ROUTE_PROTOCOL: Final = 0x4C
"""Marks every route and rule of ours; not one of /etc/iproute2/rt_protos."""
ROUTE_TABLE: Final = 7411
"""Of the ways to pods and virtual addresses; only for what the bridge did not send itself."""
MAIN_TABLE: Final = 254
GATEWAY: Final[Mapping[int, Address]] = {4: GATEWAY_IPV4, 6: GATEWAY_IPV6}
UNSUPPRESSED: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule of IPv``version``; ``inverted``: for what does not come by ``device``."""

    version: int
    priority: int
    table: int
    suppressed_length: int = UNSUPPRESSED
    device: str | None = GATEWAY_INTERFACE
    inverted: bool = True

    def __str__(self) -> str:
        return f"rule {self.priority} of IPv{self.version} to table {self.table}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route by ``gateway`` on the link with the index ``device``; ``source``: what the node's own packets bear."""

    version: int
    table: int
    prefix: str
    device: int | None
    gateway: str | None
    source: str | None = None
    onlink: bool = True

    @property
    def key(self) -> tuple[int, int, str]:
        """What the kernel has one route for."""
        return self.version, self.table, self.prefix

    def __str__(self) -> str:
        source = f" src {self.source}" if self.source else ""
        table = "main" if self.table == MAIN_TABLE else self.table
        return f"route {self.prefix} table {table}{source}"


def rules(version: int) -> Iterator[Rule]:
    """The host's own ways win over ours, except its default; what comes out of the bridge never goes back by ours."""
    yield Rule(version, priority=1000, table=MAIN_TABLE, suppressed_length=0)
    yield Rule(version, priority=1001, table=ROUTE_TABLE)


def routes(program: HostProgram, version: int, device: int, present: Collection[str]) -> Iterator[Route]:
    """``present``: the addresses that the host has; the first of the node's among them is the source."""
    gateway = str(GATEWAY[version])
    for inner in (str(OUTWARD_SOURCES[version]), f"{NODE_PORT_ADDRESS[version]}/{_whole(version)}"):
        yield Route(version, MAIN_TABLE, inner, device, gateway)
    own = (str(each) for each in program.addresses if each.version == version)
    source = next((address for address in own if address in present), None)
    for prefix in program.routes:
        if prefix.version == version:
            yield Route(version, ROUTE_TABLE, str(prefix), device, gateway, source)


def host_address(version: int) -> tuple[str, int]:
    """The address of our interface and its prefix length."""
    return str(HOST_ADDRESS[version]), _whole(version)


def _whole(version: int) -> int:
    return HOST_ADDRESS[version].max_prefixlen
