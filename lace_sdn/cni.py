#!/usr/bin/python3 -IS
"""``lace-sdn-cni``: the CNI plugin (CNI specification 1.1). It hands what it was asked to the node's controller, and prints the answer.

One file without imports of others: it is copied to the host, and started for every pod. Needs Python 3.9 or later there. Most of its time is
imports: ``socket`` would double it, so its C half is used; ``json`` is loaded only where the controller does not answer.
"""

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False
"""In place of the one in ``typing``, whose import takes longer than the rest."""
if TYPE_CHECKING:
    from typing import Any

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
SOCKET = "/run/lace-sdn/cni.sock"
SOCKET_VARIABLE = "LACE_SDN_CNI_SOCKET"
"""Of the environment, where several nodes share a file system: another socket."""
SPOOL = "cni-deleted"
"""Beside the socket: a file for every pod that was deleted while no controller was there."""
PATIENCE = 90.0
"""Seconds for an answer; the controller has shorter bounds of its own."""

TRY_AGAIN, NOT_AVAILABLE = 11, 50
"""Codes of errors (CNI specification, "Error")."""


def main() -> int:
    """Ask, print the answer; the exit status."""
    command = os.environ.get("CNI_COMMAND", "")
    config = sys.stdin.buffer.read()
    if command == "VERSION":
        _print({"cniVersion": _version(config), "supportedVersions": list(VERSIONS)})
        return 0
    path = os.environ.get(SOCKET_VARIABLE) or SOCKET
    request = request_of(os.environb, config)
    try:
        answer = _exchange(path, request)
    except OSError as error:
        return _without_controller(command, path, request, f"{path}: {error}", _version(config))
    sys.stdout.write(answer[1:].lstrip("\n"))
    return int(answer[0])


def request_of(environment: Any, config: bytes) -> bytes:
    """``CNI_...=value`` of each variable, each ended by NUL, then NUL and the network configuration as it came."""
    pairs = [key + b"=" + value + b"\0" for key, value in environment.items() if key.startswith(b"CNI_")]
    return b"".join(pairs) + b"\0" + config


def _exchange(path: str, request: bytes) -> str:
    """The exit status, one digit, and what is to be printed, to the end of the line. Raises OSError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(_socket.SHUT_WR)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    finally:
        connection.close()
    answer = b"".join(parts).decode(errors="replace")
    if answer[:1] not in ("0", "1") or not answer.endswith("\n"):
        raise ConnectionError("the connection was closed before the end of the answer")
    return answer


def _without_controller(command: str, path: str, request: bytes, why: str, version: str) -> int:
    details = f"{why}; expected the controller of Lace SDN there: is its pod running on this node?"
    if command == "DEL":
        try:
            _spool(path, request)
        except OSError as error:
            details += f" Nothing can be noted for it: {error}"
        else:
            return 0
    code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN
    _print(
        {
            "cniVersion": version,
            "code": code,
            "msg": "the controller of Lace SDN does not answer",
            "details": details,
        }
    )
    return 1


def _spool(path: str, request: bytes) -> None:
    """Deleting must not fail for long: what is left to do is written down for the next controller."""
    folder = os.path.join(os.path.dirname(path), SPOOL)
    name = "c-" + os.environ.get("CNI_CONTAINERID", "").replace("/", "_")
    os.makedirs(folder, exist_ok=True)
    draft = os.path.join(folder, f".{name}")
    with open(draft, "wb") as file:
        file.write(request)
    os.replace(draft, os.path.join(folder, name))


def _version(config: bytes) -> str:
    import json  # noqa: PLC0415 - see above

    try:
        version = json.loads(config)["cniVersion"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return VERSIONS[-1]
    return version if version in VERSIONS else VERSIONS[-1]


def _print(value: dict[str, Any]) -> None:
    import json  # noqa: PLC0415 - see above

    sys.stdout.write(json.dumps(value) + "\n")


def run() -> None:
    """The program."""
    sys.exit(main())


if __name__ == "__main__":
    run()
