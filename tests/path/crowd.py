"""Many pods of one node, attached and detached by the CNI plugin, several at a time, as a container runtime does; and what they leave behind."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError
from lace_sdn.lab import LabError, netns, processes
from lace_sdn.lab.api import access, parts, sandboxes
from lace_sdn.lab.api.sandboxes import Sandbox
from lace_sdn.lab.switches import INTEGRATION_BRIDGE
from lace_sdn.node.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lace_sdn.lab.names import Lab

NAMESPACE, NODE = "crowd", "node1"
MANIFESTS = f"""
apiVersion: v1
kind: Node
metadata: {{name: {NODE}}}
status: {{addresses: [{{type: InternalIP, address: 192.168.50.1}}]}}
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {{name: default}}
spec:
  type: l3
  ipv4Subnet: {{prefix: 10.0.0.0/16, hostLocalPrefixLength: 22}}
  ipv6Subnet: {{prefix: "fd00::/48"}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
"""
"""A node whose block holds 1,022 addresses of IPv4."""


@dataclass
class Figures:
    """Milliseconds of each ADD and DEL; ``addresses``: all that were given, those of a pod together."""

    adds: list[float] = field(default_factory=list)
    deletes: list[float] = field(default_factory=list)
    addresses: list[tuple[str, ...]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For a report."""
        return "; ".join(
            f"{what}: p50 {statistics.median(its):.0f} ms, p99 {statistics.quantiles(its, n=100)[98]:.0f} ms"
            for what, its in (("ADD", self.adds), ("DEL", self.deletes))
            if len(its) > 1
        )


class Crowd:
    """Pods of the only node of a lab that was brought up with MANIFESTS; the lab's own kubelet does not run meanwhile."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.api = access.connect(lab)
        self.figures = Figures()
        processes.stop(parts.kubelet_mark(lab))

    def create(self, count: int, prefix: str = "pod") -> list[Sandbox]:
        """Pods at the API server, and an empty network namespace of each."""
        return [self._create(f"{prefix}-{number}") for number in range(count)]

    def _create(self, name: str) -> Sandbox:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]},
        }
        made = self.api.create(resources.PODS, body)
        sandbox = Sandbox.of(f"{NAMESPACE}/{name}", made["metadata"]["uid"], NODE)
        netns.ensure(self.lab.pod_namespace(sandbox.pod))
        return sandbox

    def attach(self, pods: Iterable[Sandbox], at_a_time: int) -> None:
        def one(sandbox: Sandbox) -> None:
            result = self._timed(self.figures.adds, sandbox, "ADD")
            if result:
                given = tuple(each["address"].partition("/")[0] for each in json.loads(result)["ips"])
                self.figures.addresses.append(given)

        each_of(one, pods, at_a_time)

    def detach(self, pods: Iterable[Sandbox], at_a_time: int) -> None:
        """The pods are deleted, as the kubelet sees it, then their sandboxes."""

        def one(sandbox: Sandbox) -> None:
            self.forget(sandbox)
            self._timed(self.figures.deletes, sandbox, "DEL")
            netns.remove(self.lab.pod_namespace(sandbox.pod))

        each_of(one, pods, at_a_time)

    def forget(self, sandbox: Sandbox) -> None:
        with contextlib.suppress(ApiError):  # it has gone before
            self.api.delete(resources.PODS, sandbox.pod.partition("/")[2], NAMESPACE, grace_seconds=0)

    def _timed(self, into: list[float], sandbox: Sandbox, command: str) -> str:
        began = time.monotonic()
        try:
            return sandboxes.execute(self.lab, sandbox, command)
        except LabError as error:
            self.figures.failures.append(str(error))
            return ""
        finally:
            into.append(1000 * (time.monotonic() - began))

    def endpoints(self) -> list[str]:
        """Names of NetworkEndpoints."""
        return [each["metadata"]["name"] for each in self.api.list(resources.NETWORK_ENDPOINTS)[0]]

    def links(self) -> list[str]:
        """Pods' interfaces in the node."""
        with netns.inside(self.lab.node_namespace(NODE)):
            return [name for _, name in socket.if_nameindex() if name.startswith(PREFIX)]

    def ports(self) -> list[str]:
        """Pods' ports on the node's bridge."""
        database = f"--db=unix:{self.lab.node(NODE) / 'db.sock'}"
        said = subprocess.run(
            ["ovs-vsctl", database, "list-ports", INTEGRATION_BRIDGE],
            capture_output=True,
            text=True,
            check=True,
        )
        return [name for name in said.stdout.split() if name.startswith(PREFIX)]

    def left(self) -> dict[str, list[str]]:
        """What there is of pods, by where it is."""
        found = {"endpoints": self.endpoints(), "links": self.links(), "ports": self.ports()}
        return {where: names for where, names in found.items() if names}

    def await_nothing_left(self, bound: float = 30.0) -> None:
        deadline = time.monotonic() + bound
        while left := self.left():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


def each_of(one: Callable[[Sandbox], None], pods: Iterable[Sandbox], at_a_time: int) -> None:
    with ThreadPoolExecutor(max_workers=at_a_time) as workers:
        for _ in workers.map(one, pods):
            pass
