"""A node's loop sends the difference, all of it and nothing else, whatever happened before."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import served
from served import Dns, rows

from lace_sdn.controller.node_loop import NodeLoop
from lace_sdn.controller.world import World
from lace_sdn.controller.zones import zones_of
from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import Endpoint, Network, NetworkType, Node, RoutingPolicy, Subnet
from lace_sdn.openflow.diff import apply
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.wire import Metered
from lace_sdn.pipeline import NodeCompiler, compile_node
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.policy.ledger import Ledger
from lace_sdn.switch.contract import BundleRefused, ForeignFlow, Installed, Refusal, SwitchLost
from lace_sdn.switch.pod_interface import ZoneNote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.wire import ConnectionFilter
    from lace_sdn.switch.ovsdb_plan import PortMap


PORTS = {"ns/a": 1, "ns/b": 2}


class RecordingBridge:
    """A bridge that holds a program and remembers what it was told."""

    datapath_id = 1
    address = ""
    is_connected = True

    def __init__(self) -> None:
        self.program = BridgeProgram()
        self.told: list[str] = []
        self.fault: Exception | None = None
        self.foreign: tuple[ForeignFlow, ...] = ()
        self.counted: dict[int, Metered] = {}

    def dump(self) -> Installed:
        self.told.append("dump")
        return Installed(self.program, self.foreign)

    def commit(self, delta: Delta) -> None:
        if self.fault:
            raise self.fault
        self.told.append("commit")
        self.program = apply(self.program, delta)

    def metered(self) -> Mapping[int, Metered]:
        return self.counted

    def flush_zone(self, zone: int) -> None:
        self.told.append(f"flush {zone}")

    def flush_connections(self, which: Sequence[ConnectionFilter]) -> None:
        self.told += [f"flush {each}" for each in which]


def network(name: str, key: int) -> Network:
    return Network(name, NetworkType.L3, key, (Subnet(ip_network(f"10.{key}.0.0/16"), 24),))


def endpoint(name: str, key: int) -> Endpoint:
    return Endpoint(
        "ns", name, "node-1", f"net-{name}", (ip_address(f"10.{key}.0.2"),), f"02:00:0a:{key:02x}:00:02"
    )


def state(*policies: RoutingPolicy) -> ClusterState:
    return ClusterState(
        nodes=(Node("node-1", (ip_address("192.0.2.1"),)),),
        networks=(network("net-a", 1), network("net-b", 2)),
        endpoints=(endpoint("a", 1), endpoint("b", 2)),
        routing_policies=policies,
    )


def world(generation: str, *policies: RoutingPolicy) -> World:
    return World(generation, build(Manifests(), Ledger()), Cluster.of(state(*policies)))


def written(loop: NodeLoop) -> PortMap:
    """The database with what the loop wants it to say."""
    assert loop.found is not None
    notes = {
        name: ZoneNote(note.row, loop.notes.get(note.row, note.occupant))
        for name, note in loop.found.notes.items()
    }
    return replace(loop.found, notes=notes, gateway=ZoneNote("gateway", loop.notes["gateway"]))


def flushed(*ports: int) -> list[str]:
    return [f"flush {zone}" for zone in zones_of(ports)]


PEERING = RoutingPolicy("a-to-b", NetworkSelector(name="net-a"), NetworkSelector(name="net-b"))


def connected() -> tuple[NodeLoop, RecordingBridge]:
    loop, bridge = NodeLoop("node-1"), RecordingBridge()
    loop.bridge, loop.found = bridge, rows(PORTS)
    return loop, bridge


def test_an_empty_bridge_gets_the_whole_program_after_its_zones_are_empty() -> None:
    loop, bridge = connected()
    assert loop.step(world("1", PEERING))
    assert bridge.told == ["dump", *flushed(1, 2, 0x7001), "commit"]
    assert bridge.program == compile_node(state(PEERING), "node-1", PORTS)


def test_the_mtu_of_the_loop_is_that_of_its_program() -> None:
    loop, bridge = NodeLoop("node-1", mtu=1400), RecordingBridge()
    loop.bridge, loop.found = bridge, rows(PORTS)
    loop.step(world("1", PEERING))
    assert bridge.program == NodeCompiler("node-1", mtu=1400).compile(Cluster.of(state(PEERING)), PORTS)
    assert bridge.program != compile_node(state(PEERING), "node-1", PORTS)


def test_a_step_without_change_sends_nothing() -> None:
    loop, bridge = connected()
    loop.step(world("1", PEERING))
    bridge.told.clear()
    assert loop.step(world("2", PEERING))
    assert bridge.told == []


def test_a_policy_that_goes_is_one_commit_and_no_flush() -> None:
    loop, bridge = connected()
    loop.step(world("1", PEERING))
    bridge.told.clear()
    loop.step(world("2"))
    assert bridge.told == ["commit"]
    assert bridge.program == compile_node(state(), "node-1", PORTS)


def test_a_new_controller_reads_the_bridge_and_leaves_it_alone() -> None:
    first, bridge = connected()
    first.step(world("1", PEERING))
    bridge.told.clear()
    second = NodeLoop("node-1")
    second.bridge, second.found = bridge, written(first)
    second.step(world("1", PEERING))
    assert bridge.told == ["dump"]


def test_nothing_is_sent_before_the_ports_are_known() -> None:
    loop, bridge = connected()
    loop.found = None
    loop.step(world("1", PEERING))
    assert bridge.told == []
    assert loop.programmed is None


def test_a_restarted_switch_keeps_the_connections_of_its_pods() -> None:
    """Its flows are gone and the pods are the same: nothing is flushed."""
    loop, _ = connected()
    loop.step(world("1", PEERING))
    restarted = RecordingBridge()
    loop.bridge = restarted
    loop.step(world("1", PEERING))
    assert restarted.told == ["dump", "commit"]


def restarted(former: NodeLoop, bridge: RecordingBridge) -> NodeLoop:
    """Another controller, which knows what the database says and nothing else."""
    loop = NodeLoop("node-1")
    loop.bridge, loop.found = bridge, written(former)
    return loop


def test_switch_and_controller_restarted_together_keep_the_connections_of_their_pods() -> None:
    """The kernel's conntrack outlives both."""
    former, _ = connected()
    former.step(world("1", PEERING))
    empty = RecordingBridge()
    restarted(former, empty).step(world("1", PEERING))
    assert empty.told == ["dump", "commit"]


