"""What the CNI plugin hands over, understood; and what it is to print. Pure. Source: CNI specification 1.1.0."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.cni import VERSIONS
from lace_sdn.controller.attaching import AttachError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.controller.attaching import Attached

Data = dict[str, Any]

BAD_VERSION: Final = 1
BAD_ENVIRONMENT: Final = 4
NOT_DECODED: Final = 6
BAD_CONFIG: Final = 7
TRY_AGAIN: Final = 11
NOT_AVAILABLE: Final = 50
CHECK_FAILED: Final = 100
"""Ours: from 100 on codes are the plugin's own."""
COMMANDS: Final = ("ADD", "DEL", "CHECK", "GC", "STATUS")
VALID: Final = "cni.dev/valid-attachments"
"""Key of the configuration by which GC says what there is."""
_CONTAINER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_DEVICE: Final = re.compile(r"(?!\.\.?$)[^/:\s]{1,15}")
"""What container IDs and names of interfaces are (CNI specification, "Parameters")."""
NEEDED: Final = {
    "ADD": ("CONTAINERID", "NETNS", "IFNAME"),
    "DEL": ("CONTAINERID", "IFNAME"),
    "CHECK": ("CONTAINERID", "NETNS", "IFNAME"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """``environment``: the variables that begin with CNI_; ``config``: the network configuration."""

    command: str
    environment: Mapping[str, str]
    config: Mapping[str, Any]

    @property
    def sandbox(self) -> Sandbox:
        """What it is about."""
        its = self.environment
        arguments = dict(_pairs(its.get("CNI_ARGS", "")))
        return Sandbox(
            arguments.get("K8S_POD_NAMESPACE", ""),
            arguments.get("K8S_POD_NAME", ""),
            arguments.get("K8S_POD_UID", ""),
            its["CNI_CONTAINERID"],
            its.get("CNI_NETNS", ""),
            its["CNI_IFNAME"],
        )

    @property
    def valid(self) -> frozenset[str] | None:
        """The containers that the runtime still has (GC); None if it does not say. Raises AttachError."""
        found = self.config.get(VALID)
        if found is None:
            return None
        entries: list[Any] = found if isinstance(found, list) else [None]
        its = [each["containerID"] for each in entries if _is_attachment(each)]
        if len(its) < len(entries):
            expected = 'expected a list of objects with "containerID"; nothing is removed'
            raise AttachError(f"{VALID} cannot be read", expected, BAD_CONFIG)
        return frozenset(its)

    @property
    def version(self) -> str:
        """Of the specification, that the answer is to follow."""
        return str(self.config.get("cniVersion", VERSIONS[0]))


def read(message: bytes) -> Request:
    """See ``lace_sdn.cni.request_of``. Raises AttachError for what the plugin should not have been asked."""
    head, separator, text = message.partition(b"\0\0")
    if not separator:
        head, text = b"", message.removeprefix(b"\0")
    environment = dict(part.decode(errors="replace").partition("=")[::2] for part in head.split(b"\0"))
    command = environment.get("CNI_COMMAND", "")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = "the network configuration on standard input is not JSON"
        raise AttachError(problem, str(error), NOT_DECODED) from None
    if not isinstance(config, dict):
        found = f"expected an object, found {text.strip()[:20].decode(errors='replace')!r}"
        raise AttachError("the network configuration on standard input is no object", found, BAD_CONFIG)
    request = Request(command, environment, config)
    if request.version not in VERSIONS:
        expected = f"expected one of {', '.join(VERSIONS)}"
        raise AttachError(f"cniVersion {request.version} is not supported", expected, BAD_VERSION)
    if command not in COMMANDS:
        expected = f"expected one of {', '.join((*COMMANDS, 'VERSION'))}"
        raise AttachError(f"CNI_COMMAND is {command!r}", expected, BAD_ENVIRONMENT)
    missing = [f"CNI_{name}" for name in NEEDED.get(command, ()) if not environment.get(f"CNI_{name}")]
    if missing:
        found = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        raise AttachError(found, f"expected a value with {command}", BAD_ENVIRONMENT)
    if command in NEEDED:
        _check(request)
    return request


def _check(request: Request) -> None:
    """What is said of a pod. Raises AttachError."""
    its = request.sandbox
    if not _CONTAINER.fullmatch(its.container):
        expected = "expected letters, digits, '_', '.', '-', a letter or digit first"
        raise AttachError(f"CNI_CONTAINERID is {its.container!r}", expected, BAD_ENVIRONMENT)
    if not _DEVICE.fullmatch(its.device):
        expected = "expected the name of an interface, at most 15 characters without '/', ':' and spaces"
        raise AttachError(f"CNI_IFNAME is {its.device!r}", expected, BAD_ENVIRONMENT)
    if request.command != "DEL" and not (its.pod_namespace and its.pod_name):
        expected = "expected K8S_POD_NAMESPACE and K8S_POD_NAME"
        raise AttachError("CNI_ARGS names no pod", expected, BAD_ENVIRONMENT)


def said(result: Data | None) -> bytes:
    """Success, with what is to be printed. An answer ends with its line: one that was cut short is none."""
    return b"0" + (json.dumps(result).encode() if result is not None else b"") + b"\n"


def refused(error: AttachError, version: str = VERSIONS[-1]) -> bytes:
    """An error (CNI specification, "Error")."""
    body = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        body["details"] = error.details
    return b"1" + json.dumps(body).encode() + b"\n"


def result(request: Request, its: Attached) -> Data:
    """A success result of ADD in the version that was asked for: before 1.0.0 an address says its version, since 1.1.0 a link its MTU."""
    sandbox, everywhere = request.sandbox, {4: "0.0.0.0/0", 6: "::/0"}
    families = sorted({address.version for address in its.addresses})
    interfaces: list[Data] = [
        {"name": its.interface, "mtu": its.mtu},
        {"name": sandbox.device, "mac": its.mac, "mtu": its.mtu, "sandbox": sandbox.namespace},
    ]
    addresses: list[Data] = [
        {
            "address": f"{address}/{address.max_prefixlen}",
            "gateway": str(its.gateways[address.version]),
            "interface": 1,
        }
        for address in its.addresses
    ]
    if request.version != "1.1.0":
        for interface in interfaces:
            del interface["mtu"]
    if request.version.startswith("0."):
        for entry, address in zip(addresses, its.addresses, strict=True):
            entry["version"] = str(address.version)
    return {
        "cniVersion": request.version,
        "interfaces": interfaces,
        "ips": addresses,
        "routes": [{"dst": everywhere[family], "gw": str(its.gateways[family])} for family in families],
        "dns": request.config.get("dns") or {},
    }


def _is_attachment(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("containerID"), str)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        key, separator, value = part.partition("=")
        if separator:
            yield key, value
