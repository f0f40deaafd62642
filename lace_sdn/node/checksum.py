"""Checksums that a device leaves to hardware: there is none behind a bridge in userspace."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_ETHTOOL_STXCSUM = 0x17


def disable_transmit_checksum(device: str) -> bool:
    """What ``ethtool -K DEVICE tx off`` does, in the thread's namespace: conntrack in userspace sees whole checksums only.

    False if it was off. Raises OSError.
    """
    if not _ethtool(device, _ETHTOOL_GTXCSUM):
        return False
    _ethtool(device, _ETHTOOL_STXCSUM)
    return True


def _ethtool(device: str, command: int) -> int:
    """linux/ethtool.h: struct ethtool_value; the value given is 0."""
    value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    return int(struct.unpack("=II", value.raw)[1])
