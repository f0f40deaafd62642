"""The controller's side of the CNI plugin: a unix socket, one request a connection, one answer (``lace_sdn.cni`` is the other side).

Source: CNI specification 1.1.0.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.cni import SPOOL, VERSIONS
from lace_sdn.controller import cni_requests
from lace_sdn.controller.attaching import AttachError
from lace_sdn.controller.cni_requests import CHECK_FAILED, NOT_AVAILABLE, TRY_AGAIN
from lace_sdn.node import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lace_sdn.controller.attacher import Attacher
    from lace_sdn.controller.cni_requests import Request
    from lace_sdn.controller.sweeper import Sweeper

log = logging.getLogger(__name__)

Data = dict[str, Any]

_LONGEST: Final = 1 << 20
# Seconds.
_PATIENCE: Final = 10.0
_RETRY: Final = 0.2


class CniServer:
    """Serves ``path`` until ``close``; ``lacking`` says why the node is not ready, "" when it is."""

    def __init__(self, path: Path, attacher: Attacher, sweeper: Sweeper, lacking: Callable[[], str]) -> None:
        self._path = path
        self._attacher = attacher
        self._sweeper = sweeper
        self._lacking = lacking
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen. Raises OSError. Whoever sees the socket can connect: it appears under its name when it listens."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(128)
        draft.replace(self._path)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Stop; the plugin then says that there is no controller."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # whoever waits in it is told
            listener.close()

    def consume_spool(self) -> bool:
        """Carry out what was deleted while nobody listened. What is no request to delete is removed, and said.

        False: something is left, which is to be tried again.
        """
        folder = self._path.parent / SPOOL
        files = sorted(folder.glob("[!.]*")) if folder.exists() else []
        return all([self._consume(file) for file in files])  # noqa: C419 - each is tried

    def _consume(self, file: Path) -> bool:
        """False: it could not be carried out, and is left."""
        try:
            if request := _deletion(file):
                self._attacher.delete(request.sandbox)
            file.unlink(missing_ok=True)
        except (AttachError, NodeError, OSError) as error:
            log.warning("%s is not carried out: %s; it is left, and tried again", file, error)
            return False
        except Exception:
            log.exception("%s is not carried out; it is left, and tried again", file)
            return False
        return True

    def _accept(self, listener: socket.socket) -> None:
        """Until it is closed. A process may have too many files open for a time."""
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if self._listener is listener:
                    log.error("CNI: %s takes no connection: %s; trying again", self._path, error)  # noqa: TRY400
                    time.sleep(_RETRY)
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError as error:
                connection.close()
                log.error("CNI: a request cannot be served: %s; the plugin asks again", error)  # noqa: TRY400

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)
            connection.sendall(self.answer(_whole(connection)))

    def answer(self, message: bytes) -> bytes:
        """One request. Never raises."""
        version = VERSIONS[-1]
        try:
            request = cni_requests.read(message)
            version = request.version
            return cni_requests.said(self._carry_out(request))
        except AttachError as error:
            log.warning("CNI: %s", error)
            return cni_requests.refused(error, version)
        except NodeError as error:
            log.warning("CNI: %s", error)
            return cni_requests.refused(AttachError("the node's links cannot be seen", str(error)), version)
        except Exception as error:
            log.exception("CNI: a request failed")
            return cni_requests.refused(AttachError("the controller failed", repr(error), TRY_AGAIN), version)

    def _carry_out(self, request: Request) -> Data | None:
        match request.command:
            case "ADD":
                return cni_requests.result(request, self._attacher.add(request.sandbox))
            case "DEL":
                self._attacher.delete(request.sandbox)
            case "CHECK":
                if problems := self._attacher.check(request.sandbox):
                    found = "the pod's network is not as it was made"
                    raise AttachError(found, "; ".join(problems), CHECK_FAILED)
            case "GC":
                valid = request.valid
                if lacking := self._lacking():
                    raise AttachError("the node is not ready, nothing is removed", lacking, TRY_AGAIN)
                if valid is not None:
                    self._sweeper.sweep(valid)
            case "STATUS":
                if lacking := self._lacking():
                    raise AttachError("the node is not ready", lacking, NOT_AVAILABLE)
        return None


def _deletion(file: Path) -> Request | None:
    """The request; None, which is said, for what is none to delete. Raises OSError."""
    try:
        request = cni_requests.read(file.read_bytes())
    except AttachError as error:
        log.warning("%s is no request to delete a pod, and is removed: %s", file, error)
        return None
    if request.command != "DEL":
        log.warning(
            "%s is no request to delete a pod, and is removed: CNI_COMMAND is %r", file, request.command
        )
        return None
    return request


def _whole(connection: socket.socket) -> bytes:
    """All that comes until the other side has said all; what is too long is cut, and so refused."""
    parts, size = [], 0
    while size < _LONGEST and (part := connection.recv(1 << 16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
