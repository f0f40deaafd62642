"""The way from inside a node to an API server that only this machine reaches."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

_PORT = 6443


@pytest.fixture
def inside() -> Iterator[str]:
    name = f"lace.relay-{secrets.token_hex(4)}.node"
    netns.ensure(name)
    subprocess.run(netns.command(name, "ip", "link", "set", "lo", "up"), check=True)
    yield name
    netns.remove(name)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def relay(inside: str, server: socket.socket) -> Iterator[str]:
    host, port = server.getsockname()
    program = [sys.executable, "-m", "lace_sdn.lab.api.relay", inside, str(_PORT), host, str(port)]
    with subprocess.Popen(program) as process:
        yield inside
        process.terminate()
        assert process.wait(10) == 0


def _connect(namespace: str) -> socket.socket:
    deadline = time.monotonic() + 10
    with netns.inside(namespace):
        while True:
            try:
                return socket.create_connection(("127.0.0.1", _PORT), 10)
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def test_bytes_pass_in_both_directions_and_each_end_is_passed_on(relay: str, server: socket.socket) -> None:
    with _connect(relay) as client:
        theirs, _ = server.accept()
        with theirs:
            client.sendall(b"question")
            assert theirs.recv(100) == b"question"
            client.shutdown(socket.SHUT_WR)
            assert theirs.recv(100) == b""
            large = secrets.token_bytes(1 << 20)
            sender = threading.Thread(target=theirs.sendall, args=(large,))
            sender.start()
            got = b""
            while len(got) < len(large):
                got += client.recv(1 << 16)
            sender.join()
            assert got == large


def test_a_server_that_is_gone_is_seen_at_once(relay: str, server: socket.socket) -> None:
    with _connect(relay) as first:
        server.accept()[0].close()
        assert first.recv(1) == b""
    server.close()
    with _connect(relay) as client:
        assert _is_over(client)


def _is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
