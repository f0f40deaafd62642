"""Where the things of a lab lie and what they are called. Only text: nothing here touches the machine."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lace_sdn.lab import LabError

RUN_ROOT = Path("/run/lace-sdn")
_LAB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LAB_NAME_MAX = 24
_SOCKET_PATH_MAX = 107
"""unix(7): sun_path holds 108 bytes with the final zero."""
_LONGEST_SOCKET = "ovs-vswitchd.4194304.ctl"
_FILE_NAME_MAX = 200
"""Below NAME_MAX (255) with room for prefixes and suffixes."""


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab by name; ``name`` is lower case letters, digits and inner dashes, so that a dot ends it unambiguously.

    Raises LabError for any other name.
    """

    name: str

    def __post_init__(self) -> None:
        if not _LAB_NAME.fullmatch(self.name) or len(self.name) > _LAB_NAME_MAX:
            raise LabError(
                f'lab name "{self.name}": expected at most {_LAB_NAME_MAX} lower case letters, digits and inner dashes'
            )

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def manifests(self) -> Path:
        """A symbolic link to the live generation, so that one rename replaces all objects at once."""
        return self.run / "manifests"

    @property
    def ledger(self) -> Path:
        return self.run / "state.json"

    @property
    def datapath(self) -> Path:
        """What its switches forward by."""
        return self.run / "datapath"

    @property
    def kubeconfig(self) -> Path:
        """Of the API server that has the lab's objects; there is none where a folder has them."""
        return self.run / "kubeconfig"

    @property
    def is_on_kubernetes(self) -> bool:
        return self.kubeconfig.exists()

    @property
    def openflow(self) -> Path:
        return self.run / "openflow.sock"

    @property
    def status(self) -> Path:
        return self.run / "status.json"

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"

    @property
    def nodes(self) -> Path:
        return self.run / "nodes"

    @property
    def pods(self) -> Path:
        return self.run / "pods"

    @property
    def hosts(self) -> Path:
        return self.run / "hosts"

    @property
    def namespace_prefix(self) -> str:
        """What every network namespace of this lab starts with, and none of another."""
        return f"lace.{self.name}."

    @property
    def underlay_namespace(self) -> str:
        return f"{self.namespace_prefix}underlay"

    def node(self, node: str) -> Path:
        """The run directory of a node's Open vSwitch. Raises LabError if its sockets' paths would be too long."""
        path = self.nodes / node
        room = _SOCKET_PATH_MAX - len(str(path / _LONGEST_SOCKET))
        if room < 0:
            raise LabError(
                f'node "{node}" in lab "{self.name}": its unix sockets would have paths longer than {_SOCKET_PATH_MAX} bytes;'
                f" make the node's or the lab's name {-room} shorter"
            )
        return path

    def node_namespace(self, node: str) -> str:
        return f"{self.namespace_prefix}node.{_as_file_name(node)}"

    def pod(self, pod: str) -> Path:
        """The record of a pod (``namespace/name``) that is attached."""
        return self.pods / f"{_as_file_name(pod)}.json"

    def pod_namespace(self, pod: str) -> str:
        return f"{self.namespace_prefix}pod.{_as_file_name(pod)}"

    @property
    def host_namespace_prefix(self) -> str:
        return f"{self.namespace_prefix}host."

    def host_namespace(self, host: str) -> str:
        """The namespace of a host outside the cluster."""
        return f"{self.host_namespace_prefix}{_as_file_name(host)}"

    def host_mark(self, namespace: str) -> Path:
        """The mark of what runs inside a host, by the name of its namespace: a leftover has no other."""
        return self.hosts / namespace.removeprefix(self.host_namespace_prefix)


def pod_interface(pod: str) -> str:
    """The name of a pod's interface in its node: at most 15 characters (IFNAMSIZ), the same at every time."""
    return f"p-{_digest(pod, 12)}"


def node_interface(node: str) -> str:
    """The name of a node's port on the underlay's bridge."""
    return f"n-{_digest(node, 12)}"


def host_interface(host: str) -> str:
    """The name of a host's port on the underlay's bridge."""
    return f"h-{_digest(host, 12)}"


def wire_mac(kind: str, name: str) -> str:
    """The MAC of a node or host on the underlay: the same at every time, so that neighbours need not learn it anew."""
    digits = _digest(f"{kind} {name}", 10)
    return ":".join(
        ["02", *(digits[at : at + 2] for at in range(0, 10, 2))]
    )  # IEEE 802: locally administered


def _as_file_name(name: str) -> str:
    """``namespace/name`` as ``namespace.name``, which is unambiguous: a Kubernetes namespace's name has no dot."""
    plain = name.replace("/", ".")
    return plain if len(plain) <= _FILE_NAME_MAX else f"{plain[: _FILE_NAME_MAX - 13]}.{_digest(name, 12)}"


def _digest(text: str, digits: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()[:digits]
