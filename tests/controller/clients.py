"""A switch whose clients start all connections they can, at every moment, and controllers that are killed and succeeded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from served import PORTS, Dns, programmed, rows, served

from lace_sdn.controller.node_loop import NodeLoop
from lace_sdn.controller.world import World
from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests
from lace_sdn.openflow.actions import Ct, GroupAction, SetField
from lace_sdn.openflow.diff import apply
from lace_sdn.openflow.fields import IP_PROTO, IPV4_DST, IPV6_DST, UDP_DST, IpProto
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.pipeline.registers import ENDPOINT, SERVICE_PORT
from lace_sdn.policy.ledger import Ledger
from lace_sdn.switch.contract import Installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Flow
    from lace_sdn.openflow.wire import ConnectionFilter, Metered

CACHED_S = 0.9
"""Seconds for which the switch goes on as flows had said that are gone."""


class Connection(NamedTuple):
    """Addresses as numbers: VIP and its port, endpoint and its port."""

    vip: int
    port: int
    endpoint: int
    endpoint_port: int


Result = TypeVar("Result")


class Killed(BaseException):
    """The controller's process has ended."""


@dataclass
class Switch:
    """A bridge with clients that start all connections they can, before and after everything that is done to it.

    ``kill_at``: how many calls it takes until the controller is killed, by whole numbers behind a call, by halves before it.
    """

    clock: float = 0.0
    program: BridgeProgram = field(default_factory=BridgeProgram)
    connections: set[Connection] = field(default_factory=set)
    disturbed: set[Connection] = field(default_factory=set)
    """Those that were forgotten although ``desired`` serves them."""
    desired: BridgeProgram = field(default_factory=BridgeProgram)
    kill_at: float = 0.0
    datapath_id = 1
    address = ""
    is_connected = True
    told: list[str] = field(default_factory=list)
    _former: list[tuple[float, BridgeProgram]] = field(default_factory=list)

    def dump(self) -> Installed:
        return self._do("dump", lambda: Installed(self.program))

    def commit(self, delta: Delta) -> None:
        if not delta.is_empty:
            self._do("commit", lambda: self._replace(apply(self.program, delta)))

    def metered(self) -> Mapping[int, Metered]:
        return {}

    def flush_zone(self, zone: int) -> None:
        self._do(f"zone {zone}", lambda: None)

    def flush_connections(self, which: Sequence[ConnectionFilter]) -> None:
        if which:
            self._do("forget", lambda: self._forget(which))

    def act(self) -> None:
        """Let the clients start what they can."""
        self._former = [(until, former) for until, former in self._former if until > self.clock]
        for each in (self.program, *(former for _, former in self._former)):
            self.connections |= offered(each)

    def _do(self, what: str, deed: Callable[[], Result]) -> Result:
        self._be_killed()
        self.act()
        self.told.append(what)
        result = deed()
        self.act()
        self._be_killed()
        return result

    def _be_killed(self) -> None:
        if self.kill_at:
            self.kill_at -= 0.5
            if not self.kill_at:
                raise Killed

    def _replace(self, program: BridgeProgram) -> None:
        self._former.append((self.clock + CACHED_S, self.program))
        self.program = program

    def _forget(self, which: Sequence[ConnectionFilter]) -> None:
        gone = {each for each in self.connections if any(_is_meant(each, its) for its in which)}
        self.disturbed |= gone & served_by(self.desired)
        self.connections -= gone


def _is_meant(connection: Connection, which: ConnectionFilter) -> bool:
    original, reply = which.original, which.reply
    return (
        which.protocol == IpProto.UDP
        and original.destination is not None
        and (int(original.destination), original.destination_port) == connection[:2]
        and (reply.source is None or (int(reply.source), reply.source_port) == connection[2:])
    )


def offered(program: BridgeProgram) -> set[Connection]:
    """What a client can start: a port of a VIP gives a number and a group, which gives an endpoint."""
    groups = {group.id: group for group in program.groups}

    def endpoints(number: int) -> Iterator[int]:
        for bucket in groups[number].buckets:
            for action in bucket.actions:
                if isinstance(action, GroupAction):
                    yield from endpoints(action.group)
                elif isinstance(action, SetField) and action.field is ENDPOINT.field:
                    yield action.value

    rows = _rows(program)
    return {
        Connection(*vip, *rows[number, endpoint, version])
        for vip, version, number, actions in _ports(program)
        for action in actions
        if isinstance(action, GroupAction)
        for endpoint in endpoints(action.group)
        if (number, endpoint, version) in rows
    }


def served_by(program: BridgeProgram) -> set[Connection]:
    """What may go on: all endpoints that there are, chosen or not."""
    rows: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for (number, _, version), its in _rows(program).items():
        rows[number, version].append(its)
    return {
        Connection(*vip, *its) for vip, version, number, _ in _ports(program) for its in rows[number, version]
    }


def _ports(program: BridgeProgram) -> list[tuple[tuple[int, int], int, int, tuple[object, ...]]]:
    """(VIP, port), IP version, number and actions, of the flow that counts."""
    found: dict[tuple[int, int], tuple[tuple[int, int], int, int, tuple[object, ...]]] = {}
    for flow in udp_flows(program, 22):
        four, six, port = (flow.match.get(each) for each in (IPV4_DST, IPV6_DST, UDP_DST))
        address = four or six
        assert address is not None
        assert port is not None
        given = {each.field: each.value for each in flow.actions if isinstance(each, SetField)}
        vip = (address.value, port.value)
        found.setdefault(vip, (vip, 4 if four else 6, given[SERVICE_PORT.field], flow.actions))
    return list(found.values())


def _rows(program: BridgeProgram) -> dict[tuple[int, int, int], tuple[int, int]]:
    """By (number of the Service's port, number of the endpoint, IP version)."""
    found: dict[tuple[int, int, int], tuple[int, int]] = {}
    for flow in udp_flows(program, 25):
        number, endpoint = (flow.match.get(each.field) for each in (SERVICE_PORT, ENDPOINT))
        (nat,) = (each.nat for each in flow.actions if isinstance(each, Ct))
        assert number is not None
        assert endpoint is not None
        assert nat is not None
        assert nat.address is not None
        key = (number.value, endpoint.value, nat.address.version)
        found.setdefault(key, (int(nat.address), nat.port or 0))
    return found


def udp_flows(program: BridgeProgram, table: int) -> list[Flow]:
    """Higher priorities first."""
    return [
        flow
        for flow in program.flows
        if flow.table == table and (its := flow.match.get(IP_PROTO)) and its.value == IpProto.UDP
    ]


class Controllers:
    """One controller after the other, each the successor of one that was killed."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self._start()

    def _start(self) -> None:
        self.loop = NodeLoop("one", clock=lambda: self.switch.clock)
        self.loop.bridge, self.loop.found = self.switch, rows(PORTS)

    def want(self, *services: Dns) -> None:
        self.world = World("now", build(Manifests(), Ledger()), Cluster.of(served(*services)))
        self.switch.desired = programmed(*services)

    def step(self) -> None:
        """A controller that is killed in it has a successor at the next step."""
        try:
            assert self.loop.step(self.world)
        except Killed:
            self._start()

    def wait(self, seconds: float) -> None:
        """Steps only when one is due."""
        end = self.switch.clock + seconds
        while self.loop.due is not None and self.loop.due <= end:
            self.switch.clock = max(self.switch.clock, self.loop.due)
            self.switch.act()
            self.step()
        self.switch.clock = end
        self.switch.act()
