"""The processes of a lab on Kubernetes: the operator and the kubelets beside the nodes, a relay and a controller inside each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lace_sdn.lab import LabError, control, datapath, links, netns, processes
from lace_sdn.lab.api import access, sandboxes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lace_sdn.lab.names import Lab

_PROGRAM = [sys.executable, "-c", "from lace_sdn.cli import main; main()"]
SERVE_PORT = 9470
"""Of a controller's health and metrics, on its node's loopback."""


def operator_mark(lab: Lab) -> Path:
    """The mark of the operator."""
    return lab.run / "operator"


def kubelet_mark(lab: Lab) -> Path:
    """The mark of the kubelets' process."""
    return lab.run / "kubelet"


def controller_mark(lab: Lab, node: str) -> Path:
    """The mark of a node's controller."""
    return lab.node(node) / "controller"


def _relay_mark(lab: Lab, node: str) -> Path:
    return lab.node(node) / "relay"


def log_of(mark: Path) -> Path:
    """Where the output of a process goes."""
    return mark.with_name(f"{mark.name}.log")


def ensure_operator(lab: Lab) -> None:
    """Start the operator unless it runs."""
    arguments = [
        "operator", "--kubeconfig", str(lab.kubeconfig), "--namespace", "kube-system", "--telemetry", "", "--verbose",
    ]  # fmt: skip
    _ensure(operator_mark(lab), [*_PROGRAM, *arguments])


def ensure_kubelet(lab: Lab) -> None:
    """Start the kubelets unless they run."""
    _ensure(kubelet_mark(lab), [sys.executable, "-m", "lace_sdn.lab.api.kubelet", lab.name])


def ensure_node(lab: Lab, node: str) -> None:
    """Start relay and controller of a node unless they run; its switch must be there."""
    namespace, folder = lab.node_namespace(node), lab.node(node)
    server = access.server_of(lab)
    _ensure(
        _relay_mark(lab, node),
        [
            sys.executable, "-m", "lace_sdn.lab.api.relay",
            namespace, str(access.RELAY_PORT), server.host, str(server.port),
        ],
    )  # fmt: skip
    arguments = [
        "controller", "--source", "kubernetes", "--node", node, "--kubeconfig", str(access.inside(lab)),
        "--listen", str(folder / "openflow.sock"), "--ovsdb", f"{node}=unix:{folder / 'db.sock'}",
        "--cni-socket", str(sandboxes.socket_of(lab, node)), "--hosts", str(lab.nodes),
        "--datapath-type", datapath.of(lab).value, "--mtu", str(links.POD_MTU),
        "--serve", f"127.0.0.1:{SERVE_PORT}", "--verbose",
    ]  # fmt: skip
    _ensure(controller_mark(lab, node), netns.command(namespace, *_PROGRAM, *arguments))


def all_marks(lab: Lab, nodes: Iterable[str]) -> dict[str, Path]:
    """What should run, by a name for humans."""
    marks = {"operator": operator_mark(lab), "kubelet": kubelet_mark(lab)}
    return marks | {f"controller of {node}": controller_mark(lab, node) for node in nodes}


def check_alive(lab: Lab, nodes: Iterable[str]) -> None:
    """Raises LabError with the last words of what was started and has ended."""
    for name, mark in all_marks(lab, nodes).items():
        if log_of(mark).exists() and not processes.find(mark):
            where = log_of(mark)
            raise LabError(f"the {name} has ended; it said last in {where}:\n{control.last_lines(where)}")


def _ensure(mark: Path, arguments: list[str]) -> None:
    if not processes.find(mark):
        processes.start(arguments, mark, log_of(mark))
