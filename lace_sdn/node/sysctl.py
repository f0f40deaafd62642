"""The settings of /proc/sys/net without which the stack does not forward; those of the process's namespace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from lace_sdn.pipeline.constants import GATEWAY_INTERFACE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.node import Outcome

ROOT: Final = Path("/proc/sys")
_FORWARDING_IPV4: Final = "net/ipv4/ip_forward"
_FORWARDING_IPV6: Final = "net/ipv6/conf/all/forwarding"
_DEVICE: Final = {
    # The kernel takes the greater of `all` and the device: 2 (loose) wins over a strict 1.
    f"net/ipv4/conf/{GATEWAY_INTERFACE}/rp_filter": "2",
    f"net/ipv4/conf/{GATEWAY_INTERFACE}/accept_local": "0",
    f"net/ipv6/conf/{GATEWAY_INTERFACE}/accept_ra": "0",
}


def has_ipv6(device: str | None = None) -> bool:
    """Whether the kernel, and the device if one is named, speaks IPv6."""
    if device is None:
        return (ROOT / "net/ipv6/conf").is_dir()
    return _read(f"net/ipv6/conf/{device}/disable_ipv6") == "0"


def keep_forwarding(outcome: Outcome) -> None:
    """Forwarding of both families. What listens to routers before, listens to them afterwards."""
    if _read(_FORWARDING_IPV4) == "0":
        _write(_FORWARDING_IPV4, "1", outcome.host_changes, outcome.problems)
    if _read(_FORWARDING_IPV6) == "0":
        names = [*_router_listeners(), _FORWARDING_IPV6]
        values = dict.fromkeys(names, "2") | {_FORWARDING_IPV6: "1"}
        # In this order, and not further than it goes: a router that is not heard any more costs the node its default route.
        all(_write(name, value, outcome.host_changes, outcome.problems) for name, value in values.items())


def keep_device(outcome: Outcome) -> None:
    """The settings of our interface, as far as it is there."""
    for name, value in _DEVICE.items():
        if _read(name) not in (None, value):
            _write(name, value, outcome.changes, outcome.problems)


def _router_listeners() -> Iterable[str]:
    """Interfaces whose accept_ra is 1: "accept, if forwarding is disabled" (the kernel's ip-sysctl.rst)."""
    for folder in sorted((ROOT / "net/ipv6/conf").iterdir()):
        name = f"net/ipv6/conf/{folder.name}/accept_ra"
        if folder.name not in {"all", "default", "lo", GATEWAY_INTERFACE} and _read(name) == "1":
            yield name


def _read(name: str) -> str | None:
    """None if there is no such setting, as of a device that is gone."""
    try:
        return (ROOT / name).read_text().strip()
    except OSError:
        return None


def _write(name: str, value: str, changes: list[str], problems: list[str]) -> bool:
    """False if it is as before; a setting that is not there any more wants nothing."""
    former = _read(name)
    shown = name.replace("/", ".")
    try:
        (ROOT / name).write_text(value)
    except FileNotFoundError:
        return True
    except OSError as error:
        problems.append(
            f"{shown} is {former} and cannot be set to {value}: {error.strerror}; set it outside of the container"
        )
        return False
    changes.append(f"{shown}: {former} -> {value}")
    return True
