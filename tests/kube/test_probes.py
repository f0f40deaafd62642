"""Which ports of a pod its node's kubelet calls."""

from __future__ import annotations

import pytest
from service_texts import in_world, pod, said

from lace_sdn.kube.manifests import parse

PORTS = "ports: [{name: web, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]"


def probed(container: str, more: str = "") -> str:
    """A pod whose container has this beside its ports; ``more``: of its spec."""
    return pod("a").replace("ports: []", f"{PORTS}, {container}").replace("containers", f"{more}containers")


def probes(*texts: str) -> tuple[int, ...]:
    """Of the only endpoint, about which there is nothing to say."""
    result = in_world(*texts)
    (endpoint,) = result.state.endpoints
    assert said(result) == []
    return endpoint.probes


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("livenessProbe: {httpGet: {port: 80, path: /ready}}", (80,)),
        ("readinessProbe: {tcpSocket: {port: 81}}", (81,)),
        ("startupProbe: {grpc: {port: 82}}", (82,)),
        ("lifecycle: {postStart: {httpGet: {port: 83}}, preStop: {tcpSocket: {port: 84}}}", (83, 84)),
        ("livenessProbe: {httpGet: {port: web}}", (8080,)),
        ("livenessProbe: {httpGet: {port: dns}}", (53,)),
        ("livenessProbe: {exec: {command: [ls]}}, lifecycle: {preStop: {sleep: {seconds: 5}}}", ()),
        ("livenessProbe: {httpGet: {port: 80, host: 192.0.2.80}}, readinessProbe: {tcpSocket: {port: 81, host: db}}", ()),
        ("livenessProbe: {httpGet: {port: 80, host: ''}}", (80,)),
        ("livenessProbe: null, readinessProbe: {httpGet: null}, lifecycle: {preStop: null}", ()),
        ("", ()),
    ],
)  # fmt: skip
def test_probes_and_hooks_name_ports(container: str, expected: tuple[int, ...]) -> None:
    """By number, or by name of the container's ports, whatever their protocol; with a host they go elsewhere."""
    assert probes(probed(container)) == expected


def test_ports_stand_in_order_and_once() -> None:
    text = "livenessProbe: {httpGet: {port: 8080}}, startupProbe: {httpGet: {port: web}}, readinessProbe: {tcpSocket: {port: 80}}"
    assert probes(probed(text)) == (80, 8080)


def test_sidecars_are_probed_and_other_init_containers_are_not() -> None:
    """KEP-753: those that restart always run beside the others."""
    sidecar = "{name: s, restartPolicy: Always, ports: [{name: web, containerPort: 15001}], livenessProbe: {httpGet: {port: web}}}"
    once = "{name: o, livenessProbe: {httpGet: {port: 9}}}"
    assert probes(probed("", f"initContainers: [{sidecar}, {once}], ")) == (15001,)


def test_a_name_that_the_container_does_not_have_is_said() -> None:
    """That of another container is none of its own; the other probes are opened."""
    other = "initContainers: [{name: s, restartPolicy: Always, livenessProbe: {httpGet: {port: web}}}], "
    result = in_world(
        probed("livenessProbe: {httpGet: {port: http}}, readinessProbe: {httpGet: {port: 80}}", other)
    )
    assert [each.probes for each in result.state.endpoints] == [(80,)]
    assert said(result) == ["shop/a ProbesReachable False ProbePortMissing"] * 2
    assert [each.message for each in result.conditions] == [
        (
            'spec.containers[0].livenessProbe.httpGet.port "http" is no port of its container; '
            'expected a number, or a name of its ports: "dns" or "web"; nothing is opened to the kubelet for it'
        ),
        (
            'spec.initContainers[0].livenessProbe.httpGet.port "web" is no port of its container; '
            "expected a number, for no port there has a name; nothing is opened to the kubelet for it"
        ),
    ]


@pytest.mark.parametrize(
    ("container", "field", "found"),
    [
        ("livenessProbe: {httpGet: {port: 0}}", "livenessProbe.httpGet.port", "0 is too small"),
        ("startupProbe: {tcpSocket: {port: 65536}}", "startupProbe.tcpSocket.port", "65536 is too large"),
        ("readinessProbe: {grpc: {port: web}}", "readinessProbe.grpc.port", '"web" is text'),
        ("lifecycle: {preStop: {httpGet: {path: /}}}", "lifecycle.preStop.httpGet.port", "is missing"),
    ],
)
def test_what_is_wrong_with_a_probe_is_said_by_its_field(container: str, field: str, found: str) -> None:
    (problem,) = parse(probed(container), "x.yaml").problems
    assert (problem.field, problem.found) == (f"spec.containers[0].{field}", found)
