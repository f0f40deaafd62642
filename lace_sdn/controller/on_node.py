"""What a controller does on a node of Kubernetes beside programming its switch: pods' attachment, NodeState, health and metrics."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from lace_sdn.controller.attacher import Attacher
from lace_sdn.controller.backoff import Backoff
from lace_sdn.controller.cni import CniServer
from lace_sdn.controller.limited import LimitWatch
from lace_sdn.controller.metrics import NodeMetrics
from lace_sdn.controller.netlink import Netlink
from lace_sdn.controller.node_state import NodeStateWriter, Report
from lace_sdn.controller.sweeper import Sweeper
from lace_sdn.node import NodeError
from lace_sdn.node.naming import interface_of
from lace_sdn.telemetry import Server, serve

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

    from lace_sdn.controller.api_world import ApiWorld
    from lace_sdn.controller.attaching import LinkKind
    from lace_sdn.controller.node_loop import NodeLoop
    from lace_sdn.controller.world import World
    from lace_sdn.switch.ovsdb import OvsdbNode
    from lace_sdn.switch.pod_interface import PodInterface
    from lace_sdn.switch.pod_ports import PodPort

log = logging.getLogger(__name__)

# Seconds.
SWEEP_INTERVAL: Final = 60.0
STATE_INTERVAL: Final = 1.0
_SOON: Final = 0.5


class Served(Protocol):
    """The process: whose node's loop and database there are."""

    def worker_of(self, node: str) -> tuple[NodeLoop, OvsdbNode] | None: ...


class OnNode:
    """One node's; threads of its own for everything."""

    def __init__(
        self, world: ApiWorld, served: Served, kind: LinkKind, cni_socket: Path | None, telemetry: str
    ) -> None:
        """``telemetry``: HOST:PORT of health and metrics; "" for none."""
        self._world = world
        self._served = served
        self._links = Netlink()
        self._switch = _NodeSwitch(world, served)
        self._attacher = Attacher(world, self._switch, self._links, interface_of, kind)
        self._sweeper = Sweeper(self._attacher, world, self._switch, self._links)
        self._cni = CniServer(cni_socket, self._attacher, self._sweeper, self.lacking) if cni_socket else None
        self._lock_file = cni_socket.with_suffix(".lock") if cni_socket else None
        self._lock: TextIOWrapper | None = None
        self._state = NodeStateWriter(world)
        self._metrics = NodeMetrics(world, self._limits)
        self._address = telemetry
        self._telemetry: Server | None = None
        self._generation = ""
        self._count = 0

    def start(self, stop: threading.Event) -> None:
        """Watch, serve, sweep; until ``stop``. Raises OSError if another controller of the node runs, or an address cannot be listened at."""
        if self._lock_file is not None:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock_file.open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OSError(
                    f"{self._lock_file} is held: another controller of this node runs; it has to end first"
                ) from None
        self._world.start(stop)
        if self._address:
            self._telemetry = serve(self._address, lambda: "", self.lacking, self._metrics.registry)
        if self._cni is not None:
            self._cni.start()
            threading.Thread(target=self._sweep, args=(stop,), daemon=True).start()
        threading.Thread(target=self._report, args=(stop,), daemon=True).start()

    def close(self) -> None:
        """Stop serving; what is attached stays."""
        if self._cni is not None:
            self._cni.close()
        if self._telemetry is not None:
            self._telemetry.close()
        self._links.close()

    def lacking(self) -> str:
        """Why the node cannot take pods now, in words; "" when it can."""
        if not self._world.is_synced:
            troubles = "; ".join(self._world.troubles)
            kinds = ", ".join(self._world.missing)
            return f"not listed from the API server yet: {kinds}" + (f" ({troubles})" if troubles else "")
        worker = self._served.worker_of(self._world.node)
        if worker is None or worker[1].state is None:
            return "the database of Open vSwitch was not read yet"
        if worker[0].bridge is None:
            return "the bridge is not connected"
        return "" if worker[0].programmed is not None else "the bridge is not programmed yet"

    def _limits(self) -> LimitWatch:
        worker = self._served.worker_of(self._world.node)
        return worker[0].limited if worker else LimitWatch()

    def note(self, world: World | None) -> None:
        """Called whenever the node's loop has done something."""
        worker = self._served.worker_of(self._world.node)
        if world is None or worker is None:
            return
        done = worker[0].programmed
        if done is None or done.generation != world.generation or done.generation == self._generation:
            return
        self._count += 1
        milliseconds = round(1000 * (time.monotonic() - world.since))
        report = Report(
            self._count, milliseconds, dict(world.digests), done.flows, done.groups, len(done.ports)
        )
        self._metrics.note(report)
        self._state.note(report)
        self._generation = done.generation

    def _sweep(self, stop: threading.Event) -> None:
        while not stop.wait(_SOON):
            if not self.lacking():
                break
        retry = Backoff(_SOON, SWEEP_INTERVAL)
        while not stop.is_set():
            is_done = self._is_swept()
            if is_done:
                retry.succeeded()
            stop.wait(SWEEP_INTERVAL if is_done else retry.failed())

    def _is_swept(self) -> bool:
        """False: something is left that is to be tried again soon."""
        assert self._cni is not None  # noqa: S101 - started with it
        is_done = self._cni.consume_spool()
        try:
            self._sweeper.sweep()
        except NodeError as error:
            log.warning("nothing is swept: %s; it is tried again", error)
        except Exception:
            log.exception("the sweep failed; it is tried again")
        else:
            return is_done
        return False

    def _problems(self) -> tuple[str, ...]:
        worker = self._served.worker_of(self._world.node)
        return (*(worker[0].settings.problems if worker else ()), *self._world.troubles)

    def _report(self, stop: threading.Event) -> None:
        while not stop.wait(STATE_INTERVAL):
            try:
                self._state.write(ready=not self.lacking(), problems=self._problems())
            except Exception:
                log.exception("the NodeState could not be written; it is tried again")


class _NodeSwitch:
    """The node's bridge as attaching sees it; there may be none yet."""

    def __init__(self, world: ApiWorld, served: Served) -> None:
        self._node = world.node
        self._served = served

    def put_pod(self, port: PodPort) -> threading.Event:
        worker = self._served.worker_of(self._node)
        return worker[1].put_pod(port) if worker else threading.Event()

    def remove_pod(self, interface: str) -> threading.Event:
        worker = self._served.worker_of(self._node)
        return worker[1].remove_pod(interface) if worker else threading.Event()

    def interfaces(self) -> tuple[PodInterface, ...] | None:
        worker = self._served.worker_of(self._node)
        return tuple(worker[1].state.interfaces.values()) if worker and worker[1].state else None

    def is_programmed(self, endpoint: str, uid: str, interface: str) -> bool:
        """A barrier confirmed flows for this very pod on the port that the interface has now."""
        worker = self._served.worker_of(self._node)
        if worker is None or worker[0].programmed is None or worker[1].state is None:
            return False
        done, state = worker[0].programmed, worker[1].state
        its = state.interfaces.get(interface)
        return (
            its is not None
            and its.ofport is not None
            and done.ports.get(endpoint) == its.ofport
            and done.uids.get(endpoint) == uid
            and state.uids.get(endpoint) == uid
        )
