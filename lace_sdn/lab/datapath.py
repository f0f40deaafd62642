"""Which datapath the switches of a lab forward by, and all that follows from it. Decided once, when a lab is made."""

from __future__ import annotations

import contextlib
import shutil
from enum import Enum
from typing import TYPE_CHECKING

from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from lace_sdn.lab import LabError
from lace_sdn.lab.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.lab.names import Lab

UNDERLAY_BRIDGE = "br-phy"
NODE_UPLINK = "phy0"
"""The node's end of its cable to the underlay."""
_FAMILY = "ovs_datapath"  # linux/openvswitch.h: OVS_DATAPATH_FAMILY


class Datapath(Enum):
    """By the name of Open vSwitch's ``datapath_type``."""

    SYSTEM = "system"
    NETDEV = "netdev"

    @property
    def is_userspace(self) -> bool:
        """Checksums are then made by the sender, ports of SCTP are not tracked, tunnels are made by Open vSwitch."""
        return self is Datapath.NETDEV

    @property
    def underlay_device(self) -> str:
        """What has a node's addresses. Tunnels in userspace need a bridge around it; the kernel's take the node's own routes."""
        return UNDERLAY_BRIDGE if self.is_userspace else NODE_UPLINK

    @property
    def daemon_options(self) -> tuple[str, ...]:
        """Of ovs-vswitchd."""
        return ("--disable-system",) if self.is_userspace else ()


def decide(lab: Lab, wanted: Datapath | None) -> None:
    """Settle what a new lab runs on, the kernel's datapath where it can be had unless ``wanted`` says which.

    Raises LabError if a lab that is there runs on another one, or if the kernel has none.
    """
    if lab.datapath.exists():
        runs_on = of(lab)
        if wanted not in (None, runs_on):
            raise LabError(
                f'lab "{lab.name}" runs on the datapath {runs_on.value}; expected the same, or no lab: '
                f"`lace-sdn lab down --name {lab.name}` removes it"
            )
        return
    if wanted is Datapath.SYSTEM and not is_in_kernel():
        raise LabError(
            "this kernel has no datapath of Open vSwitch: the module openvswitch is not there, or not to be loaded from here; "
            "`--datapath netdev` does without it, `make kernel-lab` brings a kernel that has it"
        )
    write_whole(lab.datapath, (wanted or default()).value)


@contextlib.contextmanager
def decided(lab: Lab, wanted: Datapath | None) -> Iterator[None]:
    """``decide``, taken back if nothing of the lab has been made when its making fails."""
    decide(lab, wanted)
    try:
        yield
    except BaseException:
        if list(lab.run.glob("*")) == [lab.datapath]:
            shutil.rmtree(lab.run)
        raise


def of(lab: Lab) -> Datapath:
    """What a lab runs on, or would run on if it were made now."""
    try:
        return Datapath(lab.datapath.read_text())
    except (FileNotFoundError, ValueError):  # not yet there, or damaged
        return default()


def default() -> Datapath:
    """The kernel's where it can be had."""
    return Datapath.SYSTEM if is_in_kernel() else Datapath.NETDEV


def is_in_kernel() -> bool:
    """Whether the kernel forwards for Open vSwitch. Being asked for the family, it loads the module if it has one."""
    with GenericNetlinkSocket() as asking:
        try:
            asking.bind(_FAMILY, genlmsg)
        except NetlinkError:
            return False
    return True
