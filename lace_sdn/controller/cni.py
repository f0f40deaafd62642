"""The controller's side of the CNI plugin: a unix socket, one request a connection, one answer (``lace_sdn.cni`` is the other side).

Source: CNI specification 1.1.0.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.controller.attaching import AttachError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lace_sdn.controller.attacher import Attacher
    from lace_sdn.controller.attaching import Attached
    from lace_sdn.controller.sweeper import Sweeper

log = logging.getLogger(__name__)

Data = dict[str, Any]

BAD_ENVIRONMENT: Final = 4
TRY_AGAIN: Final = 11
NOT_AVAILABLE: Final = 50
CHECK_FAILED: Final = 100
"""Ours: from 100 on codes are the plugin's own."""
SPOOL: Final = "cni-deleted"
_LONGEST: Final = 1 << 20
_PATIENCE: Final = 10.0


class CniServer:
    """Serves ``path`` until ``close``; ``lacking`` says why the node is not ready, "" when it is."""

    def __init__(self, path: Path, attacher: Attacher, sweeper: Sweeper, lacking: Callable[[], str]) -> None:
        self._path = path
        self._attacher = attacher
        self._sweeper = sweeper
        self._lacking = lacking
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen. Raises OSError. Whoever sees the socket can connect: it appears under its name when it listens."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(128)
        draft.replace(self._path)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Stop; the plugin then says that there is no controller."""
        if self._listener is not None:
            self._path.unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    def consume_spool(self) -> None:
        """Carry out what was deleted while nobody listened. Files that cannot be read are left out and removed."""
        folder = self._path.parent / SPOOL
        for file in sorted(folder.glob("[!.]*")) if folder.exists() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._attacher.delete(_sandbox(json.loads(file.read_text())["env"]))
            file.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)
            with connection.makefile("rb") as lines:
                line = lines.readline(_LONGEST)
            answer = self.answer(line)
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def answer(self, line: bytes) -> Data:
        """One request. Never raises."""
        try:
            request = json.loads(line)
            return {"result": self._carry_out(request["command"], request["env"], request["config"])}
        except AttachError as error:
            log.warning("CNI: %s", error)
            return {"error": {"code": error.code, "msg": error.message, "details": error.details}}
        except (ValueError, KeyError, TypeError) as error:
            return {
                "error": {
                    "code": BAD_ENVIRONMENT,
                    "msg": "the request cannot be understood",
                    "details": repr(error),
                }
            }
        except Exception as error:
            log.exception("CNI: a request failed")
            return {"error": {"code": TRY_AGAIN, "msg": "the controller failed", "details": repr(error)}}

    def _carry_out(self, command: str, environment: Data, config: Data) -> Data | None:
        match command:
            case "ADD":
                sandbox = _sandbox(environment)
                if not sandbox.pod_name:
                    raise AttachError(
                        "CNI_ARGS names no pod",
                        "expected K8S_POD_NAMESPACE and K8S_POD_NAME",
                        BAD_ENVIRONMENT,
                    )
                return _result(sandbox, self._attacher.add(sandbox), config)
            case "DEL":
                self._attacher.delete(_sandbox(environment))
            case "CHECK":
                problems = self._attacher.check(_sandbox(environment))
                if problems:
                    raise AttachError(
                        "the pod's network is not as it was made", "; ".join(problems), CHECK_FAILED
                    )
            case "GC":
                valid = config.get("cni.dev/valid-attachments")
                if isinstance(valid, list):
                    self._sweeper.sweep({str(each["containerID"]) for each in valid})
            case "STATUS":
                if lacking := self._lacking():
                    raise AttachError("the node is not ready", lacking, NOT_AVAILABLE)
        return None


def _sandbox(environment: Data) -> Sandbox:
    arguments = dict(_pairs(environment.get("CNI_ARGS", "")))
    return Sandbox(
        arguments.get("K8S_POD_NAMESPACE", ""),
        arguments.get("K8S_POD_NAME", ""),
        arguments.get("K8S_POD_UID", ""),
        environment["CNI_CONTAINERID"],
        environment.get("CNI_NETNS", ""),
        environment["CNI_IFNAME"],
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        key, separator, value = part.partition("=")
        if separator:
            yield key, value


def _result(sandbox: Sandbox, its: Attached, config: Data) -> Data:
    """A success result of CNI 1.0 and later."""
    families = sorted({address.version for address in its.addresses})
    everywhere = {4: "0.0.0.0/0", 6: "::/0"}
    return {
        "cniVersion": config.get("cniVersion", "1.1.0"),
        "interfaces": [
            {"name": its.interface, "mtu": its.mtu},
            {"name": sandbox.device, "mac": its.mac, "mtu": its.mtu, "sandbox": sandbox.namespace},
        ],
        "ips": [
            {
                "address": f"{address}/{address.max_prefixlen}",
                "gateway": str(its.gateways[address.version]),
                "interface": 1,
            }
            for address in its.addresses
        ],
        "routes": [{"dst": everywhere[family], "gw": str(its.gateways[family])} for family in families],
        "dns": config.get("dns") or {},
    }
