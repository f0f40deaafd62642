"""What is known may be old, and answers may be lost: no address becomes another pod's by that, and nothing goes that a running pod uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attaching_site import NAMESPACE, Controller, Outside, Runtime, addresses_in

from lace_sdn.controller import attacher
from lace_sdn.controller.attaching import AttachError, Sandbox
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.node import NodeError
from lace_sdn.node.naming import interface_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come in memory at once never comes."""
    monkeypatch.setattr(attacher, "PORT_WITHIN", 0.001)
    monkeypatch.setattr(attacher, "FLOWS_WITHIN", 0.001)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime.of(Outside())


def run(runtime: Runtime, *names: str) -> None:
    for name in names:
        runtime.start(name, runtime.outside.create_pod(name))


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


# Addresses.

LOST = {
    "unreachable": ("create", ApiUnreachable("no answer")),
    "of-the-server": ("create", ApiError(504, "Timeout", "etcd does not answer")),
    "not-confirmed": ("list", ApiUnreachable("no answer")),
    "not-plugged": ("plug", NodeError("no buffer space")),
}


@pytest.mark.parametrize(("call", "error"), LOST.values(), ids=LOST)
def test_an_endpoint_that_was_written_keeps_its_address(
    runtime: Runtime, call: str, error: Exception
) -> None:
    """Its watch hangs, its pod failed, and another pod wants the last address of the block."""
    run(runtime, *(f"pod-{number}" for number in range(12)))
    outside, its = runtime.outside, runtime.controller.attacher
    one = runtime.sandbox("one", outside.create_pod("one"))
    outside.meanwhile[call] = failing(error)
    with pytest.raises(AttachError):
        its.add(one)
    its.delete(one)
    with pytest.raises(AttachError, match="no IPv4 address is left"):
        its.add(runtime.sandbox("two", outside.create_pod("two")))
    (claimed,) = [each for each in outside.endpoints.values() if each["metadata"]["name"] == "one"]
    runtime.start("one", one.uid)
    assert runtime.attached["one"][1] == addresses_in(claimed)


def test_an_endpoint_that_was_not_written_keeps_none(runtime: Runtime) -> None:
    """Nobody knows before it is asked: the sweep asks, or the next attempt."""
    run(runtime, *(f"pod-{number}" for number in range(12)))
    outside, its = runtime.outside, runtime.controller.attacher
    outside.fate.at, outside.fate.kind, outside.fate.count = 1, "failed", 0  # behind it asked for the pod
    one = runtime.sandbox("one", outside.create_pod("one"))
    with pytest.raises(AttachError, match="the API server cannot be reached"):
        its.add(one)
    outside.delete_pod("one")
    runtime.sweep()
    runtime.start("two", outside.create_pod("two"))


def test_the_sweep_finds_an_endpoint_whose_answer_was_lost(runtime: Runtime) -> None:
    """No watch tells of it, and its pod does not come again."""
    outside = runtime.outside
    outside.meanwhile["create"] = failing(ApiUnreachable("no answer"))
    one = runtime.sandbox("one", outside.create_pod("one"))
    with pytest.raises(AttachError):
        runtime.controller.attacher.add(one)
    runtime.controller.attacher.delete(one)
    outside.delete_pod("one")
    runtime.controller.world._pods.clear()
    runtime.controller.sweeper.sweep()
    assert outside.endpoints == {}


def test_an_endpoint_that_was_deleted_does_not_come_back(runtime: Runtime) -> None:
    """Somebody deletes it while its pod is attached once more, and the watch says so: that attempt fails, the next makes another one."""
    run(runtime, "a")
    sandbox, _ = runtime.attached["a"]

    def delete() -> None:
        runtime.outside.api.delete(resources.NETWORK_ENDPOINTS, "a", NAMESPACE)
        runtime.controller.world.look()

    runtime.outside.meanwhile["plug"] = delete
    with pytest.raises(AttachError, match="has not confirmed the flows"):
        runtime.controller.attacher.add(sandbox)
    assert runtime.controller.world.endpoints() == []
    runtime.controller.attacher.add(sandbox)
    assert len(runtime.outside.endpoints) == 1


def test_a_runtime_that_says_no_uid_gets_the_pod_that_is_there(runtime: Runtime) -> None:
    """The one that had its name may be all that is known."""
    run(runtime, "a")
    runtime.controller.world.look()
    runtime.outside.delete_pod("a")
    uid = runtime.outside.create_pod("a")
    runtime.controller.attacher.add(runtime.sandbox("a", ""))
    assert [port.uid for port in runtime.outside.ports.values()] == [uid]


# DEL and CHECK.


def test_deleting_frees_the_address_of_a_pod_that_is_not_named(runtime: Runtime) -> None:
    """CNI_ARGS is optional; the port says whose it is."""
    run(runtime, "a")
    runtime.outside.delete_pod("a")
    runtime.controller.world.look()
    container = runtime.attached["a"][0].container
    runtime.controller.attacher.delete(Sandbox("", "", "", container, "", "eth0"))
    assert runtime.outside.left() == {}


