"""A small process with a SwitchApp, told what to do by a test: ``holder.py OPENFLOW_SOCKET CONTROL_SOCKET``."""

import lace_sdn.switch.patched  # noqa: F401, I001 (must come first)

import logging
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import eventlet
import framing

from lace_sdn.openflow.wire import flushing
from lace_sdn.switch import bridge as bridge_module
from lace_sdn.switch import library
from lace_sdn.switch.bridge import Bridge
from lace_sdn.switch.contract import BundleRefused, SwitchLost
from lace_sdn.switch.datapath import Datapath
from lace_sdn.switch.openflow_app import SwitchApp
from lace_sdn.switch.ovsdb import OvsdbNode, OvsdbSettings
from lace_sdn.switch.pod_ports import PodPort
from lace_sdn.switch.rejection import rejection, too_large

_LOG = logging.getLogger("holder")

GAP_STEP_S = 0.005


class Holder:
    """Every public method is a request that a test can make."""

    def __init__(self, openflow: Path) -> None:
        self._openflow = openflow
        self._events: list[tuple[str, int]] = []
        self._gap = 0.0
        self._written = 0
        self._nodes: dict[str, OvsdbNode] = {}
        self._ports: dict[str, list[dict[str, int]]] = {}
        self._count_writes()
        self._app = SwitchApp(self._up, self._down)
        self._app.listen(openflow)
        self._tcp = self._app.listen(("127.0.0.1", 0))
        eventlet.spawn(self._watch_gap)

    def library(self) -> str:
        return library.NAME

    def probe_every(self, seconds: float) -> None:
        """From the next connection on."""
        library.CONF.set_override("echo_request_interval", seconds)

    def tcp_port(self) -> int:
        return self._tcp.port

    def events(self) -> list[tuple[str, int]]:
        """``up`` and ``down`` with the datapath id, in order."""
        return self._events

    def call(self, path: str) -> None:
        """Speak to a bridge that listens there, until ``hang_up``."""
        self._call = self._app.call(Path(path))

    def hang_up(self) -> None:
        self._call.close()

    def bridges(self) -> list[int]:
        return sorted(self._app.bridges)

    def dump(self, datapath_id: int) -> Any:
        return self._bridge(datapath_id).dump()

    def commit(self, datapath_id: int, delta: Any) -> None:
        self._bridge(datapath_id).commit(delta)

    def commit_timed(self, datapath_id: int, delta: Any) -> tuple[float, float]:
        """Seconds that the commit took, and the longest time that the other greenthreads had to wait meanwhile."""
        start = self._begin_timing()
        self.commit(datapath_id, delta)
        took = time.monotonic() - start
        eventlet.sleep(0.05)
        return took, self._gap

    def dump_timed(self, datapath_id: int) -> tuple[Any, float, float]:
        """The dump, seconds that it took, and the longest wait of the other greenthreads."""
        start = self._begin_timing()
        installed = self.dump(datapath_id)
        took = time.monotonic() - start
        eventlet.sleep(0.05)
        return installed, took, self._gap

    def metered(self, datapath_id: int) -> Any:
        return self._bridge(datapath_id).metered()

    def flush_zone(self, datapath_id: int, zone: int) -> None:
        self._bridge(datapath_id).flush_zone(zone)

    def flush_connections(self, datapath_id: int, which: Any) -> None:
        self._bridge(datapath_id).flush_connections(which)

    def know_flushes(self, known: bool) -> None:
        """Whether flushes are messages that a switch knows; others are as they would be to one that is too old."""
        bridge_module.wire.ct_flush = flushing.ct_flush if known else _unknown_flush

    def rejections(self, frames: tuple[bytes, ...]) -> list[bytes | None]:
        """The answer to each frame."""
        return [rejection(frame) for frame in frames]

    def complaints(self, frames: tuple[bytes, ...], mtu: int) -> list[bytes | None]:
        """What is said to each frame when no packet may be larger than ``mtu``."""
        return [too_large(frame, mtu) for frame in frames]

    def unanswered(self, datapath_id: int) -> int:
        return self._bridge(datapath_id).unanswered

    def written(self) -> int:
        """Bytes that were written to bridges by dumps, commits and flushes."""
        return self._written

    def memory(self) -> int:
        """The most that the process ever held, in KiB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def serve_node(self, node: str, remote: str, tables: dict[int, str]) -> None:
        """Set the node's bridge up and follow its ports."""
        settings = OvsdbSettings(f"unix:{self._openflow}", "dummy", tables)
        history = self._ports.setdefault(node, [])
        self._nodes[node] = OvsdbNode(remote, node, settings, lambda found: history.append(dict(found.ports)))
        self._nodes[node].start()

    def put_pod(self, node: str, interface: str, endpoint: str) -> None:
        """Ask for a port; nobody waits for it."""
        self._nodes[node].put_pod(
            PodPort(interface, endpoint, "uid", "container", "/run/netns/x", "02:00:00:00:00:01")
        )

    def remove_pod(self, node: str, interface: str) -> bool:
        """Whether it is gone, soon."""
        return self._nodes[node].remove_pod(interface).wait(10.0)

    def leave_node(self, node: str) -> None:
        self._nodes.pop(node).stop()

    def ports(self, node: str) -> list[dict[str, int]]:
        """Every report of the node's ports, in order."""
        return self._ports[node]

    def problems(self, node: str) -> tuple[str, ...]:
        return self._nodes[node].problems

    def is_database_connected(self, node: str) -> bool:
        return self._nodes[node].is_connected

    def keep_settings(self, remote: str, kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What was changed, and what could not be."""
        kept = Datapath(remote, kind).keep()
        return kept.changed, kept.problems

    def keep_limits(self, remote: str, kind: str, limits: dict[int, int]) -> Any:
        """What was changed, what could not be, and how many entries the zones have."""
        kept = Datapath(remote, kind).keep(limits)
        return kept.changed, kept.problems, dict(kept.connections)

    def _begin_timing(self) -> float:
        """Reading a large request has held up everybody: that is not what is measured."""
        eventlet.sleep(0.05)
        self._gap = 0.0
        return time.monotonic()

    def _bridge(self, datapath_id: int) -> Bridge:
        bridge = self._app.bridges.get(datapath_id)
        if bridge is None:
            raise SwitchLost(f"no bridge {datapath_id:016x}")
        return bridge

    def _up(self, bridge: Bridge) -> None:
        self._events.append(("up", bridge.datapath_id))

    def _down(self, bridge: Bridge) -> None:
        self._events.append(("down", bridge.datapath_id))

    def _count_writes(self) -> None:
        write = Bridge._write

        def counted(bridge: Bridge, data: bytearray) -> None:
            self._written += len(data)
            write(bridge, data)

        Bridge._write = counted  # type: ignore[method-assign]

    def _watch_gap(self) -> None:
        """How late a greenthread that wants to run every 5 ms does so at worst."""
        before = time.monotonic()
        while True:
            eventlet.sleep(GAP_STEP_S)
            now = time.monotonic()
            self._gap = max(self._gap, now - before - GAP_STEP_S)
            before = now


def _unknown_flush(which: Any, xid: int) -> bytes:
    message = flushing.ct_flush(which, xid)
    return message[:12] + (0x7FFFFFFF).to_bytes(4, "big") + message[16:]


def serve(holder: Holder, stream: socket.socket) -> None:
    """One request after the other; an answer is ``(kind, value)``."""
    while True:
        name, arguments = framing.receive(stream)
        try:
            answer = ("value", getattr(holder, name)(*arguments))
        except BundleRefused as error:
            answer = ("refused", (error.bridge, error.refusals))
        except SwitchLost as error:
            answer = ("lost", str(error))
        except Exception as error:  # noqa: BLE001 (told to the test)
            _LOG.exception("request failed")
            answer = ("failed", repr(error))
        framing.send(stream, answer)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    holder = Holder(Path(sys.argv[1]))
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(sys.argv[2])
    try:
        serve(holder, stream)
    except EOFError:
        sys.exit()


main()
