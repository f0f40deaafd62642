"""Where packets go through a node's stack that was set up once: real packets, both families."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from host_site import (
    NODE,
    NODE_PORT,
    OUTWARD,
    POD,
    PORT,
    PROGRAM,
    UNROUTED,
    WORLD,
    exchange,
    speak,
)

if TYPE_CHECKING:
    from host_site import Site

pytestmark = pytest.mark.host

FAMILIES = pytest.mark.parametrize("version", [4, 6])
GENEVE = 6081


@pytest.fixture
def kept(site: Site) -> Site:
    """A node that follows the plan, with strict reverse path filters as some distributions have them."""
    site.on_node("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1")
    assert site.keep() == {"digest": "one", "problems": []}
    return site


def first_heard(
    site: Site, listener: socket.socket, namespace: str, source: str, called: tuple[str, int]
) -> bytes:
    """An honest datagram after a false one, on the same way: the first that arrives."""
    address, port = called
    own = WORLD if namespace == site.outside else POD
    honest = own[6 if ":" in address else 4]
    site.send(namespace, source, address, port, b"false")
    site.send(namespace, honest, *listener.getsockname()[:2], b"honest")
    return listener.recv(16)


@FAMILIES
def test_pods_with_the_same_port_call_one_server_at_once(kept: Site, version: int) -> None:
    """Both see their own replies; the server sees the node, with two ports."""
    with kept.listen(kept.outside, WORLD[version], 8000) as server:
        sources = [(address, 40000) for address in OUTWARD[version]]
        callers = [kept.connect(kept.bridge, WORLD[version], 8000, source) for source in sources]
        called = [server.accept() for _ in callers]
        by_port = {connection.getpeername()[1]: connection for connection, _ in called}
        assert {peer[0] for _, peer in called} == {NODE[version]}
        assert len(by_port) == 2
        # Accepted in the order of their calls.
        speak(callers[0], called[0][0])
        speak(callers[1], called[1][0])
        for each in (*callers, *by_port.values()):
            each.close()


@FAMILIES
def test_a_node_port_is_served_to_the_world(kept: Site, version: int) -> None:
    """The bridge sees the world's own address."""
    server = (kept.bridge, NODE_PORT[version], PORT)
    with exchange(kept, server, (kept.outside, NODE[version], PORT)) as (_, called):
        assert called.getpeername()[0] == WORLD[version]


@FAMILIES
def test_a_node_port_is_served_to_the_node_itself(kept: Site, version: int) -> None:
    server = (kept.bridge, NODE_PORT[version], PORT)
    with exchange(kept, server, (kept.node, NODE[version], PORT)) as (_, called):
        assert called.getpeername()[0] == NODE[version]


@FAMILIES
def test_a_datagram_to_a_node_port_is_answered(kept: Site, version: int) -> None:
    with (
        kept.listen(kept.bridge, NODE_PORT[version], PORT, socket.SOCK_DGRAM) as server,
        kept.listen(kept.outside, WORLD[version], 5000, socket.SOCK_DGRAM) as client,
    ):
        client.connect((NODE[version], PORT))
        client.send(b"question")
        _, peer = server.recvfrom(16)
        server.sendto(b"answer", peer)
        assert client.recv(16) == b"answer"


@FAMILIES
def test_what_comes_by_the_bridge_is_not_translated(kept: Site, version: int) -> None:
    """A pod that calls the node's own address gets the node's own listener."""
    server = (kept.node, NODE[version], PORT)
    with exchange(kept, server, (kept.bridge, NODE[version], PORT), OUTWARD[version][0]):
        pass


@FAMILIES
def test_other_ports_of_the_node_are_its_own(kept: Site, version: int) -> None:
    server = (kept.node, NODE[version], PORT + 1)
    with exchange(kept, server, (kept.outside, NODE[version], PORT + 1)):
        pass


@FAMILIES
def test_the_node_calls_pods_with_its_own_address(kept: Site, version: int) -> None:
    server = (kept.bridge, POD[version], 8080)
    with exchange(kept, server, (kept.node, POD[version], 8080)) as (_, called):
        assert called.getpeername()[0] == NODE[version]


@FAMILIES
def test_the_world_calls_a_routed_pod_and_keeps_its_address(kept: Site, version: int) -> None:
    server = (kept.bridge, POD[version], 8080)
    with exchange(kept, server, (kept.outside, POD[version], 8080)) as (_, called):
        assert called.getpeername()[0] == WORLD[version]


@FAMILIES
def test_the_host_s_own_longer_route_wins(kept: Site, version: int) -> None:
    whole = 32 if version == 4 else 128
    kept.on_node(f"ip -{version} route add {POD[version]}/{whole} via {WORLD[version]}")
    kept.run(kept.outside, f"ip addr add {POD[version]}/{whole} dev out0")
    with exchange(kept, (kept.outside, POD[version], 8080), (kept.node, POD[version], 8080)):
        pass


