"""Laws of attaching, with a controller that is killed, or whose surroundings fail, at each call to them: nothing is given twice, nothing is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from attaching_site import NAMESPACE, Controller, Fate, KilledError, Outside, Runtime, addresses_in

from lace_sdn.controller import attacher
from lace_sdn.controller.attaching import AttachError, Sandbox
from lace_sdn.kube.api import resources
from lace_sdn.kube.claims import FREEING
from lace_sdn.node.naming import interface_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Story = Callable[[Runtime], None]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come in memory at once never comes."""
    monkeypatch.setattr(attacher, "PORT_WITHIN", 0.001)
    monkeypatch.setattr(attacher, "FLOWS_WITHIN", 0.001)


def lawful(runtime: Runtime) -> None:
    """What holds whenever nothing is under way."""
    outside = runtime.outside
    given = Counter(address for each in outside.endpoints.values() for address in addresses_in(each))
    assert [address for address, count in given.items() if count > 1] == []
    for name, (sandbox, addresses) in runtime.attached.items():
        endpoint = outside.endpoints[f"{NAMESPACE}/{name}"]
        assert addresses_in(endpoint) == addresses
        assert runtime.controller.attacher.check(sandbox) == []


def one_pod(runtime: Runtime) -> None:
    runtime.start("a", runtime.outside.create_pod("a"))


def two_pods(runtime: Runtime) -> None:
    for name in ("a", "b"):
        runtime.start(name, runtime.outside.create_pod(name))


def asked_twice(runtime: Runtime) -> None:
    one_pod(runtime)
    sandbox, addresses = runtime.attached["a"]
    try:
        assert runtime.controller.attacher.add(sandbox).addresses == addresses
    except (AttachError, KilledError):
        runtime.restart()
        assert runtime.controller.attacher.add(sandbox).addresses == addresses


def a_pod_that_ends(runtime: Runtime) -> None:
    two_pods(runtime)
    runtime.outside.delete_pod("a")
    runtime.controller.world.look()
    runtime.stop("a")
    runtime.sweep()


def a_sandbox_that_is_replaced(runtime: Runtime) -> None:
    """The pod stays: its addresses do too."""
    one_pod(runtime)
    _, addresses = runtime.attached["a"]
    uid = runtime.controller.world.pod(NAMESPACE, "a")["metadata"]["uid"]  # type: ignore[index]
    runtime.stop("a")
    runtime.start("a", uid)
    assert runtime.attached["a"][1] == addresses


def a_pod_made_anew_under_its_name(runtime: Runtime) -> None:
    """Before its first sandbox has gone, as a StatefulSet may."""
    one_pod(runtime)
    old, _ = runtime.attached["a"]
    runtime.outside.delete_pod("a")
    uid = runtime.outside.create_pod("a")
    runtime.controller.world.look()
    runtime.start("a", uid)
    runtime.end(old)
    runtime.sweep()


def deleted_while_nobody_looked(runtime: Runtime) -> None:
    two_pods(runtime)
    runtime.outside.delete_pod("a")
    runtime.outside.end_namespace(runtime.attached.pop("a")[0].namespace)
    runtime.sweep()


def collected(runtime: Runtime) -> None:
    two_pods(runtime)
    runtime.outside.delete_pod("b")
    runtime.attached.pop("b")
    runtime.collect()


STORIES = (
    one_pod,
    two_pods,
    asked_twice,
    a_pod_that_ends,
    a_sandbox_that_is_replaced,
    a_pod_made_anew_under_its_name,
    deleted_while_nobody_looked,
    collected,
)


def lived(story: Story, fate: Fate) -> Runtime:
    """The story to its end, then all pods' end."""
    runtime = Runtime.of(Outside(fate=fate))
    fate.count = 0  # making the site counts for nothing
    try:
        story(runtime)
    finally:
        fate.at = -1
    runtime.controller.world.look()
    lawful(runtime)
    for name in list(runtime.attached):
        runtime.outside.delete_pod(name)
        runtime.controller.world.look()
        runtime.stop(name)
    runtime.sweep()
    assert runtime.outside.left() == {}
    assert len(runtime.controller.attacher._busy) == 0
    assert runtime.controller.attacher.endpoints.doubtful == frozenset()
    return runtime


@pytest.mark.parametrize("story", STORIES)
def test_a_story(story: Story) -> None:
    assert lived(story, Fate()).lives == 1


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("kind", ["killed", "failed"])
@pytest.mark.parametrize("story", STORIES)
def test_a_story_with_a_fault_at_each_call(story: Story, kind: str, *, is_done: bool) -> None:
    at, is_reached = 0, True
    while is_reached:
        fate = Fate(at, kind, is_done)
        runtime = lived(story, fate)
        is_reached = fate.has_come
        if kind == "killed":
            assert runtime.lives == 1 + is_reached
        at += 1
    assert at > 5


def add(outside: Outside, sandbox: Sandbox) -> None:
    Controller(outside).attacher.add(sandbox)


