"""``lace-sdn controller`` whose I/O calls fail as a plan says: ``python injected.py FOLDER OPTIONS...``.

Every call that goes to the system (files, folders, sockets) from our code or from a library on our behalf passes here. Its *site* is the operation
and the innermost place of Lace SDN that led to it (or of a library, where none of ours did). SIGUSR1: FOLDER/plan is read (JSON, see ``Plan``), and
FOLDER/sites is written: the sites that were called since the last plan, and how often.
"""

import lace_sdn.switch.patched  # noqa: I001 - must come first

import errno
import io
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import eventlet
from eventlet.greenio.base import GreenSocket

import lace_sdn

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = str(Path(lace_sdn.__file__).parent) + os.sep
LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}ovs{os.sep}")
WITHOUT = (f"{os.sep}eventlet{os.sep}", f"{os.sep}greenlet{os.sep}")
"""Libraries that only pass a call on."""

_open, _rename = io.open, os.rename
_clock = time.monotonic


@dataclass(frozen=True)
class Plan:
    """From its ``first`` call on, and then for ``seconds`` (0: only that call), calls of ``site`` fail as ``kind`` says.

    ``site``: "" for none; one that ends in "*" stands for all that begin so. ``until``: a file that says when, so that it outlasts a restart of the process.
    """

    site: str = ""
    first: int = 1
    kind: str = ""
    seconds: float = 0.0


class Injector:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.plan = Plan()
        self.calls: Counter[str] = Counter()
        self._until: float | None = None

    def load(self, *_: object) -> None:
        """Write what was called, begin with the plan."""
        with _open(self._folder / "sites.new", "w") as file:
            json.dump({"calls": dict(self.calls), "failed": self._until is not None}, file)
        with _open(self._folder / "plan") as file:
            self.plan = Plan(**json.load(file))
        self.calls, self._until = Counter(), None
        _rename(self._folder / "sites.new", self._folder / "sites")

    def kind_now(self, operation: str) -> str:
        """How the call that is about to be made fails; "" if it does not."""
        site = site_of(operation)
        if not site:
            return ""
        self.calls[site] += 1
        plan = self.plan
        if not plan.site or not (
            site == plan.site or (plan.site.endswith("*") and site.startswith(plan.site[:-1]))
        ):
            return ""
        if self._until is None:
            if self.calls[site] < plan.first:
                return ""
            self._until = _clock() + plan.seconds
            return plan.kind
        return plan.kind if _clock() < self._until else ""


def site_of(operation: str) -> str:
    """``operation file:function:line`` of the innermost place; "" for what is neither ours nor a library's on our behalf."""
    frame, library = sys._getframe(2), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            where = f"{operation} {file.removeprefix(OURS)}:{frame.f_code.co_name}:{frame.f_lineno}"
            above = frame.f_back
            while above is not None and not above.f_code.co_filename.startswith(OURS):
                above = above.f_back
            return f"{where} < {above.f_code.co_name}" if above is not None else where
        if file != __file__ and not library and any(part in file for part in LIBRARIES):
            if not any(part in file for part in WITHOUT):
                library = f"{operation} {Path(file).parent.name}/{Path(file).name}:{frame.f_code.co_name}:{frame.f_lineno}"
        elif file.startswith("<frozen importlib"):
            return ""
        frame = frame.f_back
    return library if operation.split(maxsplit=1)[0] in SOCKET_OPERATIONS else ""


def fault(kind: str) -> Exception:
    """``bug``: what no I/O raises, as a library's mistake would; else the name of an errno."""
    if kind == "bug":
        return RuntimeError("injected: a mistake of somebody's")
    number = getattr(errno, kind)
    return OSError(number, f"injected: {os.strerror(number)}")


class File:
    """An open file, each of whose calls may fail."""

    def __init__(self, its: Any, injector: Injector) -> None:
        self._its = its
        self._injector = injector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._its, name)

    def __enter__(self) -> Self:
        self._its.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._its.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._its)

    def read(self, *size: int) -> Any:
        if kind := self._injector.kind_now("read"):
            raise fault(kind)
        return self._its.read(*size)

    def write(self, data: Any) -> Any:
        if kind := self._injector.kind_now("write"):
            if kind == "half":
                self._its.write(data[: len(data) // 2])
                self._its.flush()
                kind = "ENOSPC"
            raise fault(kind)
        return self._its.write(data)

    def flush(self) -> None:
        if kind := self._injector.kind_now("flush"):
            raise fault(kind)
        self._its.flush()


FILE_OPERATIONS = (
    *("stat", "lstat", "scandir", "listdir", "open", "close", "replace", "rename", "unlink", "remove"),
    *("mkdir", "symlink", "readlink", "fsync", "chmod"),
)
SOCKET_OPERATIONS = (
    "connect",
    "connect_ex",
    "accept",
    "send",
    "sendall",
    "recv",
    "recv_into",
    "bind",
    "listen",
)

HANG = 5.0
"""Seconds."""


def file_call(injector: Injector, operation: str, real: "Callable[..., Any]") -> "Callable[..., Any]":
    def call(*arguments: Any, **options: Any) -> Any:
        if kind := injector.kind_now(operation):
            raise fault(kind)
        return real(*arguments, **options)

    return call


def socket_call(injector: Injector, operation: str, real: "Callable[..., Any]") -> "Callable[..., Any]":
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        kind = injector.kind_now(operation)
        if not kind:
            return real(self, *arguments, **options)
        if kind == "hang":
            eventlet.sleep(HANG)
            return real(self, *arguments, **options)
        if kind == "eof":
            return b"" if operation == "recv" else 0
        if kind == "half":
            real(self, arguments[0][: len(arguments[0]) // 2], *arguments[1:], **options)
            kind = "ECONNRESET"
        if operation == "connect_ex" and kind != "bug":
            return getattr(errno, kind)
        raise fault(kind)

    return call


def install(folder: Path) -> None:
    injector = Injector(folder)
    real_open = io.open

    def opened(*arguments: Any, **options: Any) -> Any:
        if kind := injector.kind_now("open"):
            raise fault(kind)
        its = real_open(*arguments, **options)
        return File(its, injector) if site_of("any") else its

    io.open = opened  # type: ignore[assignment]
    for name in FILE_OPERATIONS:
        setattr(os, name, file_call(injector, name, getattr(os, name)))
    for name in SOCKET_OPERATIONS:
        if name in GreenSocket.__dict__:
            setattr(GreenSocket, name, socket_call(injector, name, getattr(GreenSocket, name)))
    signal.signal(signal.SIGUSR1, injector.load)
    if (folder / "plan").exists():
        injector.load()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    from lace_sdn.cli.controller import controller

    install(where)
    controller(sys.argv[2:], prog_name="lace-sdn controller")
