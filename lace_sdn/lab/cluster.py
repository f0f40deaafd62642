"""A lab as a whole: brought to what manifests ask for, from whatever state it is in, and removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lace_sdn.kube.generation import generation
from lace_sdn.kube.ledger_file import write_ledger
from lace_sdn.lab import (
    LabError,
    agent_client,
    control,
    datapath,
    desired,
    hosts,
    neighbours,
    netns,
    places,
    pods,
    processes,
    stacks,
    switches,
    underlay,
)
from lace_sdn.lab.files import publish, scenario
from lace_sdn.lab.nodes import make_wire, nodes_there, remove_nodes_but
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.datapath import Datapath
    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.pods import Pod
    from lace_sdn.model.cluster import ClusterState

    Tell = Callable[[str], None]
    """Called with each step in words, when it begins."""

_BRIDGE_TIMEOUT = 120.0
_PROGRAM_TIMEOUT = 180.0
_STACK_TIMEOUT = 120.0
_LOCK_TIMEOUT = 60.0


def up(
    lab: Lab, source: Path, tell: Tell, kubeconfig: Path | None = None, on: Datapath | None = None
) -> Built:
    """Make the lab, or complete or change the one that is there, until every flow is confirmed.

    ``kubeconfig``: of the API server that is to have the objects of a new lab. ``on``: its datapath. Raises LabError for whatever an operator can
    put right; a next ``up`` or ``down`` goes on from there.
    """
    check_machine()
    with _alone(lab):
        if kubeconfig:
            from lace_sdn.lab.api import access  # noqa: PLC0415 - a lab without an API server need not wait for it

            if lab.manifests.exists() and not lab.is_on_kubernetes:
                raise LabError(
                    f'lab "{lab.name}" has its objects in a folder; expected one on Kubernetes, or none: '
                    f"`lace-sdn lab down --name {lab.name}` removes it"
                )
            access.remember(lab, kubeconfig)
        with datapath.decided(lab, on):
            return _brought(lab, scenario(source), tell)


def apply(lab: Lab, source: Path, tell: Tell) -> Built:
    """Replace the objects of a running lab; what is not concerned goes on undisturbed. Raises LabError."""
    check_machine()
    with _alone(lab):
        # Not before: another command may be about to remove it, or to make it.
        desired.live(lab)
        return _brought(lab, scenario(source), tell)


def _brought(lab: Lab, source: Path, tell: Tell) -> Built:
    if not lab.is_on_kubernetes:
        return _converge(lab, source, tell)
    from lace_sdn.lab.api import cluster as on_kubernetes  # noqa: PLC0415

    return on_kubernetes.converge(lab, source, tell)


def down(lab: Lab, tell: Tell = lambda _step: None) -> bool:
    """Remove everything of the lab, and nothing else, whatever state it is in; False if there was nothing.

    Raises LabError for objects that do not leave the API server; what is on this machine is gone then too.
    """
    check_root()
    with _alone(lab):
        try:
            if lab.is_on_kubernetes:
                from lace_sdn.lab.api import cluster as on_kubernetes  # noqa: PLC0415

                on_kubernetes.take_away(lab, tell)
        finally:
            there = _remove(lab)
        return there


def _remove(lab: Lab) -> bool:
    names = netns.names(lab.namespace_prefix)
    there = bool(names) or lab.run.exists() or bool(processes.find(lab.run))
    processes.stop(lab.run)
    for name in names:
        netns.remove(name)
    shutil.rmtree(lab.run, ignore_errors=True)
    # RUN_ROOT stays: another mount namespace may have its own labs mounted there, and rmdir would take them away.
    return there


def check_machine() -> None:
    """Raises LabError if this is not root or a program is missing."""
    check_root()
    switches.check_programs()


def check_root() -> None:
    """Raises LabError unless this is root."""
    if os.geteuid() != 0:
        raise LabError("a lab is made of network namespaces: run it as root")


def _converge(lab: Lab, source: Path, tell: Tell) -> Built:
    tell("reading the manifests")
    built = desired.next_state(lab, source)
    wire = underlay.wire(built.state.nodes, built.state.external_hosts)
    if not wire.nodes:
        said = "".join(f"\n{problem}" for problem in built.problems)
        raise LabError(
            f"{source}: no Node is found, expected at least one with an InternalIP; nothing is changed{said}"
        )
    for node in wire.nodes:
        lab.node(node)  # says so if its name is too long, before anything is made
    lab.nodes.mkdir(parents=True, exist_ok=True)
    there = _remove_what_goes(lab, built.state, tell)
    is_new = not lab.manifests.exists()
    if is_new:
        _publish(lab, source, built)
    control.ensure(lab)  # it gets ready while the nodes are made
    make_wire(lab, wire, tell)
    tell("waiting until the controller has made the nodes' bridges")
    control.await_bridges(lab, wire.nodes, _BRIDGE_TIMEOUT)
    _make_pods(lab, built.state, there, tell)
    tell("waiting until every node has confirmed its flows")
    if not is_new:
        # Last, and always another generation: its confirmation is about the pods that are there now.
        _publish(lab, source, built)
    _await_programmed(lab, built.state)
    stacks.await_in_force(lab, wire.nodes, _STACK_TIMEOUT)
    neighbours.introduce(lab, {node: post.addresses for node, post in wire.nodes.items()})
    with ThreadPoolExecutor(max_workers=len(wire.nodes)) as workers:
        for _ in workers.map(switches.await_revalidation, (Switch(lab, node) for node in wire.nodes)):
            pass
    # Again: the controller has given the nodes a link that was not there before.
    agent_client.settle(lab, places.residents(lab, built.state))
    # What the controller may have written for a node that was leaving.
    remove_nodes_but(lab, wire.nodes, tell)
    return built


def _remove_what_goes(lab: Lab, state: ClusterState, tell: Tell) -> dict[str, Pod]:
    """Remove what is no longer wanted, and leftovers of killed commands; return the pods that stay."""
    recorded = pods.recorded(lab)
    leaving = pods.change(recorded, pods.wanted(state)).detach
    staying = {name: pod for name, pod in pods.whole(lab, recorded).items() if pod not in leaving}
    if leaving:
        tell(f"removing {len(leaving)} pods")
    agent_client.leave_all_but(lab, places.residents(lab, places.there(lab, state, staying)))
    pods.detach(lab, leaving)
    going = hosts.leaving(lab, state.external_host_by_name)
    if going:
        tell(f"removing {len(going)} hosts")
    hosts.remove(lab, going)
    remove_nodes_but(lab, state.node_by_name, tell)
    _sweep(lab, state)
    return staying


def _sweep(lab: Lab, state: ClusterState) -> None:
    """Leftovers that no record knows: namespaces, and ports of pods that were never finished."""
    wanted = {lab.underlay_namespace, *map(lab.node_namespace, state.node_by_name)}
    wanted |= {lab.pod_namespace(endpoint.id) for endpoint in state.endpoints}
    wanted |= {lab.host_namespace(host) for host in state.external_host_by_name}
    for name in set(netns.names(lab.namespace_prefix)) - wanted:
        netns.remove(name)
    for node in nodes_there(lab):
        switch = Switch(lab, node)
        mine = {endpoint.id for endpoint in state.endpoints if endpoint.node == node}
        switches.remove_pods(switch, switches.plugged(switch) - mine)


def _make_pods(lab: Lab, state: ClusterState, there: dict[str, Pod], tell: Tell) -> None:
    coming = pods.change(there, pods.wanted(state)).attach
    if coming:
        tell(f"making {len(coming)} pods")
    pods.attach(lab, coming)
    pods.restore(lab, tuple(there.values()))
    agent_client.ensure(lab)
    agent_client.settle(lab, places.residents(lab, state))


def _publish(lab: Lab, source: Path, built: Built) -> None:
    """The allocations first: whoever reads the manifests finds them made."""
    write_ledger(lab.ledger, built.ledger)
    publish(source, lab.manifests)


def _await_programmed(lab: Lab, state: ClusterState) -> None:
    expected = {
        node: frozenset(endpoint.id for endpoint in state.endpoints if endpoint.node == node)
        for node in state.node_by_name
    }
    control.await_programmed(lab, generation(lab.manifests), expected, _PROGRAM_TIMEOUT)


@contextlib.contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    """One command at a time changes a lab. The kernel frees the name with the process, however it ends."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind(f"\0lace-sdn-lab-{lab.name}")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f'another command is changing lab "{lab.name}"; try again when it is done'
                    ) from None
                time.sleep(0.1)
        yield