def test_a_strict_reverse_path_filter_does_not_part_host_and_bridge(kept: Site) -> None:
    """Also where the host's own way to the sender is another one: ``lace-gw0`` is loose (RFC 3704 section 2.4)."""
    kept.on_node(f"ip route add {POD[4]}/32 via {WORLD[4]}")
    with kept.listen(kept.node, NODE[4], 5000, socket.SOCK_DGRAM) as listener:
        kept.send(kept.bridge, POD[4], NODE[4], 5000, b"word")
        assert listener.recv(16) == b"word"


@FAMILIES
def test_the_world_cannot_use_a_pod_s_inner_address(kept: Site, version: int) -> None:
    with kept.listen(kept.node, NODE[version], 5000, socket.SOCK_DGRAM) as listener:
        called = (NODE[version], 5000)
        assert first_heard(kept, listener, kept.outside, OUTWARD[version][0], called) == b"honest"


@FAMILIES
def test_the_world_cannot_call_inner_addresses(kept: Site, version: int) -> None:
    kept.run(kept.bridge, f"ip addr add {OUTWARD[version][0]}/32 dev lo", check=False)
    with kept.listen(kept.bridge, "::" if version == 6 else "0.0.0.0", PORT, socket.SOCK_DGRAM) as listener:  # noqa: S104
        for inner in (NODE_PORT[version], OUTWARD[version][0]):
            kept.send(kept.outside, WORLD[version], inner, PORT, b"false")
        kept.send(kept.outside, WORLD[version], NODE[version], PORT, b"honest")
        assert listener.recv(16) == b"honest"


@FAMILIES
def test_a_prefix_that_is_not_routed_is_not_entered(kept: Site, version: int) -> None:
    """Also if a route of somebody else leads there."""
    gateway = "169.254.127.1" if version == 4 else "fe80::1"
    kept.on_node(f"ip -{version} route add {UNROUTED[version]} via {gateway} dev lace-gw0 onlink")
    with kept.listen(kept.bridge, "::" if version == 6 else "0.0.0.0", 8080, socket.SOCK_DGRAM) as listener:  # noqa: S104
        kept.send(kept.outside, WORLD[version], UNROUTED[version], 8080, b"false")
        kept.send(kept.outside, WORLD[version], POD[version], 8080, b"honest")
        assert listener.recv(16) == b"honest"


@FAMILIES
def test_pods_do_not_reach_inner_addresses_or_have_the_node_s(kept: Site, version: int) -> None:
    host = {4: "169.254.127.2", 6: "64:ff9b:1::a9fe:7f02"}[version]
    with kept.listen(kept.node, "::" if version == 6 else "0.0.0.0", 5000, socket.SOCK_DGRAM) as listener:  # noqa: S104
        kept.send(kept.bridge, OUTWARD[version][0], host, 5000, b"false")
        kept.send(kept.bridge, NODE[version], NODE[version], 5000, b"false")
        kept.send(kept.bridge, OUTWARD[version][0], NODE[version], 5000, b"honest")
        assert listener.recv(16) == b"honest"


@FAMILIES
def test_pods_cannot_speak_to_tunnel_ends(kept: Site, version: int) -> None:
    """Neither to the node's own nor to another node's."""
    anywhere = "::" if version == 6 else "0.0.0.0"  # noqa: S104
    pod = OUTWARD[version][0]
    for namespace, address in ((kept.node, NODE[version]), (kept.outside, WORLD[version])):
        with (
            kept.listen(namespace, anywhere, GENEVE, socket.SOCK_DGRAM) as tunnel,
            kept.listen(namespace, anywhere, 5000, socket.SOCK_DGRAM) as other,
        ):
            kept.send(kept.bridge, pod, address, GENEVE, b"false")
            kept.send(kept.bridge, pod, address, 5000, b"honest")
            assert other.recv(16) == b"honest"
            tunnel.setblocking(False)
            with pytest.raises(BlockingIOError):
                tunnel.recv(16)


@FAMILIES
def test_connections_outlive_a_change_of_node_ports(kept: Site, version: int) -> None:
    """The table is replaced; its translations are conntrack's."""
    server = (kept.bridge, NODE_PORT[version], PORT)
    with (
        exchange(kept, server, (kept.outside, NODE[version], PORT)) as (calling, called),
        kept.listen(kept.outside, WORLD[version], 8000) as world,
        kept.connect(kept.bridge, WORLD[version], 8000, (OUTWARD[version][0], 40000)) as pod,
    ):
        peer, _ = world.accept()
        fewer = PROGRAM.__class__(PROGRAM.addresses, PROGRAM.routes, PROGRAM.node_ports[:1])
        without = PROGRAM.__class__(PROGRAM.addresses, PROGRAM.routes)
        assert kept.keep(fewer)["problems"] == kept.keep(without)["problems"] == []
        speak(calling, called)
        speak(pod, peer)
        peer.close()


@FAMILIES
def test_a_node_port_that_is_gone_is_refused(kept: Site, version: int) -> None:
    kept.keep(PROGRAM.__class__(PROGRAM.addresses, PROGRAM.routes))
    with (
        kept.listen(kept.bridge, NODE_PORT[version], PORT),
        pytest.raises(ConnectionRefusedError),
    ):
        kept.connect(kept.outside, NODE[version], PORT)
