"""A small OpenFlow 1.5 client for a bridge's management socket, for tests and benchmarks only."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Self

from lace_sdn.openflow import wire
from lace_sdn.openflow.wire.dumps import FLOW_DESC, GROUP_DESC
from lace_sdn.openflow.wire.metering import METER_DESC

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Flow, Group, Meter

BOUND_S = 60.0
"""Seconds within which the switch must answer."""

ERROR, BARRIER_REPLY, ECHO_REQUEST = 1, 21, 2
WRITE_SIZE = 65536


class OpenFlowClient:
    """One connection. Raises TimeoutError when the switch is silent, ConnectionError when it hangs up."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(BOUND_S)
        self._socket.connect(str(path))
        self._socket.sendall(wire.hello(1))
        self._rest = bytearray()
        self._xids = itertools.count(100)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, *messages: bytes) -> bytes:
        """All that the switch says until it has done ``messages``, one OpenFlow message behind the other."""
        barrier_xid = next(self._xids)
        data = memoryview(b"".join((*messages, wire.barrier(barrier_xid))))
        for start in range(0, len(data), WRITE_SIZE):
            self._socket.sendall(data[start : start + WRITE_SIZE])
        answers = []
        while True:
            message = self._message()
            if message[1] == BARRIER_REPLY and int.from_bytes(message[4:8], "big") == barrier_xid:
                return b"".join(answers)
            answers.append(message)

    def errors(self, answers: bytes) -> list[tuple[int, int, int]]:
        """Transaction id, type and code of each error among ``answers``."""
        found = []
        while answers:
            size = int.from_bytes(answers[2:4], "big")
            if answers[1] == ERROR:
                fields = (answers[4:8], answers[8:10], answers[10:12])
                found.append(tuple(int.from_bytes(each, "big") for each in fields))
            answers = answers[size:]
        return found

    def commit(self, delta: Delta) -> None:
        """All of ``delta``, flows and groups in one bundle. Raises ValueError with the switch's errors when it is refused."""
        before = [wire.meter_add(each, next(self._xids)) for each in delta.add_meters]
        before += [wire.meter_modify(each, next(self._xids)) for each in delta.modify_meters]
        after = [wire.meter_delete(each, next(self._xids)) for each in delta.remove_meters]
        answers = self.ask(*before)
        answers += self.ask(wire.bundle(delta, next(self._xids), self._xids))
        refused = self.errors(answers + self.ask(*after))
        if refused:
            raise ValueError(f"the switch refused (xid, type, code): {refused}")

    def flows(self) -> list[Flow]:
        return wire.decode_flow_dump(
            wire.bodies(self.ask(wire.flow_dump_request(next(self._xids))), FLOW_DESC)
        )

    def groups(self) -> list[Group]:
        return wire.decode_group_dump(
            wire.bodies(self.ask(wire.group_dump_request(next(self._xids))), GROUP_DESC)
        )

    def meters(self) -> list[Meter]:
        return wire.read_meter_dump(
            wire.bodies(self.ask(wire.meter_dump_request(next(self._xids))), METER_DESC)
        )

    def _message(self) -> bytes:
        while len(self._rest) < 8 or len(self._rest) < int.from_bytes(self._rest[2:4], "big"):
            received = self._socket.recv(1 << 20)
            if not received:
                raise ConnectionError("the switch closed the connection")
            self._rest += received
        size = int.from_bytes(self._rest[2:4], "big")
        message = bytes(self._rest[:size])
        del self._rest[:size]
        return message
