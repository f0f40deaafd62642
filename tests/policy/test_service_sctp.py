"""What the oracle says of SCTP to a VIP where the datapath tracks it without ports."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import (
    Backend,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Protocol,
    Service,
    ServicePort,
    Subnet,
)
from lace_sdn.policy.oracle import Connection, Verdict, verdict

HERE, THERE = ip_address("10.0.0.2"), ip_address("10.0.0.3")
STATE = ClusterState(
    nodes=(Node("node", (ip_address("192.0.2.1"),)),),
    namespaces=(Namespace("shop"),),
    networks=(Network("red", NetworkType.L3, 1, (Subnet(ip_network("10.0.0.0/16"), 24),)),),
    endpoints=(
        Endpoint("shop", "a", "node", "red", (HERE,), "0a:58:00:00:00:01"),
        Endpoint("shop", "b", "node", "red", (THERE,), "0a:58:00:00:00:02"),
    ),
    services=(
        Service(
            "shop",
            "web",
            "red",
            (ip_address("10.96.0.1"),),
            (
                ServicePort(Protocol.SCTP, 80, "s", (Backend(THERE, 80, "node", "shop/b"),)),
                ServicePort(Protocol.TCP, 80, "t", (Backend(THERE, 80, "node", "shop/b"),)),
            ),
        ),
    ),
)
TO_VIP = Connection("shop/a", "service shop/web", Protocol.SCTP, 80)


def test_sctp_to_a_vip_is_silent_without_its_ports() -> None:
    """Everybody else, and everything else, is judged as before."""
    assert verdict(STATE, TO_VIP).allowed
    assert verdict(STATE, TO_VIP, sctp=False) == Verdict(
        allowed=False,
        reason="port SCTP 80 of Service shop/web is not installed: the userspace datapath tracks SCTP without ports",
    )
    for other in (replace(TO_VIP, protocol=Protocol.TCP), replace(TO_VIP, destination="shop/b")):
        assert verdict(STATE, other, sctp=False) == verdict(STATE, other)
        assert verdict(STATE, other).allowed
