"""Attachments by the CNI plugin: none fails, nothing is left behind, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from crowd import MANIFESTS, NODE, Crowd, each_of

from lace_sdn.lab import LabError, netns, processes, reach
from lace_sdn.lab.api import parts, sandboxes
from lace_sdn.policy.reachability import intended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Bring

    from lace_sdn.lab.api.sandboxes import Sandbox
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab


@pytest.fixture
def crowd(lab: Lab, bring: Bring, tmp_path: Path) -> Iterator[Crowd]:
    manifests = tmp_path / "cluster.yaml"
    manifests.write_text(MANIFESTS)
    bring(manifests)
    its = Crowd(lab)
    yield its
    assert its.left() == {}


def _execute(crowd: Crowd, sandbox: Sandbox, command: str, **more: Any) -> Any:
    found = sandboxes.execute(
        crowd.lab, sandbox, command, {key.replace("__", "/"): more[key] for key in more}
    )
    return json.loads(found) if found else None


def _await_controller(crowd: Crowd, any_pod: Sandbox) -> None:
    """Started if it does not run, until it is ready."""
    parts.ensure_node(crowd.lab, NODE)
    deadline = time.monotonic() + 30
    while True:
        try:
            _execute(crowd, any_pod, "STATUS")
        except LabError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"the controller is not ready: {error}")
            time.sleep(0.1)
        else:
            return


def _kill_controller(crowd: Crowd) -> None:
    for pid in processes.find(parts.controller_mark(crowd.lab, NODE)):
        os.kill(pid, signal.SIGKILL)


def test_forty_pods_eight_at_a_time(crowd: Crowd) -> None:
    pods = crowd.create(40)
    crowd.attach(pods, 8)
    figures = crowd.figures
    assert figures.failures == []
    assert len({address for its in figures.addresses for address in its}) == 2 * len(pods)
    assert len(crowd.endpoints()) == len(crowd.links()) == len(crowd.ports()) == len(pods)
    crowd.detach(pods, 8)
    print(figures.line)
    assert figures.failures == []
    assert crowd.left() == {}


def test_the_life_of_an_attachment(crowd: Crowd) -> None:
    pod, other = crowd.create(2)
    namespace = crowd.lab.pod_namespace(pod.pod)
    made = _execute(crowd, pod, "ADD")
    assert _execute(crowd, pod, "ADD") == made
    _execute(crowd, other, "ADD")
    _execute(crowd, pod, "CHECK", prevResult=made)
    with netns.netlink(namespace) as handle:
        handle.route("del", dst="0.0.0.0/0", gateway=made["ips"][0]["gateway"])
    with pytest.raises(LabError, match=r"not as it was made.*code 100"):
        _execute(crowd, pod, "CHECK", prevResult=made)
    assert _execute(crowd, pod, "ADD") == made
    _execute(crowd, pod, "CHECK", prevResult=made)
    _execute(crowd, pod, "STATUS")
    assert "1.1.0" in _execute(crowd, pod, "VERSION")["supportedVersions"]
    crowd.forget(other)
    valid = [{"containerID": pod.container, "ifname": "eth0"}]
    _execute(crowd, pod, "GC", **{"cni.dev__valid-attachments": valid})
    _execute(crowd, pod, "CHECK", prevResult=made)
    assert len(crowd.endpoints()) == len(crowd.links()) == len(crowd.ports()) == 1
    crowd.detach([pod, pod, other], 1)
    assert crowd.left() == {}


NODES = """
apiVersion: v1
kind: Node
metadata: {name: node1}
status: {addresses: [{type: InternalIP, address: 192.168.50.1}]}
"""
TWIN = """---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: COLOUR}
spec: {type: l3, ipv4Subnet: {prefix: 10.0.0.0/28, hostLocalPrefixLength: 29}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkBindingPolicy
metadata: {name: COLOUR}
spec: {network: COLOUR, selector: {matchLabels: {network: COLOUR}}}
"""
TWINS_POD = """---
apiVersion: v1
kind: Pod
metadata: {name: COLOUR-NUMBER, labels: {network: COLOUR}}
spec: {nodeName: node1, containers: [{name: main, image: none}]}
"""


def _network(colour: str) -> str:
    """With four pods, of a block of /29."""
    pods = (TWINS_POD.replace("NUMBER", str(number)) for number in range(4))
    return "".join((TWIN, *pods)).replace("COLOUR", colour)


def test_pods_of_one_node_with_the_same_address_in_two_networks(
    lab: Lab, bring: Bring, tmp_path: Path
) -> None:
    manifests = tmp_path / "twins.yaml"
    manifests.write_text(NODES + _network("blue") + _network("red"))
    state = bring(manifests).state
    addresses = Counter(address for endpoint in state.endpoints for address in endpoint.addresses)
    assert list(addresses.values()).count(2) >= 2, addresses
    meant = intended(state)
    found = reach.measure(lab, state, meant)
    assert {each: it for each, it in found.items() if not reach.is_as_intended(meant[each], it)} == {}


def test_without_a_controller_pods_go_and_none_comes(lab: Lab, crowd: Crowd) -> None:
    first, second = crowd.create(2)
    _execute(crowd, first, "ADD")
    processes.stop(parts.controller_mark(lab, NODE))
    with pytest.raises(LabError, match=r"controller of Lace SDN does not answer.*code 11"):
        _execute(crowd, second, "ADD")
    with pytest.raises(LabError, match="code 50"):
        _execute(crowd, second, "STATUS")
    crowd.detach([first, second], 2)
    assert len(crowd.ports()) == 1
    _await_controller(crowd, first)
    crowd.await_nothing_left()


def test_a_killed_controller_leaks_neither_address_nor_interface(
    lab: Lab, bring: Bring, crowd: Crowd
) -> None:
    """It is killed again and again while pods are attached; runtimes try again, with another sandbox."""
    stop = threading.Event()

    def kill_and_start() -> None:
        for pause in (0.05, 0.3, 0.15, 0.6, 0.45):
            if stop.wait(2.0 + pause):
                break
            _kill_controller(crowd)
            parts.ensure_node(lab, NODE)

    assassin = threading.Thread(target=kill_and_start)
    assassin.start()
    pods = crowd.create(12)
    attached = []

    def until_attached(pod: Sandbox) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            attempt = sandboxes.Sandbox.of(pod.pod, pod.uid, NODE)
            try:
                attached.append((attempt, _execute(crowd, attempt, "ADD")))
            except LabError:
                _execute(crowd, attempt, "DEL")
                time.sleep(0.1)
            else:
                return

    try:
        each_of(until_attached, pods, 4)
    finally:
        assassin.join()
    assert len(attached) == len(pods)
    addresses = [each["address"] for _, result in attached for each in result["ips"]]
    assert len(set(addresses)) == 2 * len(pods)
    _await_controller(crowd, pods[0])
    for attempt, result in attached:
        _execute(crowd, attempt, "CHECK", prevResult=result)
    crowd.detach([attempt for attempt, _ in attached], 4)
    crowd.await_nothing_left()
    assert crowd.figures.failures == []
