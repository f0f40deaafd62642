"""A node's network stack between a stand-in for its bridge and the world, in three network namespaces."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import subprocess
import sys
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import netns
from lace_sdn.model.objects import Protocol
from lace_sdn.node.agent import Agent, Settings
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE, GATEWAY_MAC, HOST_MAC
from lace_sdn.pipeline.host import HostProgram, NodePort

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

NODE = {4: "192.0.2.1", 6: "2001:db8:2::1"}
WORLD = {4: "192.0.2.9", 6: "2001:db8:2::9"}
POD = {4: "10.20.0.2", 6: "2001:db8:20::2"}
UNROUTED = {4: "10.30.0.2", 6: "2001:db8:30::2"}
OUTWARD = {4: ("169.254.0.5", "169.254.0.6"), 6: ("64:ff9b:1::a9fe:5", "64:ff9b:1::a9fe:6")}
"""Of two pods with the ofports 5 and 6."""
NODE_PORT = {4: "169.254.127.3", 6: "64:ff9b:1::a9fe:7f03"}
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:09")
"""Of the node's uplink and of the world. Known beforehand: IPv6 looks for neighbours once a second."""
PORT = 30080
PATIENCE = 10.0
PROGRAM = HostProgram(
    addresses=tuple(ip_address(each) for each in NODE.values()),
    routes=(ip_network("10.20.0.0/24"), ip_network("10.96.0.1/32"), ip_network("2001:db8:20::/64")),
    node_ports=tuple(
        NodePort(version, protocol, PORT)
        for version in (4, 6)
        for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
    ),
)
COMMAND = (sys.executable, "-c", "from lace_sdn.cli import main; main()", "host")


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until it is true and return it; fails after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return value


