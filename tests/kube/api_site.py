"""An API server to state facts about: the fake one, or the one of LACE_SDN_TEST_KUBECONFIG, with a namespace and names of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError, ApiUnreachable
from lace_sdn.kube.api.resources import Resource
from lace_sdn.kube.schemas import custom_resource_definitions

sys.path.insert(0, str(Path(__file__).parents[1] / "apiserver"))

from apiserver import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Data = dict[str, Any]

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", is_namespaced=True)
DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", is_namespaced=False
)
IMAGE = "registry.k8s.io/pause:3.10"
"""Never pulled: the pods are of a node that does not exist."""
REAL = os.environ.get("LACE_SDN_TEST_KUBECONFIG", "")


def eventually(holds: Callable[[], Any], within: float = 30.0) -> Any:
    """What ``holds`` answers, once it is true."""
    deadline = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)
    return found


def version(body: Data) -> int:
    return int(body["metadata"]["resourceVersion"])


def causes(error: ApiError) -> set[tuple[str, str]]:
    return {(each.field, each.reason) for each in error.causes}


@dataclass
class Site:
    """``fake``: None for a real server. Everything is called ``prefix-...`` and has ``mark`` as label."""

    api: Api
    fake: ApiServer | None
    prefix: str = field(default_factory=lambda: f"lace-test-{secrets.token_hex(4)}")
    made: list[tuple[Resource, str, str]] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.prefix

    @property
    def patience(self) -> int:
        """Seconds of a watch: a real server has bookmarks two seconds before its end."""
        return 2 if self.fake else 5

    def name(self, short: str) -> str:
        return f"{self.prefix}-{short}"

    def body(self, resource: Resource, name: str, rest: Data, **metadata: Any) -> Data:
        namespace = {"namespace": self.namespace} if resource.is_namespaced else {}
        labels = {"mark": self.prefix, **metadata.pop("labels", {})}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return {**kind, "metadata": {**namespace, "name": name, "labels": labels, **metadata}, **rest}

    def create(self, resource: Resource, short: str, rest: Data, **metadata: Any) -> Data:
        body = self.body(resource, self.name(short), rest, **metadata)
        self.made.append((resource, body["metadata"]["name"], body["metadata"].get("namespace", "")))
        return self.api.create(resource, body)

    def network(self, short: str, **metadata: Any) -> Data:
        spec = {"type": "l3", "ipv4Subnet": {"prefix": "10.0.0.0/16"}}
        return self.create(resources.NETWORKS, short, {"spec": spec}, **metadata)

    def config_map(self, short: str, value: str = "", **metadata: Any) -> Data:
        return self.create(CONFIG_MAPS, short, {"data": {"value": value}}, **metadata)

    def pod(self, short: str, node: str) -> Data:
        container = {"name": "pause", "image": IMAGE}
        spec = {"nodeName": self.name(node), "containers": [container], "automountServiceAccountToken": False}
        return self.create(resources.PODS, short, {"spec": spec})

    def endpoint(self, short: str, node: str, **metadata: Any) -> Data:
        spec = {"network": "red", "node": self.name(node), "addresses": ["10.0.0.2"]}
        return self.create(resources.NETWORK_ENDPOINTS, short, {"spec": spec}, **metadata)

    def patch(self, resource: Resource, short: str, body: Data, subresource: str = "") -> Data:
        namespace = self.namespace if resource.is_namespaced else ""
        return self.api.patch(resource, self.name(short), namespace, body, subresource)

    def delete(self, resource: Resource, short: str, **options: Any) -> None:
        self.api.delete(
            resource, self.name(short), self.namespace if resource.is_namespaced else "", **options
        )

    def get(self, resource: Resource, short: str) -> Data:
        return self.api.get(resource, self.name(short), self.namespace if resource.is_namespaced else "")

    def is_gone(self, resource: Resource, short: str) -> bool:
        with contextlib.suppress(ApiError):
            self.get(resource, short)
            return False
        return True

    def marked(self, resource: Resource, labels: str = "", fields: str = "") -> tuple[list[str], str]:
        """The short names of what was made here and is selected, and the version of the list."""
        selector = ",".join(filter(None, (f"mark={self.prefix}", labels)))
        namespace = self.namespace if resource.is_namespaced else ""
        found, version = self.api.list(
            resource, namespace=namespace, label_selector=selector, field_selector=fields
        )
        return [each["metadata"]["name"].removeprefix(f"{self.prefix}-") for each in found], version

    def watch(
        self, resource: Resource, version: str, labels: str = "", fields: str = "", timeout: int = 0
    ) -> Iterator[Data]:
        """Events and bookmarks of what was made here."""
        return self.api.watch(
            resource,
            resource_version=version,
            namespace=self.namespace if resource.is_namespaced else "",
            label_selector=",".join(filter(None, (f"mark={self.prefix}", labels))),
            field_selector=fields,
            timeout=timeout or self.patience,
        )

    def events(self, resource: Resource, version: str, labels: str = "", fields: str = "") -> list[Data]:
        """All that there are by now: up to a bookmark that is not older than a list."""
        now = int(self.marked(resource)[1])
        found = []
        for each in self.watch(resource, version, labels, fields):
            if each["type"] != "BOOKMARK":
                found.append(each)
            elif int(each["object"]["metadata"]["resourceVersion"]) >= now:
                return found
        raise AssertionError("no bookmark came")

    def told(self, events: list[Data]) -> list[tuple[str, str]]:
        """Type and short name of each."""
        return [
            (each["type"], each["object"]["metadata"]["name"].removeprefix(f"{self.prefix}-"))
            for each in events
        ]

    def refusal(self, ask: Callable[[], Any]) -> ApiError:
        """The error that it gets."""
        try:
            ask()
        except ApiError as error:
            return error
        raise AssertionError("was not refused")

    def forget(self) -> str:
        """A version that is too old to watch from."""
        if self.fake is not None:
            self.fake.storage.expire()
        return "1"

    def forget_pages(self) -> None:
        """Nothing that a continue token names is known any more; of the fake server alone."""
        if self.fake is not None:
            self.fake.expire_tokens()

    def tidy(self) -> None:
        for resource, name, namespace in reversed(self.made):
            with contextlib.suppress(ApiError):
                self.api.patch(resource, name, namespace, {"metadata": {"finalizers": None}})
            with contextlib.suppress(ApiError):
                self.api.delete(resource, name, namespace, grace_seconds=0)
        self.made.clear()


@contextlib.contextmanager
def site_of(folder: Path) -> Iterator[Site]:
    """The real server if one is named, else a fake one."""
    with contextlib.ExitStack() as stack:
        fake = None if REAL else stack.enter_context(ApiServer(bookmarks=0.3))
        site = Site(Api.connect(Path(REAL) if fake is None else fake.kubeconfig(folder)), fake)
        stack.callback(_remove, site, _install(site.api))
        name = site.namespace
        site.api.create(
            resources.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        if fake is None:
            accounts = Resource("", "v1", "serviceaccounts", "ServiceAccount", is_namespaced=True)
            eventually(lambda: site.api.list(accounts, namespace=name)[0])
        yield site


def _install(api: Api) -> list[str]:
    """The CRDs that are not there; their names."""
    made = []
    for definition in custom_resource_definitions():
        with contextlib.suppress(ApiError):
            made.append(api.create(DEFINITIONS, definition)["metadata"]["name"])
    for name in made:
        eventually(lambda name=name: _is_established(api.get(DEFINITIONS, name)))
    return made


def _is_established(definition: Data) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


def _remove(site: Site, definitions: list[str]) -> None:
    site.tidy()
    with contextlib.suppress(ApiError, ApiUnreachable):
        site.api.delete(resources.NAMESPACES, site.namespace)
    for name in definitions:
        with contextlib.suppress(ApiError, ApiUnreachable):
            site.api.delete(DEFINITIONS, name)
