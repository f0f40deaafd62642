"""The controller as a process: greenthreads that watch, and one loop a node. Decisions are elsewhere."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import eventlet

from lace_sdn.controller.api_world import ApiWorld
from lace_sdn.controller.attaching import LinkKind
from lace_sdn.controller.backoff import Backoff
from lace_sdn.controller.called_switches import CalledSwitches
from lace_sdn.controller.host_plans import HostPlans
from lace_sdn.controller.node_loop import NodeLoop
from lace_sdn.controller.on_node import OnNode
from lace_sdn.controller.status import StatusFile, describe
from lace_sdn.controller.troubles import Troubles
from lace_sdn.controller.worker import Worker, gathering
from lace_sdn.controller.world import World, WorldReader
from lace_sdn.kube.api.client import Api, ApiUnreachable
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.host import host_program
from lace_sdn.pipeline.limits import CONNECTIONS
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
RETRY_FIRST, RETRY_LAST = 0.2, 15.0
"""Between two tries to read the source, to serve a node or to write a file, after the first failed."""
USERSPACE = "netdev"


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

    ``source``: a folder of manifests, or the API server. ``hosts_dir``: where NODE/host.json is written; ``mtu``: of pods, octets;
    ``connections``: conntrack entries of a zone of a pod at most, 0 for any number.
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
    connections: int = CONNECTIONS
    verbose: bool = False

    @property
    def is_userspace(self) -> bool:
        """Whether packets are switched by ovs-vswitchd itself."""
        return self.datapath_type == USERSPACE


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
        self._troubles = Troubles()
        self._source_retry = Backoff(RETRY_FIRST, RETRY_LAST)
        self._source_due: float | None = None
        self._is_status_owed = False
        self._called = CalledSwitches(SwitchApp.call)
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
        if isinstance(self._reader, WorldReader):
            self._reader.close()
        for database in self._databases.values():
            database.stop()
        for worker in self._workers.values():
            worker.stop()
        self._app.close()

    def note(self, loop: NodeLoop) -> None:
        """Let the node's database say for whom conntrack zones were emptied, and let a switch that waited for its flows begin. Never raises."""
        database = self._databases.get(loop.node)
        if database is not None:
            with self._troubles.about(f"node={loop.node}: the notes of its ports"):
                database.note(loop.notes)
                if self._called.is_complete(loop):
                    database.release()

    def publish(self) -> None:
        """Write the status; what fails is said, stops nothing, and is tried again soon. Never raises."""
        loops = [self._workers[node].loop for node in sorted(self._workers)]
        with self._troubles.about(f"status file {self._settings.status_file}") as trouble:
            if self._node is not None:
                self._node.note(self.world)
            self._status.write(describe(self.world, loops))
        self._is_status_owed = bool(trouble)

    def publish_host(self, node: str, world: World) -> bool:
        """Write what the node's own stack is to do. False: it could not be written, and is to be tried again. Never raises."""
        with self._troubles.about(f"node={node}: the plan of its network stack") as trouble:
            self._host_plans.write(node, host_program(world.cluster, node))
        return not trouble

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
            with self._troubles.about("the nodes' databases"):
                self._serve_nodes(self._remotes())
            if self._is_status_owed:
                self.publish()
            eventlet.sleep(NODES_INTERVAL)

    def _remotes(self) -> dict[str, str]:
        """Node -> remote of its database. Raises OSError: a folder that cannot be read is not one without nodes."""
        found = dict(self._settings.ovsdb)
        folder = self._settings.ovsdb_dir
        if folder is not None:
            sockets = {name: folder / name / "db.sock" for name in _names_in(folder)}
            found |= {name: f"unix:{path}" for name, path in sockets.items() if _is_there(path)}
        only = self._settings.only_node
        return {node: remote for node, remote in found.items() if only in (None, node)}

    def _serve_nodes(self, remotes: Mapping[str, str]) -> None:
        """One node's trouble is none of the others'."""
        for node in self._workers.keys() - remotes.keys():
            with self._troubles.about(f"node={node}"):
                self._workers.pop(node).stop()
                self._databases.pop(node).stop()
                self._called.forget(node)
            self.publish()
        for node in remotes.keys() - self._workers.keys():
            with self._troubles.about(f"node={node}"):
                self._serve_node(node, remotes[node])

    def _serve_node(self, node: str, remote: str) -> None:
        """A node is served when all of it has started; else it is tried again."""
        loop = NodeLoop(
            node,
            sctp=not self._settings.is_userspace,
            mtu=self._settings.mtu,
            connections=self._settings.connections,
        )
        settings = OvsdbSettings(
            datapath_type=self._settings.datapath_type,
            controller=f"unix:{self._settings.listen}",
            mtu=self._settings.mtu,
        )
        worker = Worker(loop, self)
        database = OvsdbNode(remote, node, settings, partial(self._on_ports, worker, remote))
        try:
            database.start()
        except BaseException:
            database.stop()
            raise
        self._workers[node], self._databases[node] = worker, database
        loop.settings.datapath = Datapath(remote, self._settings.datapath_type)
        loop.bridge = self._app.bridges.get(int(datapath_id(node), 16))
        worker.start()
        worker.wake()

    def _on_ports(self, worker: Worker, remote: str, state: PortMap) -> None:
        self._called.see(worker.loop.node, remote, state)
        if worker.loop.see(state):
            worker.wake()

    # The source changes.

    def _watch_source(self) -> None:
        took = 0.0
        while True:
            started = time.monotonic()
            with self._troubles.about("a look whether the source changed"):
                if self._is_to_be_read(started):
                    self._read()
                    took = time.monotonic() - started
            # What changed before everything was listed is no news yet, and is set all the same.
            if self._reader.changed.is_set():
                eventlet.sleep(gathering(took))
            else:
                self._reader.changed.wait(SOURCE_INTERVAL)

    def _is_to_be_read(self, now: float) -> bool:
        return (self._source_due is not None and now >= self._source_due) or self._reader.has_news()

    def _read(self) -> None:
        """What changed is no news any more as soon as it was looked at: whatever fails from here on, it is read once more."""
        self._source_due = time.monotonic() + self._source_retry.failed()
        with self._troubles.about("the source", "the last good state stays in force") as trouble:
            self.world = self._reader.read()
        if trouble:
            return
        self._troubles.note("part of the source", self.world.pending if self.world else "")
        if not (self.world and self.world.pending):
            self._source_retry.succeeded()
            self._source_due = None
        for worker in self._workers.values():
            worker.wake()
        self.publish()


def _names_in(folder: Path) -> list[str]:
    """Raises OSError when they are not known, which ``glob`` would hide."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []


def _is_there(path: Path) -> bool:
    """Raises OSError when that is not known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
