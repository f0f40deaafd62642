"""The controller as a process: greenthreads that watch, and one loop a node. Decisions are elsewhere."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import eventlet

from lace_sdn.controller.api_world import ApiWorld
from lace_sdn.controller.attaching import LinkKind
from lace_sdn.controller.host_plans import HostPlans
from lace_sdn.controller.node_loop import NodeLoop
from lace_sdn.controller.on_node import OnNode
from lace_sdn.controller.status import StatusFile, describe
from lace_sdn.controller.world import World, WorldReader
from lace_sdn.kube.api.client import Api, ApiUnreachable
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.host import host_program
from lace_sdn.switch.datapath import Datapath
from lace_sdn.switch.openflow_app import SwitchApp
from lace_sdn.switch.ovsdb import OvsdbNode, OvsdbSettings, datapath_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lace_sdn.switch.ovsdb import PortMap

log = logging.getLogger(__name__)

__all__ = ["ApiUnreachable", "FolderSettings", "KubernetesSettings", "Process", "Settings"]

# Seconds.
SOURCE_INTERVAL = 0.2
NODES_INTERVAL = 0.5
COALESCE = 0.02
COALESCE_MOST = 0.1
"""A burst of changes becomes one bundle."""
RETRY_FIRST, RETRY_LAST = 0.5, 15.0
AUDIT_INTERVAL = 10.0
"""Every bridge is read back this often, and put right if somebody changed flows of ours."""
USERSPACE = "netdev"
AUDIT_SHARE = 20
"""Reading back takes a twentieth of the time at most, however large the bridge."""


@dataclass(frozen=True)
class FolderSettings:
    """``state_file``: the allocations made so far."""

    path: Path
    state_file: Path


@dataclass(frozen=True)
class KubernetesSettings:
    """``server``: an address instead of the kubeconfig's; ``cni_socket``: where the CNI plugin asks; ``serve``: HOST:PORT of health and metrics."""

    node: str
    kubeconfig: Path | None = None
    server: str | None = None
    cni_socket: Path | None = None
    serve: str = ""


@dataclass(frozen=True)
class Settings:
    """``ovsdb``: node -> remote of its database; ``ovsdb_dir``: a folder with NODE/db.sock, watched.

    ``source``: a folder of manifests, or the API server. ``hosts_dir``: where NODE/host.json is written; ``mtu``: of pods, octets.
    """

    source: FolderSettings | KubernetesSettings
    listen: Path
    ovsdb: Mapping[str, str]
    ovsdb_dir: Path | None = None
    only_node: str | None = None
    status_file: Path | None = None
    datapath_type: str = "system"
    hosts_dir: Path | None = None
    mtu: int = DEFAULT_MTU
    verbose: bool = False

    @property
    def is_userspace(self) -> bool:
        """Whether packets are switched by ovs-vswitchd itself."""
        return self.datapath_type == USERSPACE


def gathering(took: float) -> float:
    """Seconds to wait for more changes before the next step, when the last took ``took``: half of the time is left to others."""
    return min(max(COALESCE, took), COALESCE_MOST)


class Worker:
    """Runs the loop of one node in a greenthread of its own, so that a slow switch delays nobody else."""

    def __init__(self, node: str, process: Process, settings: Settings) -> None:
        self.loop = NodeLoop(node, sctp=not settings.is_userspace, mtu=settings.mtu)
        self._process = process
        self._wake = threading.Event()
        self._thread = eventlet.spawn(self._run)

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._thread.kill()

    def _run(self) -> None:
        retry = RETRY_FIRST
        pause = AUDIT_INTERVAL
        audit_due = time.monotonic() + AUDIT_INTERVAL
        took = 0.0
        while True:
            self._wake.wait(pause)
            eventlet.sleep(gathering(took))
            self._wake.clear()
            started = time.monotonic()
            if started >= audit_due:
                self.loop.audit()
            is_done = self._step()
            self._process.note(self.loop)
            self._process.publish()
            now = time.monotonic()
            took = now - started
            if started >= audit_due:
                audit_due = now + max(AUDIT_INTERVAL, AUDIT_SHARE * (now - started))
            pause = max(audit_due - now, COALESCE) if is_done else retry
            if self.loop.due is not None:
                pause = min(pause, max(self.loop.due - now, 0.0))
            retry = RETRY_FIRST if is_done else min(retry * 2, RETRY_LAST)

    def _step(self) -> bool:
        world = self._process.world
        if world is None:
            return True
        self._process.publish_host(self.loop.node, world)
        try:
            return self.loop.step(world)
        except Exception:
            # A fault of ours in one node's program must not end the other nodes' loops: said loudly, tried again.
            log.exception(
                "node=%s: could not be brought to the desired state, the former flows stay", self.loop.node
            )
            return False


