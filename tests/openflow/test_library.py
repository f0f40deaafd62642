"""Our bytes against those of the OpenFlow library, for what the library can say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from os_ken.ofproto import ofproto_v1_5 as number
from os_ken.ofproto import ofproto_v1_5_parser as library

from lace_sdn.openflow import wire
from lace_sdn.openflow.actions import Output
from lace_sdn.openflow.flow import Bucket, Group, Meter
from lace_sdn.openflow.text import parse_flow

if TYPE_CHECKING:
    from collections.abc import Callable


class Datapath:
    """All that the library's messages want to know of a connection."""

    ofproto = number
    ofproto_parser = library


def encoded(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def added(
    table: int, priority: int, match: dict[str, Any], actions: list[Any], goto: int | None = None
) -> bytes:
    """A flow-mod of the library; fields in the order of ``match``."""
    instructions = [library.OFPInstructionActions(number.OFPIT_APPLY_ACTIONS, actions)] if actions else []
    if goto is not None:
        instructions.append(library.OFPInstructionGotoTable(goto))
    message = library.OFPFlowMod(
        Datapath(),
        cookie=0x1ACE000000000001,
        table_id=table,
        priority=priority,
        buffer_id=number.OFP_NO_BUFFER,
        out_port=number.OFPP_ANY,
        out_group=number.OFPG_ANY,
        match=library.OFPMatch(**match),
        instructions=instructions,
    )
    return encoded(message, 77)


def pieces(message: bytes) -> tuple[str, list[str], str]:
    """A flow-mod's head, its match fields sorted, and the rest with the padding."""
    start, end = 52, 48 + int.from_bytes(message[50:52], "big")
    fields = []
    while start < end:
        after = start + 4 + message[start + 3]
        fields.append(message[start:after].hex())
        start = after
    return message[:52].hex(), sorted(fields), message[end:].hex()


def learned() -> Any:
    """A learn action of the library, which knows its parts by the older names of fields."""
    return library.NXActionLearn(
        table_id=106,
        specs=[
            library.NXFlowSpecMatch(src=0x800, dst=("eth_type_nxm", 0), n_bits=16),
            library.NXFlowSpecMatch(src=("reg1", 0), dst=("reg1", 0), n_bits=32),
            library.NXFlowSpecMatch(src=("ipv4_src_nxm", 0), dst=("ipv4_src_nxm", 0), n_bits=32),
            library.NXFlowSpecLoad(src=("reg4", 0), dst=("reg4", 0), n_bits=32),
        ],
        idle_timeout=600,
        priority=200,
        cookie=0x1ACE800000000007,
        flags=2,
    )


METER = Meter(7, 100, 50)
BAND = library.OFPMeterBandDrop(rate=100, burst_size=50)


def metered(command: int, bands: list[Any]) -> Any:
    """A change of the meter 7 by the library."""
    flags = number.OFPMF_PKTPS | number.OFPMF_BURST | number.OFPMF_STATS
    return library.OFPMeterMod(Datapath(), command=command, flags=flags, meter_id=7, bands=bands)


COOKIE = "cookie=0x1ace000000000001, "
MAC = "0a:00:00:00:00:01"
FLOWS: list[tuple[str, Callable[[], bytes]]] = [
    ("table=1, priority=5 actions=drop", lambda: added(1, 5, {}, [])),
    ("table=1, priority=5,in_port=3 actions=goto_table:9", lambda: added(1, 5, {"in_port": 3}, [], 9)),
    (
        "table=2, priority=6,tcp,nw_src=10.0.0.0/24,tp_dst=80 actions=output:7",
        lambda: added(
            2,
            6,
            {"eth_type": 0x800, "ipv4_src": ("10.0.0.0", "255.255.255.0"), "ip_proto": 6, "tcp_dst": 80},
            [library.OFPActionOutput(7, 0)],
        ),
    ),
    (
        "table=2, priority=6,ipv6,ipv6_src=fe80::/10,ipv6_dst=fc00::1 actions=dec_ttl,output:7",
        lambda: added(
            2,
            6,
            {"eth_type": 0x86DD, "ipv6_src": ("fe80::", "ffc0::"), "ipv6_dst": "fc00::1"},
            [library.OFPActionDecNwTtl(), library.OFPActionOutput(7, 0)],
        ),
    ),
    (
        f"table=2, priority=6,arp,dl_src={MAC},arp_tpa=169.254.127.1,arp_op=1 actions=set_field:{MAC}->arp_sha,IN_PORT",
        lambda: added(
            2,
            6,
            {"eth_src": MAC, "eth_type": 0x806, "arp_tpa": "169.254.127.1", "arp_op": 1},
            [library.OFPActionSetField(arp_sha=MAC), library.OFPActionOutput(number.OFPP_IN_PORT, 0)],
        ),
    ),
    (
        "table=2, priority=6,reg1=0x7,tun_id=0x9 actions=set_field:0x5->tun_id,set_field:0x3->reg2,group:4",
        lambda: added(
            2,
            6,
            {"reg1": 7, "tunnel_id": 9},
            [
                library.OFPActionSetField(tunnel_id=5),
                library.OFPActionSetField(reg2=3),
                library.OFPActionGroup(4),
            ],
        ),
    ),
    (
        "table=2, priority=6,reg1=0x10/0xf0 actions=resubmit(,8)",
        lambda: added(
            2,
            6,
            {"reg1": (0x10, 0xF0)},
            [library.NXActionResubmitTable(in_port=0xFFF8, table_id=8)],
        ),
    ),
    (
        "table=3, priority=6,ct_state=+trk,ip actions=ct(commit,table=4,zone=9,nat)",
        lambda: added(
            3,
            6,
            {"ct_state": (0x20, 0x20), "eth_type": 0x800},
            [
                library.NXActionCT(
                    flags=1,
                    zone_src="",
                    zone_ofs_nbits=9,
                    recirc_table=4,
                    alg=0,
                    actions=[library.NXActionNAT(flags=0)],
                )
            ],
        ),
    ),
    (
        "table=3, priority=7,tcp actions=ct(commit,zone=NXM_NX_REG6[0..15],exec(set_field:0x1->ct_mark))",
        lambda: added(
            3,
            7,
            {"eth_type": 0x800, "ip_proto": 6},
            [
                library.NXActionCT(
                    flags=1,
                    zone_src="reg6",
                    zone_ofs_nbits=15,
                    recirc_table=0xFF,
                    alg=0,
                    actions=[
                        library.OFPActionSetField(ct_mark=1),
                    ],
                )
            ],
        ),
    ),
    (
        "table=3, priority=8 actions=push:NXM_NX_REG0[],pop:NXM_NX_REG1[],output:NXM_NX_REG3[]",
        lambda: added(
            3,
            8,
            {},
            [
                library.NXActionStackPush(field="reg0", start=0, end=32),
                library.NXActionStackPop(field="reg1", start=0, end=32),
                library.NXActionOutputReg(ofs_nbits=31, src="reg3", max_len=0xFFFF),
            ],
        ),
    ),
    (
        "table=3, priority=8,in_port=1 actions=meter:7,output:3",
        lambda: added(3, 8, {"in_port": 1}, [library.OFPActionMeter(7), library.OFPActionOutput(3, 0)]),
    ),
    (
        "table=3, priority=9,sctp,tp_src=40000,tp_dst=80 actions=CONTROLLER:256",
        lambda: added(
            3,
            9,
            {"eth_type": 0x800, "ip_proto": 132, "sctp_src": 40000, "sctp_dst": 80},
            [library.OFPActionOutput(number.OFPP_CONTROLLER, 256)],
        ),
    ),
    (
        "table=3, priority=10,ip actions=learn(table=106,idle_timeout=600,priority=200,delete_learned,cookie=0x1ace800000000007,eth_type=0x800,NXM_NX_REG1[],NXM_OF_IP_SRC[],load:NXM_NX_REG4[]->NXM_NX_REG4[])",
        lambda: added(3, 10, {"eth_type": 0x800}, [learned()]),
    ),
]


@pytest.mark.parametrize(("text", "theirs"), FLOWS, ids=[text for text, _ in FLOWS])
def test_a_flow_has_the_bytes_that_the_library_writes(text: str, theirs: Callable[[], bytes]) -> None:
    """But for the order of the match fields, which the library sorts by number."""
    assert pieces(wire.flow_add(parse_flow(COOKIE + text), 77)) == pieces(theirs())


def test_a_deletion_has_the_bytes_that_the_library_writes() -> None:
    message = library.OFPFlowMod(
        Datapath(),
        table_id=4,
        command=number.OFPFC_DELETE_STRICT,
        priority=9,
        buffer_id=number.OFP_NO_BUFFER,
        out_port=number.OFPP_ANY,
        out_group=number.OFPG_ANY,
        match=library.OFPMatch(in_port=3),
    )
    flow = parse_flow("table=4, priority=9,in_port=3 actions=output:9")
    assert wire.flow_delete_strict(flow, 5).hex() == encoded(message, 5).hex()


def test_a_group_without_method_has_the_bytes_that_the_library_writes() -> None:
    """The library has no selection method: it is what follows the library's bytes, and the length is the larger for it."""
    buckets = [
        library.OFPBucket(
            bucket_id=each,
            actions=[library.OFPActionOutput(each, 0)],
            properties=[library.OFPGroupBucketPropWeight(type_=0, weight=100)],
        )
        for each in (3, 4)
    ]
    message = library.OFPGroupMod(
        Datapath(), number.OFPGC_ADD, number.OFPGT_SELECT, 8, number.OFPG_BUCKET_ALL, buckets, []
    )
    theirs = encoded(message, 5)
    ours = wire.group_add(Group(8, tuple(Bucket(each, (Output(each),)) for each in (3, 4))), 5)
    assert ours[:2] + ours[4 : len(theirs)] == theirs[:2] + theirs[4:]
    assert ours[len(theirs) : len(theirs) + 12].hex() == "ffff00280000154d00000001"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            wire.bundle_open(7, 5),
            lambda: library.OFPBundleCtrlMsg(Datapath(), 7, number.OFPBCT_OPEN_REQUEST, 3, []),
        ),
        (
            wire.bundle_commit(7, 5),
            lambda: library.OFPBundleCtrlMsg(Datapath(), 7, number.OFPBCT_COMMIT_REQUEST, 3, []),
        ),
        (wire.barrier(5), lambda: library.OFPBarrierRequest(Datapath())),
        (wire.meter_add(METER, 5), lambda: metered(number.OFPMC_ADD, [BAND])),
        (wire.meter_modify(METER, 5), lambda: metered(number.OFPMC_MODIFY, [BAND])),
        (
            wire.meter_delete(METER, 5),
            lambda: library.OFPMeterMod(Datapath(), command=number.OFPMC_DELETE, flags=0, meter_id=7),
        ),
        (
            wire.meter_dump_request(5),
            lambda: library.OFPMeterDescStatsRequest(Datapath(), 0, number.OFPM_ALL),
        ),
        (
            wire.meter_stats_request(5),
            lambda: library.OFPMeterStatsRequest(Datapath(), 0, number.OFPM_ALL),
        ),
        (
            wire.group_dump_request(5),
            lambda: library.OFPGroupDescStatsRequest(Datapath(), 0, number.OFPG_ALL),
        ),
        (
            wire.flow_dump_request(5),
            lambda: library.OFPFlowDescStatsRequest(
                Datapath(), 0, number.OFPTT_ALL, number.OFPP_ANY, number.OFPG_ANY, 0, 0, library.OFPMatch()
            ),
        ),
    ],
    ids=[
        "open",
        "commit",
        "barrier",
        "meter",
        "meter changed",
        "meter gone",
        "meter dump",
        "meter stats",
        "group dump",
        "flow dump",
    ],
)
def test_a_request_has_the_bytes_that_the_library_writes(ours: bytes, theirs: Callable[[], Any]) -> None:
    assert ours.hex() == encoded(theirs(), 5).hex()
