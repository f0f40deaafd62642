"""The Open vSwitch of each node: an ovsdb-server and an ovs-vswitchd of its own, and its way to the underlay.

br-int is not made here: it is the controller's, who finds the node's database in the node's run directory.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lace_sdn.lab import LabError, datapath, links, netns, processes
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.datapath import NODE_UPLINK, UNDERLAY_BRIDGE
from lace_sdn.lab.names import node_interface, pod_interface
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lace_sdn.lab.datapath import Datapath
    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.underlay import Wire

INTEGRATION_BRIDGE = "br-int"
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_PROGRAMS = (
    "ovsdb-tool",
    "ovsdb-server",
    "ovs-vswitchd",
    "ovs-vsctl",
    "ovs-ofctl",
    "ovs-appctl",
    "nft",
    "nsenter",
    "setsid",
)
_PORTS_A_CALL = 200
"""Keeps command lines far below the kernel's limit of 128 KiB an argument and 2 MiB in all."""


@dataclass(frozen=True, slots=True)
class Switch:
    """The switch of one node of a lab."""

    lab: Lab
    node: str

    @property
    def folder(self) -> Path:
        return self.lab.node(self.node)

    @property
    def namespace(self) -> str:
        return self.lab.node_namespace(self.node)

    @property
    def database(self) -> Path:
        return self.folder / "db.sock"

    @property
    def datapath(self) -> Datapath:
        return datapath.of(self.lab)

    def environment(self) -> dict[str, str]:
        """What points the programs of Open vSwitch at this switch."""
        names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        return {name: str(self.folder) for name in names}

    def is_running(self) -> bool:
        """Whether both daemons are alive, in the namespace that has the node's name now."""
        found = processes.find(self.folder)
        daemons = {str(self.folder / daemon) for daemon in ("ovsdb-server", "ovs-vswitchd")}
        return daemons <= set(found.values()) and all(
            netns.holds(self.namespace, pid) for pid, mark in found.items() if mark in daemons
        )

    def vsctl(self, *arguments: str, timeout: int = 60) -> str:
        """Raises LabError, also when the switch does not answer within ``timeout`` seconds."""
        return processes.run(["ovs-vsctl", f"--db=unix:{self.database}", f"--timeout={timeout}", *arguments])


def check_programs() -> None:
    """Raises LabError naming every program that a lab needs and that is not installed."""
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing or not _SCHEMA.exists():
        raise LabError(f"not installed: {', '.join(missing) or _SCHEMA}; {processes.INSTALL}")


def ensure(switch: Switch, wire: Wire) -> None:
    """Bring a node up, or complete one: namespace, uplink, daemons, the node's place on the underlay."""
    post, its = wire.nodes[switch.node], switch.datapath
    with concerning(f'node "{switch.node}"'):
        netns.ensure(switch.namespace)
        links.quiet(switch.namespace, (its.underlay_device, GATEWAY_INTERFACE))
        switch.folder.mkdir(parents=True, exist_ok=True)
        mac = None if its.is_userspace else post.mac
        port = node_interface(switch.node)
        links.ensure_uplink(switch.namespace, switch.lab.underlay_namespace, port, NODE_UPLINK, mac)
        if not switch.is_running():
            processes.stop(switch.folder)
            _start_daemons(switch)
        if its.is_userspace:
            _ensure_underlay_bridge(switch, post.mac)
        links.configure_node(switch.namespace, its.underlay_device, post, wire.macs, GATEWAY_INTERFACE)


def remove(switch: Switch) -> None:
    """End a node with all that is in it, whatever state it is in."""
    processes.stop(switch.folder)
    netns.remove(switch.namespace)
    if netns.exists(switch.lab.underlay_namespace):
        links.unplug(switch.lab.underlay_namespace, node_interface(switch.node))
    shutil.rmtree(switch.folder, ignore_errors=True)


def has_integration_bridge(switch: Switch) -> bool:
    """Whether the controller has made br-int, in the lab's datapath."""
    wanted = f"datapath_type={switch.datapath.value}"
    found = switch.vsctl("--bare", "--columns=name", "find", "Bridge", wanted)
    return INTEGRATION_BRIDGE in found.split()


