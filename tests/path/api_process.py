"""The fake API server as a process that can be stopped, hung and killed, with its objects in a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).parents[1] / "apiserver/serve.py"
_BOUND = 20.0


class ApiProcess:
    """On loopback; the port stays the same from one start to the next."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self._data = folder / "objects"
        self._process: subprocess.Popen[bytes] | None = None
        self._address = "127.0.0.1:0"

    @property
    def url(self) -> str:
        line = next(line for line in self.kubeconfig.read_text().splitlines() if "server:" in line)
        return line.partition("server:")[2].strip()

    def start(self, bound: float = _BOUND) -> None:
        """Returns when it answers, within so many seconds."""
        self.kubeconfig.unlink(missing_ok=True)
        arguments = [
            "--address",
            self._address,
            "--kubeconfig",
            str(self.kubeconfig),
            "--data-file",
            str(self._data),
        ]
        self._process = subprocess.Popen([sys.executable, str(_PROGRAM), *arguments])
        deadline = time.monotonic() + bound
        while not self.kubeconfig.exists():
            assert time.monotonic() < deadline, "the API server does not start"
            assert self._process.poll() is None, "the API server has ended"
            time.sleep(0.02)
        self._address = self.url.removeprefix("http://")

    def kill(self) -> None:
        """As a crash; what was written stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """It accepts and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``hang``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def faults(self, **values: Any) -> None:
        """Exactly these from now; ``expire`` and ``break`` happen once."""
        self._ask("/fake/faults", json.dumps(values).encode())

    def requests(self) -> int:
        """How many were asked until now."""
        return sum(each[-1] for each in self._ask("/fake/requests")["requests"])

    def verbs(self) -> set[tuple[str, str, str, str]]:
        """(user agent, verb, group, resource/subresource) of all that was asked."""
        asked = {tuple(each[:-1]) for each in self._ask("/fake/requests")["requests"]}
        return {each for each in asked if each[1] != "disturbed"}

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self._process.terminate()
            self._process.wait(_BOUND)

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, body, timeout=_BOUND) as answer:  # noqa: S310 - our own
            return json.loads(answer.read())