class Process:
    """One controller: ``run`` ends by SIGTERM or SIGINT; flows stay as they are."""

    def __init__(self, settings: Settings) -> None:
        self.world: World | None = None
        self._settings = settings
        self._stop = threading.Event()
        self._reader, self._node = self._source(settings)
        self._status = StatusFile(settings.status_file)
        self._host_plans = HostPlans(settings.hosts_dir)
        self._workers: dict[str, Worker] = {}
        self._databases: dict[str, OvsdbNode] = {}
        self._app = SwitchApp(self._on_up, self._on_down, settings.mtu)

    def _source(self, settings: Settings) -> tuple[WorldReader | ApiWorld, OnNode | None]:
        """Where the world comes from, and, on Kubernetes, what else a node's controller does."""
        source = settings.source
        if isinstance(source, FolderSettings):
            return WorldReader(source.path, source.state_file, is_userspace=settings.is_userspace), None
        api = Api.connect(source.kubeconfig, server=source.server, user_agent="lace-sdn-controller")
        world = ApiWorld(api, source.node, is_userspace=settings.is_userspace)
        kind = LinkKind(settings.mtu, settings.is_userspace)
        return world, OnNode(world, self, kind, source.cni_socket, source.serve)

    def worker_of(self, node: str) -> tuple[NodeLoop, OvsdbNode] | None:
        """The loop and the database of a node; None while it is not served."""
        worker = self._workers.get(node)
        return (worker.loop, self._databases[node]) if worker else None

    def run(self) -> None:
        """Serve until a signal."""
        level = logging.INFO if self._settings.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._app.listen(self._settings.listen)
        watchers = [eventlet.spawn(self._watch_source), eventlet.spawn(self._watch_nodes)]
        if self._node is not None:
            self._node.start(self._stop)
        self._stop.wait()
        if self._node is not None:
            self._node.close()
        for watcher in watchers:
            watcher.kill()
        for database in self._databases.values():
            database.stop()
        for worker in self._workers.values():
            worker.stop()
        self._app.close()

    def note(self, loop: NodeLoop) -> None:
        """Let the node's database say for whom conntrack zones were emptied."""
        database = self._databases.get(loop.node)
        if database is not None:
            database.note(loop.notes)

    def publish(self) -> None:
        """Write the status; a full disk is reported and does not stop the controller."""
        loops = [self._workers[node].loop for node in sorted(self._workers)]
        if self._node is not None:
            self._node.note(self.world)
        try:
            self._status.write(describe(self.world, loops))
        except OSError as error:
            log.error("status file %s: %s", self._settings.status_file, error)  # noqa: TRY400

    def publish_host(self, node: str, world: World) -> None:
        """Write what the node's own stack is to do; a folder that cannot be written to is reported, and tried again."""
        try:
            self._host_plans.write(node, host_program(world.cluster, node))
        except OSError as error:
            log.error("node=%s: the plan of its network stack is not written: %s", node, error)  # noqa: TRY400

    # Bridges connect and go.

    def _on_up(self, bridge: Any) -> None:
        for worker in self._workers.values():
            if int(datapath_id(worker.loop.node), 16) == bridge.datapath_id:
                worker.loop.bridge = bridge
                worker.wake()
                return
        log.warning(
            "bridge %016x connected and is of no node that is served; it is left alone", bridge.datapath_id
        )

    def _on_down(self, bridge: Any) -> None:
        for worker in self._workers.values():
            # A new connection of the same bridge may have come before the old one was given up.
            if worker.loop.bridge is bridge:
                worker.loop.bridge = None
                worker.wake()

    # Nodes come and go.

    def _watch_nodes(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._serve_nodes(self._remotes())
            eventlet.sleep(NODES_INTERVAL)

    def _remotes(self) -> dict[str, str]:
        found = dict(self._settings.ovsdb)
        if self._settings.ovsdb_dir is not None:
            found |= {path.parent.name: f"unix:{path}" for path in self._settings.ovsdb_dir.glob("*/db.sock")}
        only = self._settings.only_node
        return {node: remote for node, remote in found.items() if only in (None, node)}

    def _serve_nodes(self, remotes: Mapping[str, str]) -> None:
        for node in self._workers.keys() - remotes.keys():
            self._databases.pop(node).stop()
            self._workers.pop(node).stop()
            self.publish()
        for node in remotes.keys() - self._workers.keys():
            worker = self._workers[node] = Worker(node, self, self._settings)
            worker.loop.bridge = self._app.bridges.get(int(datapath_id(node), 16))
            worker.loop.settings.datapath = Datapath(remotes[node], self._settings.datapath_type)
            settings = OvsdbSettings(
                datapath_type=self._settings.datapath_type,
                controller=f"unix:{self._settings.listen}",
                mtu=self._settings.mtu,
            )
            self._databases[node] = OvsdbNode(remotes[node], node, settings, partial(self._on_ports, worker))
            self._databases[node].start()

    @staticmethod
    def _on_ports(worker: Worker, state: PortMap) -> None:
        if worker.loop.see(state):
            worker.wake()

    # The source changes.

    def _watch_source(self) -> None:
        took = 0.0
        while True:
            started = time.monotonic()
            if self._reader.has_news():
                self._read()
                took = time.monotonic() - started
            # What changed before everything was listed is no news yet, and is set all the same.
            if self._reader.changed.is_set():
                eventlet.sleep(gathering(took))
            else:
                self._reader.changed.wait(SOURCE_INTERVAL)

    def _read(self) -> None:
        try:
            self.world = self._reader.read()
        except OSError as error:
            log.error("%s; the last good state stays in force", error)  # noqa: TRY400
            return
        for worker in self._workers.values():
            worker.wake()
        self.publish()
