"""The netlink part of a controller as a process of its own: ``python -m lace_sdn.node.worker FD``.

pyroute2 runs on asyncio, which eventlet's patches break. Requests and answers are JSON, a line each, over the socket that is inherited as FD;
several may be under way, and are told apart by ``id``.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from lace_sdn.node import NodeError
from lace_sdn.node.attachment import Link, faults, is_there, links, plug, unplug
from lace_sdn.node.pod_link import PodLink

AT_ONCE: Final = 2


def carry_out(request: dict[str, Any]) -> Any:
    """The answer. Raises NodeError."""
    match request["do"]:
        case "plug":
            return plug(_link(request["link"]))
        case "faults":
            return faults(_link(request["link"]))
        case "unplug":
            return unplug(request["peer"])
        case "links":
            return links()
        case "namespaces":
            return [path for path in request["paths"] if is_there(path)]
    raise NodeError(f"{request['do']!r} is nothing that can be done")


def _link(data: dict[str, Any]) -> Link:
    inside = data["inside"]
    return Link(
        data["namespace"], data["peer"], PodLink(**{**inside, "addresses": tuple(inside["addresses"])})
    )


def serve(connection: socket.socket) -> None:
    """Until the other side closes."""
    lock = threading.Lock()

    def answer(line: bytes) -> None:
        request = json.loads(line)
        try:
            said: dict[str, Any] = {"result": carry_out(request)}
        except NodeError as error:
            said = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - an answer must come
            said = {"error": f"{type(error).__name__}: {error}"}
        with lock:
            connection.sendall(json.dumps({"id": request["id"], **said}).encode() + b"\n")

    with ThreadPoolExecutor(AT_ONCE) as workers, connection.makefile("rb") as requests:
        for line in requests:
            workers.submit(answer, line)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        inherited.setblocking(True)  # noqa: FBT003 - a parent with eventlet hands over one that is not
        serve(inherited)
