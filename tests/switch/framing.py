"""How a test talks to the process that holds the switches: pickled values, each behind its length, over a unix socket."""

from __future__ import annotations

import copyreg
import pickle
import struct
from typing import TYPE_CHECKING, Any

from lace_sdn.openflow.fields import FIELD_BY_NAME, Field

if TYPE_CHECKING:
    import socket

_LENGTH = struct.Struct("!I")


def _reduce_field(field: Field) -> tuple[Any, tuple[str]]:
    return (_field_named, (field.name,))


def _field_named(name: str) -> Field:
    return FIELD_BY_NAME[name]


# Fields are compared by identity: there is one object a field in each process.
copyreg.pickle(Field, _reduce_field)


def send(stream: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    stream.sendall(_LENGTH.pack(len(data)) + data)


def receive(stream: socket.socket) -> Any:
    """Raises EOFError when the other side has gone."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return pickle.loads(_read(stream, length))  # noqa: S301 (our own process, over our own socket)


def _read(stream: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