def pod_and_sandbox() -> tuple[Outside, Sandbox]:
    outside = Outside()
    return outside, Runtime.of(outside).sandbox("a", outside.create_pod("a"))


def test_a_pod_that_does_not_exist_is_refused_and_leaves_nothing() -> None:
    outside = Outside()
    sandbox = Runtime.of(outside).sandbox("a", "u9")
    with pytest.raises(AttachError, match="Pod shop/a does not exist: it was deleted meanwhile"):
        add(outside, sandbox)
    assert outside.left() == {}


def test_a_pod_of_the_same_name_is_another_one() -> None:
    outside, sandbox = pod_and_sandbox()
    with pytest.raises(AttachError, match="is another one now: uid"):
        add(outside, replace(sandbox, uid="u77"))
    assert outside.left() == {}


def test_a_pod_of_another_node_is_refused() -> None:
    outside, sandbox = pod_and_sandbox()
    outside.api.of(resources.PODS)[NAMESPACE, "a"]["spec"]["nodeName"] = "node-2"
    with pytest.raises(AttachError, match="is on Node node-2: this is Node node-1"):
        add(outside, sandbox)


def test_a_pod_without_a_network_is_told_why() -> None:
    outside, sandbox = pod_and_sandbox()
    outside.api.of(resources.PODS)[NAMESPACE, "a"]["metadata"]["labels"] = {"network": "none"}
    with pytest.raises(AttachError, match="Pod shop/a has no Network: no binding matches; expected one"):
        add(outside, sandbox)


def test_a_full_block_is_said_with_its_size() -> None:
    outside = Outside()
    runtime = Runtime.of(outside)
    for number in range(13):  # of 16, one is the network's, one the gateway's, one for broadcasts
        runtime.start(f"pod-{number}", outside.create_pod(f"pod-{number}"))
    with pytest.raises(AttachError, match=r'no IPv4 address is left in 10.0.0.0/28 of Network "blue"'):
        runtime.controller.attacher.add(runtime.sandbox("last", outside.create_pod("last")))
    lawful(runtime)


def test_an_address_that_was_given_back_comes_last() -> None:
    outside = Outside()
    runtime = Runtime.of(outside)
    runtime.start("a", outside.create_pod("a"))
    first = runtime.attached["a"][1]
    outside.delete_pod("a")
    runtime.controller.world.look()
    runtime.stop("a")
    runtime.start("b", outside.create_pod("b"))
    assert set(runtime.attached["b"][1]).isdisjoint(first)


def test_no_address_of_a_block_that_is_taken_back_is_given() -> None:
    outside, sandbox = pod_and_sandbox()
    (allocation,) = outside.api.of(resources.ALLOCATIONS).values()
    allocation["metadata"]["annotations"] = {FREEING: "operator"}
    with pytest.raises(AttachError, match=r"gets another address: the block of .* is taken back"):
        add(outside, sandbox)
    assert outside.left() == {}


def test_what_was_damaged_is_said_and_healed() -> None:
    outside = Outside()
    runtime = Runtime.of(outside)
    one_pod(runtime)
    sandbox, _ = runtime.attached["a"]
    its = interface_of(sandbox.container)
    for damage, said in (
        (lambda: outside.links.pop(its), f"interface {its} is not as it was made"),
        (lambda: outside.ports.pop(its), f"the switch has no flows for {its}"),
    ):
        damage()
        assert runtime.controller.attacher.check(sandbox) == [said]
        runtime.controller.attacher.add(sandbox)
        assert runtime.controller.attacher.check(sandbox) == []


def test_deleting_what_never_was_succeeds() -> None:
    outside = Outside()
    Controller(outside).attacher.delete(Sandbox("", "", "", "container-1", "", "eth0"))
    Controller(outside).attacher.delete(Sandbox(NAMESPACE, "a", "u1", "container-1", "/gone", "eth0"))
    assert outside.left() == {}


def test_nothing_is_attached_or_swept_before_everything_is_known() -> None:
    outside, sandbox = pod_and_sandbox()
    add(outside, sandbox)
    before = outside.left()
    controller = Controller(outside)
    controller.world._pods.clear()
    controller.world.is_synced, controller.world.missing = False, ("Pod",)  # type: ignore[assignment]
    controller.sweeper.sweep()
    assert outside.left() == before
    with pytest.raises(
        AttachError, match="the controller is starting: not listed from the API server yet: Pod"
    ):
        controller.attacher.add(sandbox)


def test_a_pod_that_is_being_attached_is_not_swept() -> None:
    outside, sandbox = pod_and_sandbox()
    controller = Controller(outside)
    with controller.attacher._alone(sandbox.pod, interface_of(sandbox.container)):
        add(outside, sandbox)
        outside.delete_pod("a")
        controller.world.look()
        controller.sweeper.sweep()
        assert outside.left() != {}
    controller.sweeper.sweep()
    assert outside.left() == {}
