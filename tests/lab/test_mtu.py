"""Pods whose links carry more than pods' packets may be: their kernels learn the MTU, and everything arrives."""

from __future__ import annotations

import errno
import secrets
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from streams import wait_for

from lace_sdn.lab import agent_client, cluster, links, netns
from lace_sdn.lab.names import Lab, pod_interface
from lace_sdn.pipeline.constants import DEFAULT_MTU as MTU
from lace_sdn.pipeline.constants import GATEWAY_IPV4, GATEWAY_IPV6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.kube.build import Built

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent / "mtu"
CLIENT, SERVER = "bulk/client", "bulk/server"
NODES = {CLIENT: "node1", SERVER: "node2"}
VIPS = {4: "10.96.170.1", 6: "fd00:96::170:1"}
TCP_PORT, UDP_PORT = 7000, 7001
VIP_TCP_PORT, VIP_UDP_PORT = 80, 53
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
GATEWAYS = {4: str(GATEWAY_IPV4), 6: str(GATEWAY_IPV6)}
LEVELS = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
# linux/in.h, linux/in6.h: IP_MTU_DISCOVER, IP_MTU, IP_PMTUDISC_DO; the same for IPv6.
DISCOVER, PATH_MTU = {4: 10, 6: 23}, {4: 14, 6: 24}
NEVER_FRAGMENT = 2
HEADERS = {4: 28, 6: 48}
"""Octets of IP and ICMP or UDP headers."""
PATIENCE = 20.0
MUCH = bytes(range(250)) * 4200
"""Somewhat more than a megabyte."""
BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 6])
BOTH_LINKS = pytest.mark.parametrize("link_mtu", [1500, 9000])


class Bulk:
    """The lab, its pods' addresses, and sockets in the pods."""

    def __init__(self, lab: Lab, built: Built) -> None:
        self.lab = lab
        self._pods = built.state.endpoint_by_id

    def address(self, pod: str, version: int) -> str:
        return next(str(each) for each in self._pods[pod].addresses if each.version == version)

    def widen(self, link_mtu: int) -> None:
        """Both pods have links that carry so much at both ends, and know nothing of any path."""
        for pod, node in NODES.items():
            namespace = self.lab.pod_namespace(pod)
            links.put_up(self.lab.node_namespace(node), pod_interface(pod), link_mtu)
            links.put_up(namespace, links.POD_DEVICE, link_mtu)
            for flag in ("-4", "-6"):
                with netns.inside(namespace):
                    subprocess.run(("ip", flag, "route", "flush", "cache"), check=True)

    def socket(self, pod: str, version: int, kind: socket.SocketKind) -> socket.socket:
        with netns.inside(self.lab.pod_namespace(pod)):
            made = socket.socket(FAMILIES[version], kind)
        made.settimeout(PATIENCE)
        return made

    def ping(self, version: int, size: int) -> str:
        """What ``ping`` of the server, once and never fragmented, says."""
        program = ("ping", "-n", "-c1", "-W2", "-Mdo", f"-s{size}", self.address(SERVER, version))
        with netns.inside(self.lab.pod_namespace(CLIENT)):
            return subprocess.run(program, capture_output=True, text=True, check=False, timeout=60).stdout

    def path_mtu(self, version: int, target: str) -> int:
        """What the client's kernel knows of the path."""
        with self.socket(CLIENT, version, socket.SOCK_DGRAM) as sock:
            sock.connect((target, 9))
            return sock.getsockopt(LEVELS[version], PATH_MTU[version])

    @contextmanager
    def sink(self, version: int) -> Iterator[None]:
        """The server reads until the end of a TCP connection, and then sends back all it read."""

        def serve() -> None:
            stream = listener.accept()[0]
            with stream:
                stream.settimeout(PATIENCE)
                stream.sendall(_all_of(stream))

        with self.socket(SERVER, version, socket.SOCK_STREAM) as listener, ThreadPoolExecutor(1) as worker:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", TCP_PORT))
            listener.listen()
            serving = worker.submit(serve)
            yield
            serving.result(PATIENCE)

    @contextmanager
    def echo(self, version: int) -> Iterator[None]:
        """The server sends every datagram back, until an empty one comes."""

        def serve() -> None:
            while True:
                data, peer = sock.recvfrom(65535)
                if not data:
                    return
                sock.sendto(data, peer)

        with self.socket(SERVER, version, socket.SOCK_DGRAM) as sock, ThreadPoolExecutor(1) as worker:
            sock.settimeout(3 * PATIENCE)
            sock.bind(("", UDP_PORT))
            serving = worker.submit(serve)
            try:
                yield
            finally:
                with self.socket(SERVER, version, socket.SOCK_DGRAM) as last:
                    last.sendto(b"", ("127.0.0.1" if version == 4 else "::1", UDP_PORT))
                serving.result(PATIENCE)


