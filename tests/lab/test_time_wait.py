"""The two ends remember a connection longer than conntrack does: a port that is used again works all the same.

Who closes first keeps the connection for a minute (TIME_WAIT, RFC 9293 section 3.6.1); conntrack forgets it sooner. A SYN that the end takes for an old
segment is answered by an ACK (RFC 5961 section 4), that by a reset, and the next SYN must find everything open.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import agent_client, datapath, netns, processes
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Bring

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
HAIRPIN = Path(__file__).parents[2] / "flows" / "hairpin"
SERVER, SERVER_PORT = "loop/alone", 8080
SAME_NODE, OTHER_NODE = "loop/pair-0", "loop/pair-1"
VIP_THEN_POD, POD_THEN_VIP = ("vip", "pod"), ("pod", "vip")
PORTS = range(20000, 20000 + 24 * 100, 100)
"""So far from each other that none is another one's when conntrack moves it on. Every second SYN is taken for an old one."""
PATIENCE = 20.0
"""Seconds for all calls together; the clients' kernel sends a SYN again after one second at the latest, then after two more."""


@contextmanager
def _greeting(lab: Lab) -> Iterator[None]:
    """The server says who it is, and closes first."""
    with netns.inside(lab.pod_namespace(SERVER)):
        listener = socket.create_server(("", SERVER_PORT), family=socket.AF_INET6, dualstack_ipv6=True)

    def serve() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.sendall(SERVER.encode())

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answered(lab: Lab, client: str, target: tuple[str, int]) -> int:
    """How many calls from ``PORTS``, all at once, were served to their end."""
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        streams = [stack.enter_context(_calling(lab, client, target, port)) for port in PORTS]
        return sum(_is_served(stream, deadline) for stream in streams)


def _calling(lab: Lab, client: str, target: tuple[str, int], port: int) -> socket.socket:
    with netns.inside(lab.pod_namespace(client)):
        stream = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.setblocking(False)
    stream.bind(("", port))
    stream.connect_ex(target)
    return stream


def _is_served(stream: socket.socket, deadline: float) -> bool:
    try:
        said = b""
        while True:
            stream.settimeout(max(0.01, deadline - time.monotonic()))
            part = stream.recv(100)
            if not part:
                return said == SERVER.encode()
            said += part
    except OSError:
        return False


def _resets(lab: Lab, pod: str) -> int:
    """Segments with RST that the pod's kernel has sent: "OutRsts" of RFC 4022."""
    with netns.inside(lab.pod_namespace(pod)):
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("OutRsts")])


def _forget(lab: Lab) -> None:
    """What conntrack does by itself 30 to 50 seconds after a connection was closed."""
    for folder in lab.nodes.iterdir():
        environment = {**os.environ, **Switch(lab, folder.name).environment()}
        processes.run(["ovs-appctl", "-t", "ovs-vswitchd", "dpctl/flush-conntrack"], env=environment)


def _targets(built: Built, family: int) -> dict[str, tuple[str, int]]:
    """Two ways to the server: its Service's VIP, and itself."""
    vips = next(each.vips for each in built.state.services if each.id == SERVER)
    own = built.state.endpoint_by_id[SERVER].addresses
    vip, address = (next(str(each) for each in some if each.version == family) for some in (vips, own))
    return {"vip": (vip, 80), "pod": (address, SERVER_PORT)}


@pytest.mark.parametrize(
    ("client", "family", "ways"),
    [
        (SAME_NODE, 4, VIP_THEN_POD),
        (SAME_NODE, 6, POD_THEN_VIP),
        (OTHER_NODE, 4, POD_THEN_VIP),
        (OTHER_NODE, 6, VIP_THEN_POD),
    ],
)
def test_a_port_that_the_server_still_remembers_works_again(
    standing: Lab, bring: Bring, client: str, family: int, ways: tuple[str, str]
) -> None:
    targets = _targets(bring(standing, HAIRPIN), family)
    first, second = (targets[way] for way in ways)
    agent_client.settle(standing, ())  # its ports are free for a server that closes first
    with _greeting(standing):
        assert _answered(standing, client, first) == len(PORTS)
        _forget(standing)
        before = _resets(standing, client)
        assert _answered(standing, client, second) == len(PORTS)
    # On the kernel's datapath all are served, and some runs see no reset.
    is_met = _resets(standing, client) > before or not datapath.of(standing).is_userspace
    assert is_met, "no SYN met a connection that the server remembers"
