"""What the kubelet calls in a pod: the TCP ports of probes and of hooks, by number or by a name of the same container.

Source: Kubernetes API, Container v1: Probe, LifecycleHandler; pkg/kubelet/util/ports for names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lace_sdn.kube.manifests import Identity
from lace_sdn.kube.problems import any_of, field_path, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.problems import Path
    from lace_sdn.kube.report import Report
    from lace_sdn.model.objects import Pod
    from lace_sdn.policy.probes import Hidden

Data = dict[str, Any]

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS: Final = ("postStart", "preStop")
CALLS: Final = ("httpGet", "tcpSocket", "grpc")


class Called(NamedTuple):
    """A port that is called. ``path``: where it is written; ``names``: the ports that its container has by name."""

    path: Path
    port: int | str
    names: Mapping[str, int]

    @property
    def number(self) -> int | None:
        """None if the container has no port of that name."""
        return self.names.get(self.port) if isinstance(self.port, str) else self.port


def containers(spec: Data) -> Iterator[tuple[Path, Data]]:
    """The containers that run as long as the pod, with their places; sidecars last (KEP-753)."""
    for index, each in enumerate(spec.get("containers") or ()):
        yield ("spec", "containers", index), each
    for index, each in enumerate(spec.get("initContainers") or ()):
        if each.get("restartPolicy") == "Always":
            yield ("spec", "initContainers", index), each


def probe_ports(spec: Data) -> tuple[int, ...]:
    """The ports that the kubelet calls at the pod's address, in order."""
    return tuple(sorted({called.number for called in _called(spec) if called.number is not None}))


def report_unknown_ports(manifests: Manifests, pods: Iterable[Pod], report: Report) -> None:
    """Names that no port of the container has: the kubelet has nowhere to call, and the pod runs all the same."""
    ours = {pod.id for pod in pods}
    for manifest in manifests.of_kind("Pod"):
        if manifest.identity.full_name not in ours:
            continue
        for called in _called(manifest.data["spec"]):
            if called.number is None:
                report.condition(manifest.identity, "ProbesReachable", "ProbePortMissing", _unknown(called))


def report_hidden(hidden: Iterable[Hidden], report: Report) -> None:
    """Pods whose probes would reach another pod of their node."""
    for endpoint, address, other in hidden:
        ports = ", ".join(map(str, endpoint.probes))
        message = (
            f'Pod "{endpoint.id}" has the address {address} in Network "{endpoint.network}" on Node "{endpoint.node}", as '
            f'Pod "{other.id}" has in Network "{other.network}"; expected an address that no other pod of the Node has; the '
            f"kubelet's probes of TCP {ports} would reach the other Pod, which is older or sorts first, so they reach none"
        )
        identity = Identity("Pod", endpoint.namespace, endpoint.name)
        report.condition(identity, "ProbesReachable", "ProbeUnreachable", message)


def _unknown(called: Called) -> str:
    names = f", or a name of its ports: {any_of(sorted(called.names))}" if called.names else ""
    expected = f"expected a number{names or ', for no port there has a name'}"
    found = f"{field_path(called.path)} {quoted(called.port)} is no port of its container"
    return f"{found}; {expected}; nothing is opened to the kubelet for it"


def _called(spec: Data) -> Iterator[Called]:
    for around, container in containers(spec):
        names = {
            str(port["name"]): int(port["containerPort"])
            for port in container.get("ports") or ()
            if port.get("name")
        }
        for path, how in _calls(around, container):
            # With a host of its own, the call goes there and not to the pod.
            if not how.get("host"):
                yield Called((*path, "port"), how["port"], names)


def _calls(around: Path, container: Data) -> Iterator[tuple[Path, Data]]:
    lifecycle = container.get("lifecycle") or {}
    handlers: list[tuple[Path, Data]] = [((*around, name), container.get(name) or {}) for name in PROBES]
    handlers += [((*around, "lifecycle", name), lifecycle.get(name) or {}) for name in HOOKS]
    for path, handler in handlers:
        for name in CALLS:
            if handler.get(name):
                yield (*path, name), handler[name]
