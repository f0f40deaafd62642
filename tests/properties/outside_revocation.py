"""Judges of revocation with an end outside: what ended passes nobody, in either direction, whichever node hears of it first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from beyond import Beyond
from outside_arena import HTTP, NODE_PORTS, OUTER, with_prefixes, with_probes, without
from states import TCP_PORT, UDP_PORT

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.ends import SERVICE_PREFIX
from lace_sdn.policy.oracle import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beyond import Meeting
    from judges import Compile, Lab

    from lace_sdn.model.cluster import ClusterState

    Connections = tuple[Connection, ...]

CLIENT = 34000


def tcp(source: str, destination: str, port: int = TCP_PORT, family: int = 4) -> Connection:
    return Connection(source, destination, Protocol.TCP, port, family)


def udp(source: str, destination: str, port: int = UDP_PORT, family: int = 4) -> Connection:
    return Connection(source, destination, Protocol.UDP, port, family)


def vip(source: str, service: str, protocol: Protocol = Protocol.TCP, port: int = 80) -> Connection:
    return Connection(source, f"{SERVICE_PREFIX}pods/{service}", protocol, port)


OUT = (
    tcp("pods/ann0", "host net", HTTP),
    udp("pods/ann0", "host net"),
    udp("pods/ann1", "host net", UDP_PORT, 6),
    Connection("pods/ann1", "host net", Protocol.ICMP, 0),
)
OUT_TO_CORP = (tcp("pods/ann0", "host corp0", HTTP), udp("pods/ann1", "host corp2", UDP_PORT, 6))
IN = (
    tcp("host corp0", "pods/bob0"),
    udp("host corp0", "pods/bob1"),
    tcp("host corp2", "pods/bob0", TCP_PORT, 6),
    Connection("host corp2", "pods/bob1", Protocol.ICMP, 0),
)
IN_BY_VIP = (vip("host corp0", "web"), tcp("host corp2", "node node2", NODE_PORTS["web"]))
USED = (
    vip("host net", "web"),
    vip("host net", "dns", Protocol.UDP, 53),
    udp("host net", "node node2", NODE_PORTS["dns"], 6),
    tcp("host net", "node node1", NODE_PORTS["web"]),
)
OF_NODES = (
    vip("node node0", "web"),
    tcp("host lan", "node node2", NODE_PORTS["near"]),
    tcp("node node1", "node node1", NODE_PORTS["web"]),
)[::2]
UNDERLAY = (vip("pods/eve0", "api", Protocol.TCP, HTTP), vip("pods/eve2", "lan", Protocol.UDP, 53))
OWN_UNDERLAY = (vip("host lan", "api", Protocol.TCP, HTTP), vip("node node2", "api", Protocol.TCP, HTTP))
ROUTED_UNDERLAY = (vip("pods/cat0", "api", Protocol.TCP, HTTP), vip("pods/cat2", "lan", Protocol.UDP, 53))
BY_NODE_PORT = (
    tcp("pods/eve0", "node node2", NODE_PORTS["web"]),
    tcp("pods/eve2", "node node0", NODE_PORTS["near"]),
)
PROBES = (tcp("node node0", "pods/bob0"), tcp("node node1", "pods/bob1", TCP_PORT, 6))
TO_CAT = (tcp("host lan", "pods/cat0"), udp("host lan", "pods/cat2", UDP_PORT, 6))
OTHERS = (tcp("host file", "pods/bob0"), tcp("pods/dan0", "host net", HTTP), *PROBES)

POLICIES: dict[str, tuple[Connections, Connections]] = {
    "ann-to-world": (OUT, (*OUT_TO_CORP, *OTHERS)),
    "ann-to-corp": (OUT_TO_CORP, (*OUT, *OTHERS)),
    "corp-to-bob": ((*IN, *IN_BY_VIP), (tcp("pods/bob0", "host corp0", HTTP), *USED, *OTHERS)),
    "bob-to-corp": ((udp("pods/bob0", "host corp0"),), (*IN, *OTHERS)),
    "world-uses-bob": (USED, (*IN, *OF_NODES, *OTHERS)),
    "base-uses-bob": (OF_NODES, (*USED, *OTHERS)),
    "eve-uses-bob": (BY_NODE_PORT, (*USED, *UNDERLAY)),
    "eve-uses-base": (UNDERLAY, (*OWN_UNDERLAY, *ROUTED_UNDERLAY, *OTHERS)),
    "cat-to-base": (ROUTED_UNDERLAY, (*UNDERLAY, *OWN_UNDERLAY, *TO_CAT)),
    "base-to-cat": (TO_CAT, (tcp("node node2", "pods/cat2"), *ROUTED_UNDERLAY)),
}
SERVICES: dict[str, tuple[Connections, Connections]] = {
    "pods/web": ((USED[0], USED[3], BY_NODE_PORT[0], *OF_NODES), (USED[1], *IN_BY_VIP, *OTHERS)),
    "pods/api": ((UNDERLAY[0], *OWN_UNDERLAY), (UNDERLAY[1], *ROUTED_UNDERLAY, *OTHERS)),
}
_OF_CORP0 = (*OUT_TO_CORP[:1], *IN[:2], IN_BY_VIP[0], udp("pods/bob0", "host corp0"))
_OF_NET = (*OUT, *USED, tcp("pods/dan0", "host net", HTTP))
MOVES: dict[str, tuple[ClusterState, Connections, Connections]] = {
    "without a prefix of corp": (with_prefixes("corp", "2001:db8:7::/48"), _OF_CORP0, (*OUT, IN[2], *OTHERS)),
    "with a longer prefix of shut": (
        with_prefixes("shut", "203.0.113.0/29"),
        _OF_CORP0,
        (*OUT, IN[2], IN[3], *OTHERS),
    ),
    "with the LAN in shut": (
        with_prefixes("shut", "192.168.60.0/24"),
        (UNDERLAY[1], ROUTED_UNDERLAY[1], TO_CAT[0], OWN_UNDERLAY[0]),
        (*OUT, TO_CAT[1], *OTHERS),
    ),
    "with little in world": (
        with_prefixes("world", "128.0.0.0/2", "3000::/4"),
        _OF_NET,
        (*OUT_TO_CORP, *IN),
    ),
    "with the rest in shut": (
        with_prefixes("shut", "198.51.0.0/16", "2001:db8:8::/48"),
        _OF_NET,
        (*OUT_TO_CORP, *IN),
    ),
}


def revoked_policy(name: str, lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What this policy alone allowed."""
    yield from _revoked(lab, compile_all, (without(name), f"without {name}"), POLICIES[name])


