"""The controller of one node in a big cluster: a real process, a real API client, a real switch; the API server is the tests' own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests/path"))

from api_process import ApiProcess
from dummy import DummySwitch

from bench.big_cluster import (
    PODS_A_NODE,
    Size,
    endpoint_slice,
    network_name,
    node_name,
    pods_of,
    write_journal,
)
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api
from lace_sdn.pipeline.tables import PERMIT
from lace_sdn.switch.ovsdb_plan import POD_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.report import Report

BIG, SMALL = Size(groups=20, group=50), Size(groups=1, group=50)
NODE = node_name(0)
EVENTS = 5_000
MEGABYTE = 1_000_000
_BOUND = 600.0


class BenchError(Exception):
    """What was to be measured did not come about."""


def run(report: Report) -> None:
    """Some minutes; the API server alone takes more than a GiB."""
    report.section(f"A node's controller in a cluster of {BIG}")
    with running(SMALL) as alone:
        flows = alone.metric("lace_flows")
    with running(BIG) as its:
        report.figure("objects that the API server holds", its.objects, "objects")
        report.figure("from the start of the process to in sync", its.seconds_to_sync, "s")
        memory = its.memory("VmRSS") / MEGABYTE
        report.goal("memory of the controller, in sync", memory, "MB", most=300)
        report.figure("most that it had", its.memory("VmHWM") / MEGABYTE, "MB")
        report.figure("flows", its.metric("lace_flows"), "flows")
        report.goal(
            "as many as with its 50 networks alone", its.metric("lace_flows") / flows, "times", most=1.01
        )
        for what, networks in (("foreign", range(BIG.group, BIG.networks)), ("its own", range(BIG.group))):
            before = its.metric("lace_watch_events_total")
            seconds = its.absorb(networks)
            events = its.metric("lace_watch_events_total") - before
            report.goal(f"events of EndpointSlices of {what} Services", events, "events", least=EVENTS)
            report.figure("of these", events / seconds, "a second")
        report.figure("memory after these", its.memory("VmRSS") / MEGABYTE, "MB")


@dataclass
class Running:
    """A controller that is in sync. ``objects``: how many the API server has."""

    size: Size
    objects: int
    process: subprocess.Popen[bytes]
    api: Api
    port: int
    switch: DummySwitch
    seconds_to_sync: float = 0.0
    policies: int = 0

    def memory(self, field: str) -> int:
        """Octets, as the kernel counts them."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024

    def metric(self, name: str) -> float:
        """The sum of a metric."""
        lines = _get(f"http://127.0.0.1:{self.port}/metrics").splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )

    def absorb(self, networks: range) -> float:
        """Seconds in which a backlog of EVENTS changes is taken over, and a policy that came last is in force.

        The controller is stopped while they are written: the API server is not what is measured.
        """
        with ThreadPoolExecutor(4) as workers:
            self.process.send_signal(signal.SIGSTOP)
            for _ in workers.map(lambda turn: self._change(turn, networks), range(EVENTS)):
                pass
        before = self._permits()
        self._write_policy()
        began = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        _await(lambda: self._permits() > before, "the last policy is in force")
        return time.monotonic() - began

    def _change(self, turn: int, networks: range) -> None:
        """Another state of a slice than it had: all of them in turn, then all back."""
        round_, place = divmod(turn, len(networks) * self.size.services)
        network, service = networks[place // self.size.services], place % self.size.services
        ready = round_ % 2 == 1
        body = endpoint_slice(network, service, self.size, ready=ready)
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        self.api.patch(resources.ENDPOINT_SLICES, name, namespace, {"endpoints": body["endpoints"]})

    def _permits(self) -> int:
        """Flows of the table that has the relations."""
        said = self.switch.ofctl("dump-aggregate", "br-int", f"table={PERMIT.number}")
        return int(said.rpartition("flow_count=")[2])

    def _write_policy(self) -> None:
        """One that relates two of the node's networks that none did."""
        self.policies += 1
        spec = {
            "srcSelector": {"name": network_name(0)},
            "destSelector": {"name": network_name(2 + self.policies)},
        }
        body = {
            "apiVersion": resources.ROUTING_POLICIES.api_version,
            "kind": resources.ROUTING_POLICIES.kind,
            "metadata": {"name": f"last-{self.policies}"},
            "spec": spec,
        }
        self.api.create(resources.ROUTING_POLICIES, body)


@contextlib.contextmanager
def running(size: Size) -> Iterator[Running]:
    """Made of nothing and removed again. Raises BenchError when it does not get in sync."""
    folder = Path(tempfile.mkdtemp(prefix="lacebench-", dir="/tmp"))
    server = ApiProcess(folder)
    with contextlib.ExitStack() as ending:
        ending.callback(shutil.rmtree, folder)
        objects = write_journal(folder / "objects", size)
        ending.callback(server.close)
        server.start(bound=_BOUND)
        switch = ending.enter_context(DummySwitch())
        _add_ports(switch, size)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        began = time.monotonic()
        process = _controller(folder, server.kubeconfig, switch, port)
        ending.callback(_end, process)
        _await(lambda: _is_ready(process, port), "the controller is ready")
        api = Api.connect(server.kubeconfig, user_agent="bench")
        its = Running(size, objects, process, api, port, switch)
        own = size.group * PODS_A_NODE
        _await(lambda: its.metric("lace_endpoints") == own, "all pods of the node have their flows")
        its.seconds_to_sync = time.monotonic() - began
        yield its


def _controller(folder: Path, kubeconfig: Path, switch: DummySwitch, port: int) -> subprocess.Popen[bytes]:
    arguments = [
        "controller", "--source", "kubernetes", "--node", NODE, "--kubeconfig", str(kubeconfig),
        "--listen", str(folder / "openflow.sock"), "--ovsdb", f"{NODE}={switch.db}",
        "--datapath-type", "netdev", "--serve", f"127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "controller.log").open("wb") as log:
        program = "from lace_sdn.cli import main; main()"
        return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=log, stderr=log)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(30)


def _add_ports(switch: DummySwitch, size: Size) -> None:
    """Of the node's pods, as an attachment makes them."""
    words = ["--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev"]
    its = [
        pod for network in range(size.group) for pod in pods_of(network, size) if node_name(pod.node) == NODE
    ]
    for number, pod in enumerate(its):
        words += [
            "--",
            "add-port",
            "br-int",
            f"p{number}",
            "--",
            "set",
            "Interface",
            f"p{number}",
            "type=dummy",
        ]
        words += [f"external_ids:iface-id={pod.namespace}/{pod.name}", f"external_ids:{POD_UID}={pod.uid}"]
    switch.vsctl(*words)


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise BenchError("the controller has ended")
    try:
        _get(f"http://127.0.0.1:{port}/readyz")
    except OSError:
        return False
    return True


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
        return str(answer.read().decode())


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _BOUND
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {_BOUND:.0f} s: {what}")
        time.sleep(0.02)
