"""A fabric of real switches, one Open vSwitch a node: packets in by ``netdev-dummy/receive``, out by ``options:tx_pcap``.

Geneve between the nodes is real: each br-int encapsulates into its br-phy, whose port's frames are carried, octet by
octet, to the br-phy of the node that the outer address names. Everything is settled before an answer is given: no sleep
decides what arrived.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Self

from dummy import BOUND_S, DummySwitch
from frames import Outer, decode, encapsulate, encode, read_pcap, underlay_destination
from openflow_client import OpenFlowClient

from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.fields import TUN_ID, TUN_SRC
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.simulator.fabric import Delivery, Journey, Passage
from lace_sdn.openflow.wire import PacketIn, read_packet_in
from lace_sdn.openflow.wire.packets import PACKET_IN
from lace_sdn.pipeline.constants import GATEWAY_PORT, TUNNEL_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.simulator import Packet

SENTINEL = 60000
"""A port of every bridge that gives its packets back: when it did, all packets before were processed."""
SENTINEL_FLOW = f"priority=65535,in_port={SENTINEL},actions=IN_PORT"
SENTINEL_FRAME = "ffffffffffff" + "020000005e17" + "88b5" + "00" * 46
SET_CONFIG = struct.pack("!BBHIHH", 6, 9, 12, 1, 0, 0xFFFF)
"""Who connects to a management socket gets packets-in only after it has asked for some octets of them (OpenFlow 1.5.1, 7.3.2)."""


class Control:
    """One lasting connection to the control socket of ovs-vswitchd (ovs-appctl(8): JSON-RPC 1.0)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(BOUND_S)
        self._socket.connect(str(path))

    def close(self) -> None:
        self._socket.close()

    def __call__(self, command: str, *arguments: str) -> str:
        """The command's output. Raises RuntimeError with the switch's words when it refuses."""
        request = {"id": 0, "method": command, "params": arguments}
        self._socket.sendall(json.dumps(request).encode())
        data = b""
        while True:
            data += self._socket.recv(1 << 16)
            try:
                response = json.loads(data)
            except ValueError:
                continue
            if response["error"] is not None:
                raise RuntimeError(f"{command} {arguments}: {response['error']}")
            return str(response["result"])


class DummyNode:
    """One node: a switch process with br-int, br-phy, pods' ports v1, v2, ... and that to the node's own stack."""

    def __init__(self, index: int, ports: int) -> None:
        self.address = IPv4Address(f"192.168.50.{index + 1}")
        self.addresses = (self.address, IPv6Address(f"2001:db8:50::{index + 1}"))
        self.mac = 0xAA5500000000 + index
        self.ports = ports
        self.switch = DummySwitch(has_real_tunnels=True)
        self._positions: dict[str, int] = {}
        self._control: Control | None = None
        self._client: OpenFlowClient | None = None
        self._program = BridgeProgram()

    def start(self, neighbours: Iterable[tuple[IPv4Address | IPv6Address, int]]) -> None:
        """``neighbours``: address and MAC of the other nodes."""
        switch = self.switch.start()
        switch.add_bridge("br-phy", f'other-config:hwaddr="{_mac_text(self.mac)}"')
        switch.add_bridge("br-int")
        names = {"p0": ("br-phy", 1), f"v{SENTINEL}": ("br-int", SENTINEL)}
        numbers = [*range(1, self.ports + 1), GATEWAY_PORT]
        names |= {f"v{number}": ("br-int", number) for number in numbers}
        arguments: list[str] = []
        for name, (bridge, ofport) in names.items():
            arguments += ["--", "add-port", bridge, name, "--", "set", "Interface", name, "type=dummy"]
            arguments += [f"ofport_request={ofport}", f"options:tx_pcap={self._pcap(name)}"]
            self._positions[name] = 0
        for address, version, length in zip(self.addresses, (4, 6), (24, 64), strict=True):
            switch.appctl(f"netdev-dummy/ip{version}addr", "br-phy", f"{address}/{length}")
            switch.appctl("ovs/route/add", str(ip_network((address, length), strict=False)), "br-phy")
        for neighbour, mac in neighbours:
            switch.appctl("tnl/neigh/set", "br-phy", str(neighbour), _mac_text(mac))
        geneve = (
            "type=geneve",
            "options:key=flow",
            "options:remote_ip=flow",
            f"ofport_request={TUNNEL_PORT}",
        )
        switch.vsctl(
            *arguments[1:], "--", "add-port", "br-int", "geneve", "--", "set", "Interface", "geneve", *geneve
        )
        flows = "in_port=p0,actions=LOCAL\nin_port=LOCAL,actions=p0\n"
        switch.ofctl("add-flows", "br-phy", "-", stdin=flows)
        switch.ofctl("add-flow", "br-int", SENTINEL_FLOW)
        self._control = Control(switch.control)
        self._client = OpenFlowClient(switch.management_socket("br-int"))
        self._client.ask(SET_CONFIG)

    def stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._client is not None:
            self._client.close()
        self.switch.stop()

    def install(self, program: BridgeProgram) -> None:
        """What differs, in one bundle: what was learned stays with the flow that learned it. Waits until the datapath follows."""
        assert self._client is not None
        self._client.commit(diff(self._program, program))
        self._program = program
        # A purge passes by what a revalidator is looking at in that moment.
        end = time.monotonic() + BOUND_S
        self.control("revalidator/purge")
        while "recirc_id" in self.control("dpctl/dump-flows"):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.address}: flows stay in the datapath")
            self.control("revalidator/purge")

    def reset(self, program: BridgeProgram) -> None:
        """This program, and nothing learned and no connection."""
        self.install(BridgeProgram())
        self.install(program)
        self.control("dpctl/flush-conntrack")

    def control(self, command: str, *arguments: str) -> str:
        assert self._control is not None
        return self._control(command, *arguments)

    def receive(self, name: str, frame: bytes) -> dict[str, list[bytes]]:
        """Port name -> frames that came out of it, once ``frame``, coming in at port ``name``, is wholly processed."""
        self.control("netdev-dummy/receive", name, frame.hex())
        # Ports are polled in turn: when the second has come back, the round that the frame was in is over.
        for _ in range(2):
            self._pass_sentinel()
        return {port: frames for port in self._positions if (frames := self._sent(port))}

    def handed_over(self) -> Iterator[PacketIn]:
        """What the bridge has handed to its controller since it was asked last; of what was received before, all."""
        assert self._client is not None
        answers = self._client.ask()
        while answers:
            size = int.from_bytes(answers[2:4], "big")
            if answers[1] == PACKET_IN:
                yield read_packet_in(answers[:size])
            answers = answers[size:]

    def _pass_sentinel(self) -> None:
        name = f"v{SENTINEL}"
        self.control("netdev-dummy/receive", name, SENTINEL_FRAME)
        end = time.monotonic() + BOUND_S
        while not self._sent(name):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.address}: the sentinel did not come back within {BOUND_S:g} s")
            time.sleep(0.0002)

    def _sent(self, name: str) -> list[bytes]:
        path = self._pcap(name)
        if path.stat().st_size <= self._positions[name]:
            return []
        frames, self._positions[name] = read_pcap(path, self._positions[name])
        return frames

    def _pcap(self, name: str) -> Path:
        return self.switch.folder / f"{name}.pcap"