def test_a_late_deletion_takes_nothing_from_the_sandbox_that_runs(runtime: Runtime) -> None:
    """The controller has just started, and knows the endpoint, but neither pods nor ports yet."""
    uid = runtime.outside.create_pod("a")
    former = runtime.sandbox("a", uid)
    runtime.start("a", uid)
    starting = Controller(runtime.outside)
    starting.world.is_synced = False  # type: ignore[assignment]
    starting.world._pods.clear()
    runtime.outside.is_database_read = False
    starting.attacher.delete(former)
    assert len(runtime.outside.endpoints) == 1


def test_a_late_deletion_waits_for_the_database(runtime: Runtime) -> None:
    """Which sandboxes the pod has says the bridge; the sweep frees what nobody has."""
    uid = runtime.outside.create_pod("a")
    former = runtime.sandbox("a", uid)
    runtime.start("a", uid)
    runtime.outside.delete_pod("a")
    runtime.controller.world.look()
    runtime.outside.is_database_read = False
    runtime.controller.attacher.delete(former)
    assert len(runtime.outside.endpoints) == 1


def test_a_link_that_cannot_be_looked_at_is_no_damage(runtime: Runtime) -> None:
    run(runtime, "a")
    runtime.outside.meanwhile["faults"] = failing(NodeError("netlink: no answer"))
    with pytest.raises(
        AttachError, match="link of Pod shop/a cannot be looked at: netlink: no answer"
    ) as raised:
        runtime.controller.attacher.check(runtime.attached["a"][0])
    assert raised.value.code == 11


def test_nothing_is_damaged_before_everything_is_known(runtime: Runtime) -> None:
    run(runtime, "a")
    starting = Controller(runtime.outside)
    starting.world._endpoints.clear()
    starting.world.is_synced, starting.world.missing = False, ("NetworkEndpoint",)  # type: ignore[assignment]
    with pytest.raises(AttachError, match="the controller is starting"):
        starting.attacher.check(runtime.attached["a"][0])


# The sweep.


def test_a_database_that_goes_away_meanwhile_is_not_an_empty_one(runtime: Runtime) -> None:
    """Without it every link looks as if it had no port, and every pod's end as if it had none."""
    run(runtime, "a")
    runtime.outside.meanwhile["links"] = lambda: setattr(runtime.outside, "is_database_read", False)
    runtime.controller.sweeper.sweep()
    assert {each: len(names) for each, names in runtime.outside.left().items()} == {
        "ports": 1,
        "links": 1,
        "endpoints": 1,
    }


def test_a_half_made_link_that_an_attachment_completes_meanwhile_stays(runtime: Runtime) -> None:
    """The sweep after a crash has seen it when the runtime comes again; it looks anew before it removes it."""
    run(runtime, "a")
    sandbox, _ = runtime.attached["a"]
    runtime.outside.ports.clear()
    runtime.outside.meanwhile["links"] = lambda: runtime.controller.attacher.add(sandbox)
    runtime.controller.sweeper.sweep()
    assert runtime.controller.attacher.check(sandbox) == []


def test_a_link_is_not_removed_under_an_attachment_that_begins(runtime: Runtime) -> None:
    """While a sweep removes it, whoever wants it waits."""
    run(runtime, "a")
    interface = interface_of(runtime.attached["a"][0].container)
    runtime.outside.ports.clear()
    with runtime.controller.attacher.unless_busy(interface):
        runtime.controller.sweeper.sweep()
        assert interface in runtime.outside.links
    runtime.controller.sweeper.sweep()
    assert interface not in runtime.outside.links


def test_a_pod_that_was_attached_meanwhile_keeps_its_address(runtime: Runtime) -> None:
    """The sweep asked which namespaces there are; the pod came then."""
    run(runtime, "a")
    runtime.outside.meanwhile["namespaces"] = lambda: run(runtime, "b")
    runtime.controller.sweeper.sweep()
    assert runtime.controller.attacher.check(runtime.attached["b"][0]) == []


def test_a_port_that_was_made_anew_meanwhile_stays(runtime: Runtime) -> None:
    """What the sweep saw of the interface is another pod's by now."""
    run(runtime, "a")
    old, _ = runtime.attached["a"]
    runtime.outside.end_namespace(old.namespace)

    def again() -> None:
        runtime.outside.namespaces.add("/run/netns/anew")
        anew = Sandbox(NAMESPACE, "a", old.uid, old.container, "/run/netns/anew", "eth0")
        runtime.controller.attacher.add(anew)

    runtime.outside.meanwhile["namespaces"] = again
    runtime.controller.sweeper.sweep()
    assert [port.namespace for port in runtime.outside.ports.values()] == ["/run/netns/anew"]


def test_a_static_pod_is_its_mirror_in_the_api_server(runtime: Runtime) -> None:
    """The kubelet has it from a file, by a uid of its own; the API server has a copy, which says that uid."""
    uid = runtime.outside.create_pod("a")
    body = runtime.outside.api.of(resources.PODS)[NAMESPACE, "a"]
    body["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "of-the-file"}
    runtime.controller.attacher.add(runtime.sandbox("a", "of-the-file"))
    assert [port.uid for port in runtime.outside.ports.values()] == [uid]