def revoked_service(name: str, lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What was allowed by this Service's VIP or NodePort alone."""
    yield from _revoked(lab, compile_all, (without(name), f"without {name}"), SERVICES[name])


def revoked_probes(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Those of the only pod of its network on that node that has some, and one of two of a pod."""
    nine = tcp("node node0", "pods/bob0", 9090)
    for name, ports, cut, live in (
        ("bob1", (), PROBES[1], (PROBES[0], nine, *IN)),
        ("bob0", (9090,), PROBES[0], (PROBES[1], nine, *IN)),
    ):
        changed = with_probes(name, *ports), f"with probes {ports} of {name}"
        yield from _revoked(lab, compile_all, changed, ((cut,), live))


def moved_prefix(name: str, lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Addresses that became another Network's: what was the old one's ends."""
    state, *connections = MOVES[name]
    cut, live = connections
    yield from _revoked(lab, compile_all, (state, name), (cut, live))


def _revoked(
    lab: Lab,
    compile_all: Compile,
    change: tuple[ClusterState, str],
    connections: tuple[Connections, Connections],
) -> Iterator[str]:
    """The first of ``connections`` end when the node of either end has the new state, the others never."""
    (state, what), (cut, live) = change, connections
    old, new = compile_all(OUTER, OUTER), compile_all(state, OUTER)
    for fresh in (*((node,) for node in OUTER.node_by_name), tuple(OUTER.node_by_name)):
        stage = Beyond.of(OUTER, lab(old))
        ended = [stage.meet(each, CLIENT + number) for number, each in enumerate(cut)]
        kept = [stage.meet(each, CLIENT + 100 + number) for number, each in enumerate(live)]
        for node in fresh:
            stage.wires.install(node, new[node])
        for held in (*ended, *kept):
            if not held.is_whole:
                yield f"{held.connection}: never made"
        for held in ended:
            if held.is_whole and _nodes(held) & set(fresh):
                for each in stage.heard(held, state):
                    yield f"{held.connection}: still heard at {each} {what} on {', '.join(fresh)}"
        for held in kept:
            if held.is_whole and stage.goes_on(held) != (True, True):
                yield f"{held.connection}: cut {what} on {', '.join(fresh)}"


def _nodes(held: Meeting) -> set[str]:
    assert held.way is not None
    assert held.there is not None
    return {held.way.place.node, held.there.node}


def _named(
    judge: Callable[[str, Lab, Compile], Iterator[str]], name: str
) -> Callable[[Lab, Compile], Iterator[str]]:
    made = partial(judge, name)
    made.__name__ = f"{judge.__name__}[{name}]"  # type: ignore[attr-defined]
    return made


REVOCATIONS: tuple[Callable[[Lab, Compile], Iterator[str]], ...] = (
    *(_named(revoked_policy, name) for name in POLICIES),
    *(_named(revoked_service, name) for name in SERVICES),
    *(_named(moved_prefix, name) for name in MOVES),
    revoked_probes,
)
