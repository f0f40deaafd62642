"""A real Open vSwitch with dummy datapaths, in a folder of its own: needs no root and touches nothing of the system's switch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

BOUND_S = 20.0
"""Seconds within which a daemon must have come up or gone."""

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class DummySwitch:
    """ovsdb-server and ovs-vswitchd with own database, sockets and logs; ``with DummySwitch() as switch: ...``.

    ``environment`` is added to the daemons' environment; ``has_real_tunnels``: Geneve ports encapsulate. Raises CalledProcessError with the tool's output when a
    tool fails, TimeoutError when a daemon does not come up.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, has_real_tunnels: bool = False
    ) -> None:
        # Unix socket paths end at 107 bytes: a short folder, not pytest's.
        self.folder = Path(tempfile.mkdtemp(prefix="lacedummy-", dir="/tmp"))
        self.environment = {
            **os.environ,
            **dict.fromkeys(("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), str(self.folder)),
            **(environment or {}),
        }
        # "override" makes dummies of tunnel ports too: they would neither encapsulate nor decapsulate.
        self._dummies = (
            ("--enable-dummy", "--disable-system-route") if has_real_tunnels else ("--enable-dummy=override",)
        )
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def db(self) -> str:
        """The OVSDB target, as for ``ovs-vsctl --db``."""
        return f"unix:{self.folder}/db.sock"

    def management_socket(self, bridge: str) -> Path:
        """The unix socket on which the bridge speaks OpenFlow without any controller."""
        return self.folder / f"{bridge}.mgmt"

    @property
    def control(self) -> Path:
        """The unix socket of ovs-vswitchd for ovs-appctl's commands, another one after every start."""
        return self.folder / f"ovs-vswitchd.{int((self.folder / 'ovs-vswitchd.pid').read_text())}.ctl"

    def start(self) -> Self:
        """Both daemons up and answering."""
        try:
            self._run("ovsdb-tool", "create", f"{self.folder}/conf.db", _SCHEMA)
            self._spawn(
                "ovsdb-server",
                f"{self.folder}/conf.db",
                f"--remote=punix:{self.folder}/db.sock",
                "--unixctl=db.ctl",
            )
            wait_until((self.folder / "db.sock").exists, "ovsdb-server's socket")
            self.vsctl("--no-wait", "init")
            self._start_vswitchd()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends both daemons, by pid, and removes the folder; may be called twice."""
        while self._daemons:
            self._end_last_daemon()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def restart_vswitchd(self) -> None:
        """ovs-vswitchd ends and comes back, without flows; the database stays."""
        self._end_last_daemon()
        self._start_vswitchd()

    def freeze_vswitchd(self) -> None:
        """ovs-vswitchd neither runs nor ends, as in a machine that hangs; ``stop`` still ends it."""
        self._daemons[-1].send_signal(signal.SIGSTOP)

    def vsctl(self, *arguments: str) -> str:
        """The output of ovs-vsctl."""
        return self._run("ovs-vsctl", f"--db={self.db}", "--timeout=20", *arguments)

    def ofctl(self, verb: str, bridge: str, *arguments: str, stdin: str = "") -> str:
        """The output of ``ovs-ofctl -O OpenFlow15 VERB BRIDGE ARGUMENTS``; ``-`` among the arguments reads ``stdin``."""
        options = [each for each in arguments if each.startswith("--")]
        others = [each for each in arguments if not each.startswith("--")]
        target = f"unix:{self.management_socket(bridge)}"
        return self._run("ovs-ofctl", "-O", "OpenFlow15", *options, verb, target, *others, stdin=stdin)

    def appctl(self, *arguments: str) -> str:
        """The output of ``ovs-appctl ARGUMENTS`` at ovs-vswitchd."""
        return self._run("ovs-appctl", "-t", "ovs-vswitchd", *arguments)

    def add_bridge(self, name: str, *settings: str) -> None:
        """A dummy bridge: drops without flows, speaks OpenFlow 1.3 to 1.5; ``settings``: columns, ``key=value``."""
        columns = (
            "datapath_type=dummy",
            "fail_mode=secure",
            "protocols=OpenFlow13,OpenFlow14,OpenFlow15",
            *settings,
        )
        self.vsctl("--may-exist", "add-br", name, "--", "set", "Bridge", name, *columns)
        wait_until(self.management_socket(name).exists, f"the socket of bridge {name}")

    def remove_bridge(self, name: str) -> None:
        self.vsctl("--if-exists", "del-br", name)

    def add_port(self, bridge: str, name: str, ofport: int, *settings: str) -> None:
        """A dummy port numbered ``ofport``; ``settings``: columns of Interface, ``key=value``."""
        columns = ("type=dummy", f"ofport_request={ofport}", *settings)
        self.vsctl("--may-exist", "add-port", bridge, name, "--", "set", "Interface", name, *columns)

    def _start_vswitchd(self) -> None:
        """The daemon started last."""
        options = (*self._dummies, "--disable-system", "--pidfile")
        self._spawn("ovs-vswitchd", self.db, *options)
        wait_until(lambda: self._answers("version"), "ovs-vswitchd's answer")

    def _end_last_daemon(self) -> None:
        daemon = self._daemons.pop()
        daemon.send_signal(signal.SIGTERM)
        daemon.send_signal(signal.SIGCONT)
        try:
            daemon.wait(BOUND_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _spawn(self, program: str, *arguments: str) -> None:
        command = (
            # Should the test process be killed, its daemons end with it.
            "setpriv",
            "--pdeathsig",
            "TERM",
            program,
            *arguments,
            f"--log-file={self.folder}/{program}.log",
            "-vconsole:off",
            "-vsyslog:off",
        )
        self._daemons.append(
            subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def _answers(self, *arguments: str) -> bool:
        try:
            self.appctl(*arguments)
        except subprocess.CalledProcessError:
            return False
        return True

    def _run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr[-2000:])
            raise error
        return done.stdout


def wait_until(holds: Callable[[], bool], what: str, bound_s: float = BOUND_S) -> None:
    """Returns when ``holds()``; raises TimeoutError, naming ``what``, when that takes more than ``bound_s`` seconds."""
    end = time.monotonic() + bound_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {bound_s:g} s")
        time.sleep(0.02)
