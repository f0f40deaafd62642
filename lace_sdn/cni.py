#!/usr/bin/python3 -IS
"""``lace-sdn-cni``: the CNI plugin (CNI specification 1.1). It asks the node's controller, which does the work.

One file without imports of others: it is copied to the host, and started for every pod. Needs Python 3.9 or later there.
"""

from __future__ import annotations

import json
import os
import socket
import sys

TYPE_CHECKING = False
"""In place of the one in ``typing``, whose import takes longer than the rest."""
if TYPE_CHECKING:
    from typing import Any

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
SOCKET = "/run/lace-sdn/cni.sock"
SPOOL = "cni-deleted"
"""Beside the socket: a file for every pod that was deleted while no controller was there."""
PATIENCE = 90.0
"""Seconds for an answer; the controller has shorter bounds of its own."""
COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS")
NEEDED = {
    "ADD": ("CONTAINERID", "NETNS", "IFNAME"),
    "DEL": ("CONTAINERID", "IFNAME"),
    "CHECK": ("CONTAINERID", "NETNS", "IFNAME"),
}

BAD_VERSION, BAD_ENVIRONMENT, IO_FAILED, BAD_CONFIG, TRY_AGAIN, NOT_AVAILABLE = 1, 4, 5, 7, 11, 50
"""Codes of errors (CNI specification, "Error")."""


class Failure(Exception):  # noqa: N818 - an answer
    """What is printed as error."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def main() -> int:
    """Read the configuration, ask, print the answer; the exit status."""
    version = VERSIONS[-1]
    try:
        command = os.environ.get("CNI_COMMAND", "")
        config = _config(sys.stdin.read())
        version = config.get("cniVersion", VERSIONS[0])
        if command == "VERSION":
            _print({"cniVersion": version, "supportedVersions": list(VERSIONS)})
            return 0
        _check(command, config, version)
        result = _ask(command, config)
        if result is not None and command == "ADD":
            _print(in_version(result, version))
    except Failure as failure:
        error = {"cniVersion": version, "code": failure.code, "msg": failure.message}
        _print({**error, "details": failure.details} if failure.details else error)
        return 1
    return 0


def in_version(result: dict[str, Any], version: str) -> dict[str, Any]:
    """A result of version 1 as an older version has it (CNI specification 0.4.0: ``ips[].version``)."""
    found = {**result, "cniVersion": version}
    if version.startswith("0."):
        found["ips"] = [{"version": "6" if ":" in each["address"] else "4", **each} for each in result["ips"]]
        found["interfaces"] = [
            {key: each[key] for key in ("name", "mac", "sandbox") if key in each}
            for each in result["interfaces"]
        ]
    return found


def _config(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise Failure(
            BAD_CONFIG, "the network configuration on standard input is not JSON", str(error)
        ) from None
    if not isinstance(config, dict):
        raise Failure(BAD_CONFIG, "the network configuration on standard input is no object")
    return config


def _check(command: str, config: dict[str, Any], version: str) -> None:
    if version not in VERSIONS:
        raise Failure(
            BAD_VERSION, f"cniVersion {version} is not supported", f"expected one of {', '.join(VERSIONS)}"
        )
    if command not in COMMANDS:
        raise Failure(
            BAD_ENVIRONMENT,
            f"CNI_COMMAND is {command!r}",
            f"expected one of {', '.join((*COMMANDS, 'VERSION'))}",
        )
    missing = [f"CNI_{name}" for name in NEEDED.get(command, ()) if not os.environ.get(f"CNI_{name}")]
    if missing:
        raise Failure(BAD_ENVIRONMENT, f"{' and '.join(missing)} is missing", f"{command} needs it")
    if not isinstance(config.get("socket", ""), str):
        raise Failure(BAD_CONFIG, "socket in the network configuration is no text")


def _ask(command: str, config: dict[str, Any]) -> dict[str, Any] | None:
    path = config.get("socket") or SOCKET
    environment = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    request = {"command": command, "env": environment, "config": config}
    try:
        answer = _exchange(path, request)
    except (OSError, ValueError) as error:
        if command == "DEL":
            _spool(path, request, error)
            return None
        code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN
        details = (
            f"{path}: {error}; expected the controller of Lace SDN there: is its pod running on this node?"
        )
        raise Failure(code, "the controller of Lace SDN does not answer", details) from None
    if "error" in answer:
        said = answer["error"]
        raise Failure(said["code"], said["msg"], said.get("details", ""))
    result: dict[str, Any] | None = answer.get("result")
    return result


def _exchange(path: str, request: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer


def _spool(path: str, request: dict[str, Any], why: Exception) -> None:
    """Deleting must not fail for long: what is left to do is written down for the next controller."""
    folder = os.path.join(os.path.dirname(path), SPOOL)
    name = request["env"]["CNI_CONTAINERID"]
    try:
        os.makedirs(folder, exist_ok=True)
        draft = os.path.join(folder, f".{name}")
        with open(draft, "w") as file:
            json.dump(request, file)
        os.replace(draft, os.path.join(folder, name))
    except OSError as error:
        details = f"{why}; {folder}: {error}"
        raise Failure(
            TRY_AGAIN, "the controller of Lace SDN does not answer, and nothing can be noted for it", details
        ) from None


def _print(value: dict[str, Any]) -> None:
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")


def run() -> None:
    """The program."""
    sys.exit(main())


if __name__ == "__main__":
    run()