def add_pods(switch: Switch, pods: Sequence[tuple[str, str]]) -> None:
    """Make the pods' interfaces ports of br-int; each pod as (``namespace/name``, MAC)."""
    for start in range(0, len(pods), _PORTS_A_CALL):
        words: list[str] = []
        for pod, mac in pods[start : start + _PORTS_A_CALL]:
            words += ["--", "--may-exist", "add-port", INTEGRATION_BRIDGE, pod_interface(pod)]
            words += ["--", "set", "Interface", pod_interface(pod)]
            words += [f'external_ids:iface-id="{pod}"', f'external_ids:attached-mac="{mac}"']
        switch.vsctl(*words[1:])


def remove_pods(switch: Switch, pods: Iterable[str]) -> None:
    """Take the pods' interfaces from br-int; a switch that is not running has lost them already."""
    names = [pod_interface(pod) for pod in pods]
    if not switch.is_running():
        return
    for start in range(0, len(names), _PORTS_A_CALL):
        words: list[str] = []
        for name in names[start : start + _PORTS_A_CALL]:
            words += ["--", "--if-exists", "del-port", name]
        switch.vsctl(*words[1:])


def plugged(switch: Switch) -> set[str]:
    """The pods that the database has interfaces of; none if the switch is not running."""
    if not switch.is_running():
        return set()
    table = json.loads(switch.vsctl("--format=json", "--columns=external_ids", "list", "Interface"))
    identities = [
        dict(row[0][1]) for row in table["data"]
    ]  # RFC 7047 section 5.1: ["map", [[key, value], ...]]
    return {its["iface-id"] for its in identities if "iface-id" in its}


def await_revalidation(switch: Switch) -> None:
    """Wait until no packet is forwarded any more by what older flows had said.

    Two rounds: the first to end may have begun before the flows changed.
    """
    for _ in range(2):
        processes.run(
            ["ovs-appctl", "-t", "ovs-vswitchd", "revalidator/wait"],
            env={**os.environ, **switch.environment()},
        )


def _start_daemons(switch: Switch) -> None:
    folder = switch.folder
    database = folder / "conf.db"
    if not database.exists():
        _create_database(database)
    serve = f"--remote=punix:{switch.database}"
    try:
        _daemon(switch, "ovsdb-server", serve, str(database))
    except LabError:
        # Everything in it is derived, so a damaged one is made anew.
        _create_database(database)
        _daemon(switch, "ovsdb-server", serve, str(database))
    switch.vsctl(
        "--no-wait", "init", "--",
        "set", "Open_vSwitch", ".", f"external_ids:hostname={switch.node}",
        "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1",
    )  # fmt: skip
    _daemon(switch, "ovs-vswitchd", *switch.datapath.daemon_options, f"unix:{switch.database}")


def _create_database(database: Path) -> None:
    """A killed command may leave half a file: the finished one appears by one rename."""
    draft = database.with_name("conf.db.new")
    draft.unlink(missing_ok=True)
    processes.run(["ovsdb-tool", "create", str(draft), str(_SCHEMA)])
    draft.replace(database)


def _daemon(switch: Switch, program: str, *arguments: str) -> None:
    """``--detach`` returns when the daemon is ready, or fails."""
    options = ["--detach", "--no-chdir", "--pidfile", "--log-file", "-vconsole:emer", "-vsyslog:emer"]
    environment = {**processes.marked(switch.folder / program), **switch.environment()}
    processes.run(netns.command(switch.namespace, program, *options, *arguments), env=environment, cwd="/")


def _ensure_underlay_bridge(switch: Switch, mac: str) -> None:
    switch.vsctl(
        "--may-exist", "add-br", UNDERLAY_BRIDGE, "--",
        "set", "Bridge", UNDERLAY_BRIDGE, "datapath_type=netdev", "fail_mode=standalone",
        f'other_config:hwaddr="{mac}"', "--",
        "--may-exist", "add-port", UNDERLAY_BRIDGE, NODE_UPLINK, "--",
        "set", "Interface", UNDERLAY_BRIDGE, f"mtu_request={links.UNDERLAY_MTU}",
    )  # fmt: skip