class DummyFabric:
    """Real switches as a fabric: ``inject`` as the simulated one has it. Nodes are ``node0``, ``node1``, ...

    ``with DummyFabric(nodes=3, ports=8) as fabric: ...``
    """

    def __init__(self, nodes: int, ports: int) -> None:
        self.nodes = {f"node{index}": DummyNode(index, ports) for index in range(nodes)}

    def __enter__(self) -> Self:
        try:
            for node in self.nodes.values():
                others = [each for each in self.nodes.values() if each is not node]
                node.start((address, each.mac) for each in others for address in each.addresses)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()

    def reset(self, programs: Mapping[str, BridgeProgram]) -> None:
        """These programs, and no connections and nothing learned."""
        for name, program in programs.items():
            self.nodes[name].reset(program)

    def install(self, node: str, program: BridgeProgram) -> None:
        """Replace the program; connections stay."""
        self.nodes[node].install(program)

    def inject(
        self, node: str, port: int, packet: Packet, tunnel: Mapping[Field, int] | None = None
    ) -> Journey:
        """``packet`` into ``node`` by ``port``; with ``tunnel``: encapsulated, from whatever source that says.

        The journey names the bridges passed, without the flows hit.
        """
        frame = encode(packet)
        name = f"v{port}"
        if tunnel:
            target, name = self.nodes[node], "p0"
            source = IPv4Address(tunnel[TUN_SRC])
            outer = Outer(self._mac_of(source), target.mac, source, target.address, tunnel[TUN_ID])
            frame = encapsulate(outer, frame)
        deliveries: list[Delivery] = []
        passages: list[Passage] = []
        to_controller: list[Delivery] = []
        waiting = [(node, name, frame)]
        while waiting:
            here, entry, current = waiting.pop(0)
            passages.append(Passage(here, TUNNEL_PORT if entry == "p0" else port, ()))
            for out, frames in self.nodes[here].receive(entry, current).items():
                for each in frames:
                    if out == "p0":
                        waiting.append((self._home(each), "p0", each))
                    else:
                        deliveries.append(Delivery(here, int(out.removeprefix("v")), decode(each)))
            to_controller += (
                Delivery(here, each.in_port, decode(each.frame)) for each in self.nodes[here].handed_over()
            )
        return Journey(tuple(deliveries), tuple(passages), tuple(to_controller))

    def _mac_of(self, address: IPv4Address) -> int:
        """The MAC of a node, or of a stranger. A node learns it from the packet: a wrong one would cut off a neighbour."""
        return next((each.mac for each in self.nodes.values() if each.address == address), 0xAA55000000FF)

    def _home(self, frame: bytes) -> str:
        target = underlay_destination(frame)
        return next(name for name, each in self.nodes.items() if target in each.addresses)


def _mac_text(mac: int) -> str:
    return mac.to_bytes(6, "big").hex(":")