@pytest.fixture(scope="module")
def bulk() -> Iterator[Bulk]:
    lab = Lab(f"mtu-{secrets.token_hex(4)}")
    try:
        built = cluster.up(lab, HERE, lambda _step: None)
        agent_client.settle(lab, ())  # its ports are free for servers of ours
        yield Bulk(lab, built)
    finally:
        cluster.down(lab)


def _all_of(stream: socket.socket) -> bytes:
    found = bytearray()
    while piece := stream.recv(1 << 16):
        found += piece
    return bytes(found)


def _sent(sock: socket.socket, data: bytes) -> bytes | None:
    """What comes back; None for nothing within a second, or when the kernel says that it has learned something."""
    sock.settimeout(1.0)
    try:
        sock.send(data)
        return sock.recv(65535)
    except TimeoutError:
        return None
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return None


@BOTH_VERSIONS
@BOTH_LINKS
def test_one_packet_that_is_too_large_teaches_the_kernel_the_mtu(
    bulk: Bulk, version: int, link_mtu: int
) -> None:
    bulk.widen(link_mtu)
    target = bulk.address(SERVER, version)
    assert bulk.path_mtu(version, target) == link_mtu
    said = bulk.ping(version, 1500 - HEADERS[version])
    assert f"From {GATEWAYS[version]}" in said
    assert f"mtu={MTU}" in said.replace(" = ", "=")
    assert bulk.path_mtu(version, target) == MTU
    with bulk.socket(CLIENT, version, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(LEVELS[version], DISCOVER[version], NEVER_FRAGMENT)
        sock.connect((target, 9))
        with pytest.raises(OSError, match="too long") as raised:
            sock.send(bytes(MTU - HEADERS[version] + 1))
        assert raised.value.errno == errno.EMSGSIZE
    assert " 0% packet loss" in bulk.ping(version, MTU - HEADERS[version])


@BOTH_VERSIONS
@BOTH_LINKS
@pytest.mark.parametrize("through_vip", [False, True], ids=["pod", "vip"])
def test_a_megabyte_arrives_there_and_back(
    bulk: Bulk, version: int, link_mtu: int, *, through_vip: bool
) -> None:
    """Both ends offer and send segments of their links' MTU until they are told."""
    bulk.widen(link_mtu)
    target = (VIPS[version], VIP_TCP_PORT) if through_vip else (bulk.address(SERVER, version), TCP_PORT)
    with bulk.sink(version), bulk.socket(CLIENT, version, socket.SOCK_STREAM) as stream:
        stream.connect(target)
        stream.sendall(MUCH)
        stream.shutdown(socket.SHUT_WR)
        assert _all_of(stream) == MUCH
        assert stream.getsockopt(LEVELS[version], PATH_MTU[version]) == MTU


@BOTH_VERSIONS
@BOTH_LINKS
@pytest.mark.parametrize("through_vip", [False, True], ids=["pod", "vip"])
def test_a_datagram_of_many_fragments_arrives_once_the_mtu_is_known(
    bulk: Bulk, version: int, link_mtu: int, *, through_vip: bool
) -> None:
    """Through a VIP once a whole datagram has opened the connection; also where policies say who may use it."""
    bulk.widen(link_mtu)
    target = (VIPS[version], VIP_UDP_PORT) if through_vip else (bulk.address(SERVER, version), UDP_PORT)
    data = secrets.token_bytes(4000)
    with bulk.echo(version), bulk.socket(CLIENT, version, socket.SOCK_DGRAM) as sock:
        sock.connect(target)
        wait_for("a small datagram comes back", lambda: _sent(sock, b"small") == b"small", PATIENCE)
        wait_for("a large one too", lambda: _sent(sock, data) == data, PATIENCE)
        assert sock.getsockopt(LEVELS[version], PATH_MTU[version]) == MTU
