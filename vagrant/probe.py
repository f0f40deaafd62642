"""What runs in the pods of ``verify.sh``: ``serve NAME tcp/PORT udp/PORT ...`` answers with NAME; ``ask JSON`` tries connections and prints JSON.

One file without imports of others: its text is given to python3 in a pod. Asked are ``[probe, address, attempts]``; the answer to each is the sorted
list of what became of the attempts: ``NAME``, ``silence``, ``refused``, or an error in words. ``icmp`` is answered by ``echo``.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 2.0
"""Seconds without an answer."""
AT_ONCE = 32
LONGEST = 512


def main(words: list[str]) -> None:
    """As the module says."""
    if words[0] == "serve":
        serve(words[1], words[2:])
    else:
        asked = json.loads(words[1])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            print(json.dumps(list(pool.map(lambda each: outcomes(*each), asked))))


def serve(name: str, probes: list[str]) -> None:
    """For ever."""
    for probe in probes:
        protocol, _, port = probe.partition("/")
        work = _answer_streams if protocol == "tcp" else _answer_datagrams
        threading.Thread(target=work, args=(name.encode(), int(port))).start()
    threading.Event().wait()


def _listener(kind: socket.SocketKind, port: int) -> socket.socket:
    """Of both families, where there are both."""
    try:
        found = socket.socket(socket.AF_INET6, kind)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("::", port))
    except OSError:
        found = socket.socket(socket.AF_INET, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("0.0.0.0", port))  # noqa: S104 - a pod's only address
    return found


def _answer_streams(name: bytes, port: int) -> None:
    listener = _listener(socket.SOCK_STREAM, port)
    listener.listen(128)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(name + b"\n")
            except OSError:
                continue


def _answer_datagrams(name: bytes, port: int) -> None:
    listener = _listener(socket.SOCK_DGRAM, port)
    while True:
        _, peer = listener.recvfrom(LONGEST)
        listener.sendto(name, peer)


def outcomes(probe: str, address: str, attempts: int) -> list[str]:
    """Each once."""
    return sorted({_outcome(probe, address) for _ in range(attempts)})


def _outcome(probe: str, address: str) -> str:
    protocol, _, port = probe.partition("/")
    try:
        if protocol == "icmp":
            return _echo(address)
        return _stream(address, int(port)) if protocol == "tcp" else _datagram(address, int(port))
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return f"error: {error}"


def _stream(address: str, port: int) -> str:
    with socket.create_connection((address, port), PATIENCE) as connection:
        said = b""
        while not said.endswith(b"\n"):
            more = connection.recv(LONGEST)
            if not more:
                return "error: closed"
            said += more
    return said.decode().strip()


def _datagram(address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect((address, port))
        connection.send(b"who?")
        return connection.recv(LONGEST).decode()


def _echo(address: str) -> str:
    """RFC 792, RFC 4443: echo request 8 or 128, reply 0 or 129; the kernel makes ICMPv6's checksum."""
    is_six = ":" in address
    family, protocol = (socket.AF_INET6, 58) if is_six else (socket.AF_INET, socket.IPPROTO_ICMP)
    request, reply = (128, 129) if is_six else (8, 0)
    token = os.urandom(8)
    body = struct.pack("!BBHHH", request, 0, 0, 0x1ACE, 1) + token
    if not is_six:
        body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(PATIENCE)
        raw.sendto(body, (address, 0))
        while True:
            packet = raw.recv(LONGEST)
            found = packet if is_six else packet[(packet[0] & 15) * 4 :]
            if found[0] == reply and found.endswith(token):
                return "echo"


def _checksum(data: bytes) -> int:
    """RFC 1071, of an even number of octets."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    main(sys.argv[1:])
