"""A pod's sandbox as a container runtime makes it: a network namespace, and the CNI plugin executed for it (CNI specification 1.1, section 3)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lace_sdn.cni
from lace_sdn.lab import LabError, links, netns, processes
from lace_sdn.lab.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.lab.names import Lab

CNI_VERSION = "1.1.0"
_PATIENCE = 60.0
"""Seconds for one call of the plugin; it has bounds of its own."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``pod`` is ``namespace/name``; ``container``: the ID that the plugin is given, another at every attempt."""

    pod: str
    uid: str
    node: str
    container: str

    @staticmethod
    def of(pod: str, uid: str, node: str) -> Sandbox:
        return Sandbox(pod, uid, node, secrets.token_hex(32))


def socket_of(lab: Lab, node: str) -> Path:
    """Where the node's controller listens for the plugin."""
    return lab.node(node) / "cni.sock"


def known(lab: Lab) -> Iterator[Sandbox]:
    """All that were begun and not ended, also by a process that was killed."""
    for path in sorted(_folder(lab).glob("*.json")):
        yield Sandbox(**json.loads(path.read_text()))


def make(lab: Lab, sandbox: Sandbox) -> dict[str, Any]:
    """Create it and attach it; the plugin's result. Raises LabError; ``end`` then removes what is there."""
    write_whole(_record(lab, sandbox), json.dumps(asdict(sandbox)))
    netns.ensure(lab.pod_namespace(sandbox.pod))
    result: dict[str, Any] = json.loads(execute(lab, sandbox, "ADD"))
    return result


def end(lab: Lab, sandbox: Sandbox) -> None:
    """Detach and remove it. Raises LabError if the plugin fails; the next call goes on."""
    namespace = lab.pod_namespace(sandbox.pod)
    if netns.exists(namespace):
        processes.stop(lab.pod(sandbox.pod), grace=1.0)
    if lab.node(sandbox.node).exists():
        execute(lab, sandbox, "DEL")
    netns.remove(namespace)
    lab.pod(sandbox.pod).unlink(missing_ok=True)
    _record(lab, sandbox).unlink(missing_ok=True)


def execute(lab: Lab, sandbox: Sandbox, command: str, more: Mapping[str, Any] | None = None) -> str:
    """What the plugin prints. ``more``: of the network configuration, such as ``prevResult``. Raises LabError with the plugin's words."""
    namespace, _, name = sandbox.pod.partition("/")
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": sandbox.container,
        "CNI_NETNS": str(netns.FOLDER / lab.pod_namespace(sandbox.pod)),
        "CNI_IFNAME": links.POD_DEVICE,
        "CNI_PATH": str(Path(lace_sdn.cni.__file__).parent),
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};"
        f"K8S_POD_INFRA_CONTAINER_ID={sandbox.container};K8S_POD_UID={sandbox.uid}",
        lace_sdn.cni.SOCKET_VARIABLE: str(socket_of(lab, sandbox.node)),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    config = {
        "cniVersion": CNI_VERSION,
        "name": "lace-sdn",
        "type": "lace-sdn-cni",
        **(more or {}),
    }
    plugin = [sys.executable, "-I", "-S", lace_sdn.cni.__file__]
    done = subprocess.run(
        netns.command(lab.node_namespace(sandbox.node), *plugin),
        input=json.dumps(config),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise LabError(f'pod "{sandbox.pod}": CNI {command}: {_said(done.stdout) or done.stderr.strip()}')
    return done.stdout


def _said(text: str) -> str:
    """A CNI error in words."""
    try:
        error = json.loads(text)
    except ValueError:
        return text.strip()
    return f"{error.get('msg', '')} {error.get('details', '')} (code {error.get('code')})".strip()


def _folder(lab: Lab) -> Path:
    return lab.run / "sandboxes"


def _record(lab: Lab, sandbox: Sandbox) -> Path:
    return _folder(lab) / f"{sandbox.uid}.json"
