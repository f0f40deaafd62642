"""The codec's rates, as figures and ratios: encode, decode, and 50,000 flows into a live switch against ovs-ofctl.

Run: ``python bench/codec.py [FLOWS]``. Needs Open vSwitch, no root. Judges nothing: figures are for reading.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from dummy import DummySwitch
from openflow_client import OpenFlowClient

from lace_sdn.openflow import wire
from lace_sdn.openflow.actions import Ct, Goto, Output, Resubmit, SetField
from lace_sdn.openflow.diff import Delta, diff
from lace_sdn.openflow.fields import ETH_DST, ETH_TYPE, IN_PORT, IPV4_DST, IPV4_SRC, REG, TUN_ID, EthType
from lace_sdn.openflow.flow import COOKIE_OWNER, BridgeProgram, Flow
from lace_sdn.openflow.match import Match, term
from lace_sdn.openflow.wire.dumps import FLOW_DESC

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024


def flows(count: int) -> list[Flow]:
    """Of four terms and two actions each, in three shapes; every flow has an address of its own."""
    cookie = COOKIE_OWNER << 48
    made = []
    for i in range(count):
        address, network = 0x0A000000 + i, 1 + i % 997
        terms = [
            term(REG[1], network),
            term(ETH_TYPE, EthType.IPV4),
            term(IPV4_DST, address),
            term(IN_PORT, 1 + i % 251),
        ]
        actions = (
            (SetField(REG[2], network), Goto(40)),
            (SetField(ETH_DST, 0x0A0000000000 + i), Output(1 + i % 251)),
            (Ct(REG[6][0:15], 4 + i % 3), Resubmit(40)),
        )[i % 3]
        if i % 2:
            terms[3] = term(TUN_ID, network)
        if i % 5 == 0:
            terms[3] = term(IPV4_SRC, 0x0A000000 | network << 8, 0xFFFFFF00)
        made.append(Flow(20 + i % 3, 100, Match(*terms), actions, cookie | i))
    return made


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def rate(count: int, seconds: float) -> str:
    """As printed."""
    return f"{count / seconds:>12,.0f} flows/s"


def fresh() -> None:
    """Forget what the codec remembers: the first dump of a process is the one that matters."""
    wire.shapes.forget()
    wire.action_decoding.forget()


def main(count: int) -> None:
    """Prints all figures."""
    made = flows(count)
    delta = Delta(put_flows=tuple(made))

    def encode() -> list[bytes]:
        fresh()
        return [wire.flow_add(flow, 1) for flow in made]

    def as_bundle() -> bytes:
        fresh()
        return wire.bundle(delta, 1, itertools.count(1))

    print(f"encode                     {rate(count, best(encode))}")
    print(f"encode into one bundle     {rate(count, best(as_bundle))}")
    with DummySwitch() as switch:
        switch.add_bridge("bench")
        with OpenFlowClient(switch.management_socket("bench")) as client:
            ours, theirs = live(switch, client, made)
            print(f"live, our bundle           {rate(count, ours)}   (encode, send, commit, barrier)")
            print(
                f"live, ovs-ofctl --bundle   {rate(count, theirs)}   ratio ours/ovs-ofctl {theirs / ours:.2f}"
            )
            entries = wire.bodies(client.ask(wire.flow_dump_request(9)), FLOW_DESC)

            def decode() -> object:
                fresh()
                return wire.read_flow_dump(entries)

            print(f"decode of the dump         {rate(count, best(decode))}")
            read, foreign = wire.read_flow_dump(entries)
            changes = len(diff(BridgeProgram(tuple(read)), BridgeProgram(tuple(made))))
            print(f"read back: {len(read)} flows, {len(foreign)} unreadable, {changes} differences")
    print(
        f"memory of this process     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB:>12,.0f} MiB"
    )


def live(switch: DummySwitch, client: OpenFlowClient, made: list[Flow]) -> tuple[float, float]:
    """Seconds of our bundle and of ovs-ofctl's, the best of three each, alternating, into an empty bridge."""
    file = switch.folder / "flows.txt"
    file.write_text("".join(f"{flow}\n" for flow in made))
    ours, theirs = [], []
    for _ in range(3):
        fresh()
        switch.ofctl("del-flows", "bench")
        start = time.perf_counter()
        client.commit(Delta(put_flows=tuple(made)))
        ours.append(time.perf_counter() - start)
        switch.ofctl("del-flows", "bench")
        start = time.perf_counter()
        switch.ofctl("add-flows", "bench", "--bundle", str(file))
        theirs.append(time.perf_counter() - start)
    return min(ours), min(theirs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