class Site:
    """``node``, ``bridge`` and ``outside`` are names of namespaces; ``plan`` and ``status`` the agent's files."""

    def __init__(self, folder: Path) -> None:
        name = f"lhost-{secrets.token_hex(3)}"
        self.node, self.bridge, self.outside = (f"{name}-{part}" for part in ("node", "bridge", "outside"))
        self.plan, self.status = folder / "plan.json", folder / "status.json"
        self._processes: list[subprocess.Popen[str]] = []

    # Making and removing.

    def make(self) -> None:
        for name in (self.node, self.bridge, self.outside):
            netns.ensure(name)
            with netns.inside(name):
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
                Path("/proc/sys/net/ipv6/conf/default/router_solicitations").write_text("0")
            self.run(name, "ip link set lo up")
        self.run(
            self.node,
            f"ip link add up0 address {MACS[0]} type veth peer name out0 address {MACS[1]} netns {self.outside}",
        )
        for version, length in ((4, 24), (6, 64)):
            self.run(self.node, f"ip addr add {NODE[version]}/{length} dev up0")
            self.run(self.outside, f"ip addr add {WORLD[version]}/{length} dev out0")
        self.run(self.outside, "ip link set out0 up")
        self.run(self.node, "ip link set up0 up")
        for version in (4, 6):
            self.run(self.node, f"ip neigh add {WORLD[version]} lladdr {MACS[1]} dev up0")
            self.run(self.outside, f"ip neigh add {NODE[version]} lladdr {MACS[0]} dev out0")
            self.run(self.node, f"ip -{version} route add default via {WORLD[version]}")
            self.run(self.outside, f"ip -{version} route add default via {NODE[version]}")
        self.make_interface()
        # The kernel adds it when the link has come up at both ends.
        until(lambda: "fe80" in self.on_node("ip -6 addr show dev up0"), "the uplink has come up")

    def make_interface(self) -> None:
        """As Open vSwitch leaves it: down, with its MAC. The other end answers for pods, VIPs and NodePorts."""
        mac = f"address {HOST_MAC}"
        peer = f"peer name br0 address {GATEWAY_MAC} netns {self.bridge}"
        self.run(self.bridge, "ip link set lo up")
        self.run(self.node, f"ip link add {GATEWAY_INTERFACE} {mac} type veth {peer}")
        self.run(self.bridge, "ip link set br0 up")
        for version, gateway in ((4, "169.254.127.2"), (6, "fe80::2")):
            for address in (*OUTWARD[version], NODE_PORT[version], POD[version], UNROUTED[version]):
                self.run(self.bridge, f"ip addr replace {address}/{32 if version == 4 else 128} dev br0")
            self.run(self.bridge, f"ip neigh replace {gateway} lladdr {HOST_MAC} dev br0")
            self.run(self.bridge, f"ip -{version} route replace default via {gateway} dev br0 onlink")

    def remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        for name in (self.node, self.bridge, self.outside):
            netns.remove(name)

    # Commands.

    def run(self, namespace: str, line: str, *, check: bool = True) -> str:
        """What it printed; the words are split at spaces."""
        done = subprocess.run(
            netns.command(namespace, *line.split()),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def on_node(self, line: str) -> str:
        return self.run(self.node, line)

    def start(self, namespace: str, *words: str) -> subprocess.Popen[str]:
        """A process that ends with the site at the latest; its output can be read."""
        process = subprocess.Popen(
            netns.command(namespace, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._processes.append(process)
        return process

    # The agent.

    def write_plan(self, program: HostProgram, digest: str) -> None:
        fresh = self.plan.with_suffix(".new")
        fresh.write_text(json.dumps({"host": program.as_json(), "digest": digest}))
        fresh.replace(self.plan)

    def keep(self, program: HostProgram = PROGRAM) -> dict[str, Any]:
        """One pass of a fresh agent in this process; its status."""
        self.write_plan(program, "one")
        with netns.inside(self.node):
            agent = Agent(Settings(self.plan, self.status))
            try:
                agent._look()
            finally:
                agent._routing.close()
        return self.told()

    def start_agent(self, *options: str) -> subprocess.Popen[str]:
        files = ("--plan", str(self.plan), "--status", str(self.status))
        return self.start(self.node, *COMMAND, *files, *options)

    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.status.read_text())) if self.status.exists() else {}

    def await_digest(self, digest: str) -> None:
        until(lambda: self.told().get("digest") == digest, f"digest {digest!r}: {self.told()}")

    def remove_all(self) -> str:
        """What an operator does to take the agent's work away."""
        done = subprocess.run(
            netns.command(self.node, *COMMAND, "--remove"),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout + done.stderr

    def picture(self) -> list[str]:
        """All that the node's stack is set to, but for what time changes: lines in an order of their own."""
        commands = (
            "nft list ruleset",
            *(
                f"ip -{version} {what}"
                for version in (4, 6)
                for what in ("rule show", "route show table all", "neigh show nud permanent", "addr show")
            ),
        )
        lines = "\n".join(self.on_node(each) for each in commands).splitlines()
        # Counts; numbers of links and their other ends; an address's life; what the kernel adds where it forwards.
        changing = re.compile(r"packets \d+ bytes \d+|^\d+: |@\S+:|valid_lft \S+|^anycast.*")
        return sorted(filter(None, (changing.sub("", line) for line in lines)))

    # Packets.

    def listen(
        self, namespace: str, address: str, port: int, kind: int = socket.SOCK_STREAM
    ) -> socket.socket:
        with netns.inside(namespace):
            its = socket.socket(_family(address), kind)
        its.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        its.settimeout(PATIENCE)
        its.bind((address, port))
        if kind == socket.SOCK_STREAM:
            its.listen()
        return its

    def connect(
        self,
        namespace: str,
        address: str,
        port: int,
        source: tuple[str, int] | None = None,
        patience: float = PATIENCE,
    ) -> socket.socket:
        """Raises OSError."""
        with netns.inside(namespace):
            return socket.create_connection((address, port), patience, source)

    def send(self, namespace: str, source: str, address: str, port: int, payload: bytes) -> None:
        """One datagram from an address that the sender need not have."""
        with netns.inside(namespace), socket.socket(_family(address), socket.SOCK_DGRAM) as sender:
            sender.setsockopt(*((0, 15) if "." in address else (41, 78)), 1)  # IP_FREEBIND, IPV6_FREEBIND
            with contextlib.suppress(OSError):
                sender.bind((source, 0))
                sender.sendto(payload, (address, port))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def exchange(
    site: Site, server: tuple[str, str, int], client: tuple[str, str, int], source: str = ""
) -> Iterator[tuple[Any, Any]]:
    """A listener ``server`` (namespace, address, port), and a connection of ``client`` (namespace, called address, port).

    Yields the client's socket and the server's, after a word went in each direction.
    """
    with site.listen(*server) as listener, site.connect(*client, (source, 0) if source else None) as calling:
        called, _ = listener.accept()
        with called:
            speak(calling, called)
            yield calling, called


def speak(one: socket.socket, other: socket.socket) -> None:
    """A word in each direction arrives, within the sockets' timeout."""
    for sender, receiver in ((one, other), (other, one)):
        receiver.settimeout(PATIENCE)
        sender.sendall(b"word")
        assert receiver.recv(4) == b"word"


def end(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Signal, wait for the end, and return what it had printed."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    return output