def test_a_program_of_another_form_keeps_the_connections_of_its_pods() -> None:
    """As after an upgrade that changes rows of the first tables."""
    former, bridge = connected()
    former.step(world("1", PEERING))
    bridge.program = BridgeProgram(
        tuple(
            replace(flow, cookie=flow.cookie ^ 1) if flow.table < 10 else flow
            for flow in bridge.program.flows
        ),
        bridge.program.groups,
    )
    bridge.told.clear()
    restarted(former, bridge).step(world("1", PEERING))
    assert bridge.told == ["dump", "commit"]


def test_zones_are_emptied_for_a_pod_that_took_a_port_meanwhile_after_the_former_flows_are_gone() -> None:
    """Nothing in the flows tells the two pods apart."""
    former, bridge = connected()
    former.step(world("1", PEERING))
    bridge.told.clear()
    loop = restarted(former, bridge)
    assert loop.found is not None
    loop.found = replace(loop.found, notes={**loop.found.notes, "ns/a": ZoneNote("another row")})
    loop.step(world("1", PEERING))
    assert bridge.told == ["dump", "commit", *flushed(1), "commit"]
    assert loop.notes["another row"].startswith("port=1 pod=ns/a ")


def test_a_pod_whose_row_tells_of_another_gets_flows_when_the_row_has_forgotten_it() -> None:
    former, bridge = connected()
    former.step(world("1", PEERING))
    desired = bridge.program
    loop = restarted(former, bridge)
    assert loop.found is not None
    other = replace(loop.found, notes={**loop.found.notes, "ns/a": ZoneNote("row of ns/a", "somebody")})
    loop.found = other
    loop.step(world("1", PEERING))
    assert bridge.program == compile_node(state(PEERING), "node-1", {"ns/b": 2})
    assert loop.programmed is not None
    assert (loop.programmed.generation, loop.programmed.ports) == ("", {"ns/b": 2})
    bridge.told.clear()
    assert loop.see(written(loop))
    loop.step(world("1", PEERING))
    assert bridge.told == [*flushed(1), "commit"]
    assert bridge.program == desired


def test_what_a_flush_that_was_not_confirmed_was_for_is_not_written() -> None:
    loop, bridge = connected()
    bridge.fault = SwitchLost("gone")
    loop.step(world("1"))
    assert loop.notes == {}


def test_zones_of_a_port_that_nobody_has_any_more_are_emptied_after_its_flows_are_gone() -> None:
    loop, bridge = connected()
    loop.step(world("1"))
    bridge.told.clear()
    loop.found = rows({"ns/b": 2})
    loop.step(world("1"))
    assert bridge.told == ["commit", *flushed(1)]


def test_only_what_rows_say_of_zones_asks_for_no_step() -> None:
    loop, _ = connected()
    loop.step(world("1"))
    assert not loop.see(written(loop))
    assert loop.see(rows({"ns/b": 2}))


