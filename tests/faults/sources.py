"""The two sources of a controller, with one cluster: two networks, a policy between them, and room for a change."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "path"))
sys.path.insert(0, str(Path(__file__).parents[1] / "kube"))

from api_objects import api_objects
from api_process import ApiProcess

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError
from lace_sdn.kube.api.resources import NETWORKS, Resource
from lace_sdn.kube.build import build
from lace_sdn.kube.digests import digest
from lace_sdn.kube.generation import generation
from lace_sdn.kube.manifests import parse
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from dummy import DummySwitch

CLUSTER = """
{apiVersion: v1, kind: Node, metadata: {name: node1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node2}, status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: left}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: right}}
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: left}
spec: {type: l3, ipv4Subnet: {prefix: 10.1.0.0/16}}
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: right}
spec: {type: l3, ipv4Subnet: {prefix: 10.2.0.0/16}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkBindingPolicy
metadata: {name: left}
spec: {network: left, namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: left}}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkBindingPolicy
metadata: {name: right}
spec: {network: right, namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: right}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: left}, spec: {nodeName: node1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: right}, spec: {nodeName: node1}}
"""
POLICY = """
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {name: left-to-right}
spec: {srcSelector: {name: left}, destSelector: {name: right}}
"""
LATE = "{apiVersion: v1, kind: Pod, metadata: {name: late, namespace: left}, spec: {nodeName: node2}}\n"


BOUND_S = 240.0
"""Seconds until the API server must have started."""


class FolderOf:
    """Manifests in files, and a state file."""

    def __init__(self) -> None:
        self.options: tuple[str, ...] = ()
        self._folder = Path()

    def prepare(self, switch: DummySwitch) -> None:
        self._folder = switch.folder / "manifests"
        self._folder.mkdir()
        self.options = ("--source", str(self._folder), "--state", str(switch.folder / "ledger"))
        self._put("cluster.yaml", CLUSTER)
        self.revert()

    def change(self) -> None:
        self._put("late.yaml", LATE)
        self._put("policy.yaml", "# none\n")

    def revert(self) -> None:
        self._put("policy.yaml", POLICY)
        (self._folder / "late.yaml").unlink(missing_ok=True)

    def is_said(self, status: dict[str, Any], *, is_changed: bool) -> bool:
        is_there = (self._folder / "late.yaml").exists() == is_changed
        is_read = is_there and status.get("generation") == generation(self._folder)
        return is_read and bool(status["nodes"].get("node1", {}).get("programmed")) and not status["problems"]

    def close(self) -> None:
        pass

    def _put(self, name: str, text: str) -> None:
        (self._folder.parent / "fresh").write_text(text)
        (self._folder.parent / "fresh").rename(self._folder / name)


class ApiOf:
    """Objects of an API server. The change: the policy goes, and node2 gets a block."""

    def __init__(self) -> None:
        self.options: tuple[str, ...] = ()
        self._server: ApiProcess | None = None
        self._api: Api | None = None
        self._uids: dict[str, str] = {}
        self._policy: dict[str, Any] = {}
        self._block: dict[str, Any] = {}

    def uid_of(self, pod: str) -> str:
        return self._uids[pod]

    def prepare(self, switch: DummySwitch) -> None:
        self._server = ApiProcess(switch.folder)
        self._server.start(BOUND_S)
        self.options = (
            "--source",
            "kubernetes",
            "--node",
            "node1",
            "--kubeconfig",
            str(self._server.kubeconfig),
        )
        self._api = Api.connect(self._server.kubeconfig, user_agent="tests")
        manifests = parse(f"{CLUSTER}---\n{POLICY}---\n{LATE}", "cluster.yaml")
        for body in api_objects(manifests, build(manifests, Ledger())):
            if body["kind"] == "NetworkRoutingPolicy":
                self._policy = body
            elif body["kind"] == "Allocation" and body["spec"]["node"] == "node2":
                self._block = body
            elif body["metadata"]["name"] != "late":
                self._create(body)
        self.revert()

    def change(self) -> None:
        assert self._api is not None
        self._create(self._block)
        self._api.delete(resources.ROUTING_POLICIES, self._policy["metadata"]["name"])

    def revert(self) -> None:
        assert self._api is not None
        self._create(self._policy)
        try:
            self._api.delete(resources.ALLOCATIONS, self._block["metadata"]["name"])
        except ApiError as error:
            if not error.is_not_found:
                raise

    def is_said(self, status: dict[str, Any], *, is_changed: bool) -> bool:
        """Also by the NodeState, which speaks of no policy after the change."""
        assert self._api is not None
        try:
            its = self._api.get(resources.NODE_STATES, "node1").get("status") or {}
        except ApiError:
            return False
        is_programmed = bool(status.get("nodes", {}).get("node1", {}).get("programmed"))
        is_without = its.get("digests", {}).get("NetworkRoutingPolicy") == digest(())
        return is_programmed and bool(its.get("ready")) and is_without == is_changed

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _create(self, body: dict[str, Any]) -> None:
        assert self._api is not None
        its, body = _resource(body["kind"]), copy.deepcopy(body)
        status, full = body.get("status"), f"{body['metadata'].get('namespace')}/{body['metadata']['name']}"
        if body["kind"] == "Pod":
            body["spec"]["containers"] = [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]
        if body["kind"] == "NetworkEndpoint":
            body["metadata"]["ownerReferences"][0]["uid"] = self._uids[full]
        made = self._api.create(its, body)
        if body["kind"] == "Pod":
            self._uids[full] = made["metadata"]["uid"]
        if status and its == NETWORKS:
            self._api.patch(its, made["metadata"]["name"], "", {"status": status}, subresource="status")


def _resource(kind: str) -> Resource:
    found = (each for each in vars(resources).values() if isinstance(each, Resource))
    return next(each for each in found if each.kind == kind)
