"""Packets between switch and controller: byte by byte the library's, and nothing cut off is taken for whole."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_5 as number
from os_ken.ofproto import ofproto_v1_5_parser as library

from lace_sdn.openflow import wire
from lace_sdn.openflow.wire import PacketIn
from lace_sdn.openflow.wire.oxm import Unreadable
from lace_sdn.openflow.wire.packets import PACKET_IN

COOKIE = 0x1ACE010000000000
FRAME = bytes(range(60))
FRAMES = st.binary(max_size=300)
PORTS = st.integers(1, 0xFFFFFF00)


class Datapath:
    """All that the library's messages want to know of a connection."""

    ofproto = number
    ofproto_parser = library


def packet_in(frame: bytes, **match: Any) -> bytes:
    """As a switch sends it, its match written by the library, which only reads the rest."""
    body = bytearray(16)
    struct.pack_into("!IHBBQ", body, 0, number.OFP_NO_BUFFER, 1400, number.OFPR_APPLY_ACTION, 90, COOKIE)
    library.OFPMatch(**match).serialize(body, 16)
    body += b"\0\0" + frame
    return struct.pack("!BBHI", 6, PACKET_IN, 8 + len(body), 5) + bytes(body)


def read_by_library(message: bytes) -> PacketIn:
    found = library.OFPPacketIn.parser(Datapath(), 6, PACKET_IN, len(message), 5, message)
    return PacketIn(found.table_id, found.cookie, found.match["in_port"], bytes(found.data))


METADATA = st.fixed_dictionaries(
    {},
    optional={
        "tunnel_id": st.integers(1, (1 << 64) - 1),
        "metadata": st.integers(1, (1 << 64) - 1),
        "reg1": st.integers(1, 0xFFFFFFFF),
        "reg8": st.integers(1, 0xFFFFFFFF),
        "ct_state": st.integers(1, 255),
        "ct_label": st.integers(1, (1 << 128) - 1),
    },
)


@given(FRAMES, PORTS, METADATA)
def test_a_packet_in_is_read_as_the_library_reads_it(
    frame: bytes, port: int, metadata: dict[str, int]
) -> None:
    """Whatever else the switch says of the packet."""
    message = packet_in(frame, in_port=port, **metadata)
    assert wire.read_packet_in(message) == read_by_library(message) == PacketIn(90, COOKIE, port, frame)


@given(METADATA, st.integers(0, 1000))
def test_a_packet_in_that_is_cut_off_is_unreadable(metadata: dict[str, int], size: int) -> None:
    """Anywhere before the frame."""
    message = packet_in(b"", in_port=7, **metadata)
    with pytest.raises(Unreadable):
        wire.read_packet_in(message[: size % len(message)])


@given(METADATA)
def test_a_packet_in_without_a_port_is_unreadable(metadata: dict[str, int]) -> None:
    with pytest.raises(Unreadable, match="port"):
        wire.read_packet_in(packet_in(FRAME, **metadata))


@given(st.binary(max_size=100), st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_bytes_of_no_sense_are_read_or_unreadable(noise: bytes, place: int, written: bytes) -> None:
    """Nothing else is raised; also for a message with some octets changed."""
    message = bytearray(packet_in(FRAME, in_port=7, reg1=5))
    message[place : place + len(written)] = written
    assert {_kind(noise), _kind(bytes(message))} <= {PacketIn, Unreadable}


def _kind(message: bytes) -> type:
    try:
        return type(wire.read_packet_in(message))
    except Unreadable as error:
        return type(error)


@given(FRAMES, PORTS)
def test_a_packet_out_has_the_bytes_that_the_library_writes(frame: bytes, port: int) -> None:
    """As if it came from the controller, which is no port."""
    message = library.OFPPacketOut(
        Datapath(),
        match=library.OFPMatch(in_port=number.OFPP_CONTROLLER),
        actions=[library.OFPActionOutput(port, 0)],
        data=frame,
    )
    message.set_xid(77)
    message.serialize()
    assert wire.packet_out(frame, port, 77).hex() == bytes(message.buf).hex()