def test_a_lost_switch_is_dumped_again() -> None:
    loop, bridge = connected()
    loop.step(world("1"))
    bridge.fault = SwitchLost("gone")
    assert not loop.step(world("2", PEERING))
    assert loop.programmed is None
    bridge.fault = None
    bridge.told.clear()
    assert loop.step(world("2", PEERING))
    assert bridge.told == ["dump", "commit"]


def test_a_refused_bundle_asks_for_another_try() -> None:
    loop, bridge = connected()
    loop.step(world("1"))
    bridge.fault = BundleRefused("br-int", (Refusal("a flow", "Pod ns/a", "no"),))
    assert not loop.step(world("2", PEERING))
    assert loop.programmed is None


def test_an_audit_repairs_what_somebody_changed_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    loop, bridge = connected()
    loop.step(world("1", PEERING))
    desired = bridge.program
    bridge.program = BridgeProgram(desired.flows[3:])
    bridge.told.clear()
    loop.audit()
    assert loop.step(world("1", PEERING))
    assert bridge.told[0] == "dump"
    assert bridge.told[-1] == "commit"
    assert bridge.program == desired
    assert "somebody changed the bridge: 0 flows put, 3 removed" in caplog.text


def test_an_audit_that_finds_nothing_sends_nothing_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop, bridge = connected()
    loop.step(world("1", PEERING))
    bridge.told.clear()
    loop.audit()
    loop.step(world("1", PEERING))
    assert bridge.told == ["dump"]
    assert "somebody" not in caplog.text


def test_foreign_flows_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    loop, bridge = connected()
    bridge.foreign = (ForeignFlow(0, 900, 7, "priority=900 actions=drop"),)
    for _ in range(2):
        loop.audit()
        loop.step(world("1", PEERING))
    assert caplog.text.count("priority=900 actions=drop") == 1


def test_what_was_confirmed_is_said() -> None:
    loop, _ = connected()
    loop.step(world("7", PEERING))
    assert loop.programmed is not None
    assert (loop.programmed.generation, loop.programmed.ports) == ("7", PORTS)


def serving(generation: str, *services: Dns) -> World:
    return World(generation, build(Manifests(), Ledger()), Cluster.of(served.served(*services)))


TWO_ENDPOINTS, ONE_ENDPOINT = Dns(), Dns(hosts=(2,))
FORGET = (
    "flush ct_nw_dst=10.96.0.1,ct_tp_dst=53,ct_nw_proto=17 ct_nw_src=10.0.0.1,ct_tp_src=5353,ct_nw_proto=17"
)


def serving_loop() -> tuple[NodeLoop, RecordingBridge]:
    """A bridge with two endpoints of a UDP Service, nothing told yet."""
    loop, bridge = NodeLoop("one"), RecordingBridge()
    loop.bridge, loop.found = bridge, rows(served.PORTS)
    loop.step(serving("1", TWO_ENDPOINTS))
    bridge.told.clear()
    return loop, bridge


def test_connections_to_an_endpoint_that_goes_are_forgotten_after_nothing_leads_there() -> None:
    """What comes then, and when: see test_farewell."""
    loop, bridge = serving_loop()
    assert loop.step(serving("2", ONE_ENDPOINT))
    assert bridge.told[:2] == ["commit", FORGET]


def test_an_endpoint_that_comes_is_one_commit() -> None:
    loop, bridge = serving_loop()
    assert loop.step(serving("2", Dns(hosts=(1, 2, 3))))
    assert bridge.told == ["commit"]


def test_an_audit_of_a_node_port_finds_nothing_changed() -> None:
    """Neither connections are forgotten nor is what is programmed held back."""
    world_of_node_ports = serving("1", Dns(node_port=30053))
    loop, bridge = serving_loop()
    loop.step(world_of_node_ports)
    bridge.told.clear()
    confirmed = loop.programmed
    loop.audit()
    assert loop.step(world_of_node_ports)
    assert bridge.told == ["dump"]
    assert loop.programmed == confirmed
    assert loop.due is None


def test_who_is_at_a_limit_is_told_at_the_audit(caplog: pytest.LogCaptureFixture) -> None:
    """By the pod's name, when it begins and when it is over."""
    loop, bridge = connected()
    loop.step(world("1"))
    bridge.counted = {1: Metered(5000, 4000), 28673: Metered(9, 0)}
    for _ in range(2):
        loop.audit()
        loop.step(world("1"))
    told = [each.getMessage() for each in caplog.records if "limit" in each.getMessage()]
    assert len(told) == 2
    assert "Pod ns/a is at its limit of 100 packets a second" in told[0]
    assert loop.limited.totals == {next(iter(loop.limited.totals)): 4000}
    assert "Pod ns/a is below its limit" in told[1]
