"""The process itself, killed by SIGKILL at ten moments of its work, against an API server over HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from objects import binding, endpoint, network, node, pod

sys.path.insert(0, str(Path(__file__).parents[1] / "apiserver"))

from apiserver import ApiServer

from lace_sdn.kube.api.client import Api
from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    BINDING_POLICIES,
    LEASES,
    NETWORK_ENDPOINTS,
    NETWORK_KEYS,
    NETWORKS,
    NODES,
    PODS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.kube.api.resources import Resource

KILLS = 10
WORDS = [sys.executable, "-c", "from lace_sdn.cli import main; main()", "operator"]
AGENT = "lace-sdn-operator"


class Operators:
    """One operator after another, all of one name, as a container that is started again."""

    def __init__(self, kubeconfig: Path, name: str = "operator") -> None:
        self._kubeconfig = kubeconfig
        self._name = name
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--kubeconfig", str(self._kubeconfig), "--namespace", "default", "--telemetry", ""]
        options += ["--identity", self._name, "--lease-seconds", "1", "--grace", "1"]
        self._running = subprocess.Popen([*WORDS, *options])

    def kill(self) -> None:
        if self._running:
            self._running.kill()
            self._running.wait()


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as its:
        yield its


@pytest.fixture
def operators(server: ApiServer, tmp_path: Path) -> Iterator[Operators]:
    its = Operators(server.kubeconfig(tmp_path))
    yield its
    its.kill()


class Cluster:
    def __init__(self, api: Api) -> None:
        self.api = api

    def add(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        body = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
        if resource is PODS:
            body["spec"] = {**body["spec"], "containers": [{"name": "main", "image": "any"}]}
        return self.api.create(resource, body)

    def all(self, resource: Resource) -> dict[str, dict[str, Any]]:
        return {each["metadata"]["name"]: each for each in self.api.list(resource)[0]}

    def attach(self) -> None:
        """What nodes do: an endpoint for each pod whose node has a block."""
        blocks = {
            (each["spec"]["network"], each["spec"]["node"]): each["spec"]["ipv4Block"]
            for each in self.all(ALLOCATIONS).values()
        }
        has = self.all(NETWORK_ENDPOINTS)
        for name, each in self.all(PODS).items():
            block = blocks.get((each["metadata"]["labels"]["net"], each["spec"]["nodeName"]))
            if name not in has and block:
                address = f"{block.rpartition('.')[0]}.{2 + len(has)}"
                body = endpoint(each, each["metadata"]["labels"]["net"], address)
                has[name] = self.add(NETWORK_ENDPOINTS, body)

    def faults(self) -> list[str]:
        """Whatever is given twice, or not followed by a claim."""
        claims = {int(name): each["spec"]["network"] for name, each in self.all(NETWORK_KEYS).items()}
        networks = self.all(NETWORKS)
        keys = {name: (each.get("status") or {}).get("networkKey") for name, each in networks.items()}
        found = [
            f"{name} has {key}, claims are {claims}"
            for name, key in keys.items()
            if key and claims.get(key) != name
        ]
        blocks = [
            (each["spec"]["network"], each["spec"]["ipv4Block"]) for each in self.all(ALLOCATIONS).values()
        ]
        found += [f"two have {each}" for each in blocks if blocks.count(each) > 1]
        used = [
            (each["spec"]["network"], each["spec"]["addresses"][0])
            for each in self.all(NETWORK_ENDPOINTS).values()
        ]
        return found + [f"two have {each}" for each in used if used.count(each) > 1]

    def is_done(self) -> bool:
        pods, networks = self.all(PODS), self.all(NETWORKS)
        has_keys = all((each.get("status") or {}).get("networkKey") for each in networks.values())
        homes = {(each["metadata"]["labels"]["net"], each["spec"]["nodeName"]) for each in pods.values()}
        made = [(each["spec"]["network"], each["spec"]["node"]) for each in self.all(ALLOCATIONS).values()]
        claimed = sorted(each["spec"]["network"] for each in self.all(NETWORK_KEYS).values())
        return has_keys and sorted(made) == sorted(homes) and claimed == sorted(networks)


def writes(server: ApiServer) -> int:
    """How many requests an operator has made that change what it gives."""
    return sum(
        count
        for (agent, verb, _, resource), count in server.requests.items()
        if agent.startswith(AGENT) and verb not in ("get", "list", "watch") and resource != LEASES.plural
    )


def until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.001)


def something_happens(cluster: Cluster, turn: int) -> None:
    """A network with pods on two nodes comes; an older one goes, or loses a pod."""
    name = f"net-{turn}"
    cluster.add(NETWORKS, network(name))
    cluster.add(BINDING_POLICIES, binding(name, net=name))
    for where in ("n1", "n2"):
        cluster.add(PODS, pod(f"{name}-{where}", where, namespace="default", net=name))
    old = f"net-{turn - 3}"
    for where in ("n1", "n2") if turn >= 3 else ():
        for resource in (NETWORK_ENDPOINTS, PODS):
            if f"{old}-{where}" in cluster.all(resource):
                cluster.api.delete(
                    resource,
                    f"{old}-{where}",
                    "default",
                    **({"grace_seconds": 0} if resource is PODS else {}),
                )
    if turn >= 3 and turn % 2:
        cluster.api.delete(NETWORKS, old)


def test_ten_kills_and_nothing_is_given_twice(
    server: ApiServer, operators: Operators, tmp_path: Path
) -> None:
    cluster = Cluster(Api.connect(server.kubeconfig(tmp_path)))
    for each in ("n1", "n2"):
        cluster.add(NODES, node(each))
    for turn in range(KILLS):
        something_happens(cluster, turn)
        before = writes(server)
        operators.start()
        until(lambda at=before + turn: writes(server) > at, 20, "an operator at work")  # type: ignore[misc]
        operators.kill()
        assert cluster.faults() == []
        cluster.attach()
    operators.start()

    def is_done() -> bool:
        cluster.attach()
        assert cluster.faults() == []
        return cluster.is_done()

    until(is_done, 30, "all that is needed, and nothing else")


def test_a_second_operator_takes_over(server: ApiServer, tmp_path: Path) -> None:
    """It has watched, and writes as soon as the Lease is free."""
    cluster = Cluster(Api.connect(server.kubeconfig(tmp_path)))
    kubeconfig = tmp_path / "kubeconfig"
    first, second = Operators(kubeconfig, "first"), Operators(kubeconfig, "second")
    try:
        first.start()
        until(lambda: bool(cluster.all(LEASES)), 20, "a leader")
        second.start()
        cluster.add(NETWORKS, network("red"))
        until(lambda: "1" in cluster.all(NETWORK_KEYS), 5, "a key by the first")
        first.kill()
        cluster.add(NETWORKS, network("blue"))
        until(
            lambda: bool((cluster.all(NETWORKS)["blue"].get("status") or {}).get("networkKey")),
            10,
            "a key by the second",
        )
    finally:
        first.kill()
        second.kill()
