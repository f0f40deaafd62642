"""A controller in memory with its socket, and the CNI plugin beside it, executed as a runtime does."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from attaching_site import NAMESPACE, Controller, Outside, Runtime

import lace_sdn.cni
from lace_sdn.controller.cni import CniServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lace_sdn.controller.attaching import Sandbox

CONFIG = {"cniVersion": "1.1.0", "name": "lace-sdn", "type": "lace-sdn-cni"}


class Node:
    """A controller in memory, and the plugin beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cni.sock"
        self.outside = Outside()
        self.runtime = Runtime.of(self.outside)
        self.lacking = ""
        self.server = self._server()

    def _server(self) -> CniServer:
        its = self.runtime.controller = Controller(self.outside)
        return CniServer(self.path, its.attacher, its.sweeper, lambda: self.lacking)

    def restart(self) -> None:
        self.server.close()
        self.server = self._server()
        self.server.start()
        self.server.consume_spool()

    def pod(self, name: str = "a") -> Sandbox:
        return self.runtime.sandbox(name, self.outside.create_pod(name))

    def ask(
        self, command: str, sandbox: Sandbox | None = None, *flags: str, config: Any = CONFIG
    ) -> tuple[int, Any, str]:
        """Exit status, what it printed, and standard error."""
        environment = {"CNI_COMMAND": command, lace_sdn.cni.SOCKET_VARIABLE: str(self.path)}
        if sandbox:
            names = f"K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={sandbox.pod_name};K8S_POD_UID={sandbox.uid}"
            environment |= {
                "CNI_CONTAINERID": sandbox.container,
                "CNI_NETNS": sandbox.namespace,
                "CNI_IFNAME": sandbox.device,
                "CNI_ARGS": f"IgnoreUnknown=1;{names}",
            }
        done = subprocess.run(
            [sys.executable, "-I", "-S", *flags, lace_sdn.cni.__file__],
            input=config if isinstance(config, str) else json.dumps(config),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


@contextlib.contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Somebody at the socket who says this to the first who asks."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1 << 16):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5)
