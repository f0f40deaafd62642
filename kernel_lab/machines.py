"""The kinds of machine: KVM, user-mode Linux, emulation. Each is started, watched and ended in namespaces of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kernel_lab import parts
from kernel_lab.parts import REPOSITORY, BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = 3072
"""MiB; only what is used is taken from this machine."""
UP = "KERNEL-LAB UP"
"""What ``init`` says when the modules are there."""


def run(share: Path, only: str | None, limit: int) -> int:
    """The exit status of the command in ``share``, in the first kind of machine that comes up. Raises BuildError if none does."""
    deadline = time.monotonic() + limit
    said = []
    for kind in (only,) if only else ALL:
        start, patience = ALL[kind]
        try:
            with ExitStack() as used:
                command = start(share, used)
                status = _watch(kind, command, share, patience, deadline)
        except BuildError as error:
            said.append(f"{kind}: {error}")
            print(f"kernel-lab: {said[-1]}", flush=True)
            continue
        return status
    raise BuildError("no machine could be had; " + "; ".join(said))


def _kvm(share: Path, used: ExitStack) -> list[str]:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise BuildError("no /dev/kvm that may be used here")
    if _has_failed().exists():
        raise BuildError(
            f"it did not come up since this machine was started; `rm {_has_failed()}` tries again"
        )
    return _qemu(share, used, "-accel", "kvm", "-cpu", "host", "-smp", str(os.cpu_count()))


def _emulation(share: Path, used: ExitStack) -> list[str]:
    # Guest time counts instructions, so that no time limit inside passes because this machine is slow or busy.
    return _qemu(share, used, "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max")


def _qemu(share: Path, used: ExitStack, *processor: str) -> list[str]:
    root, kernel = parts.root().ensure(), parts.kernel().ensure()
    disk = parts.disk(root).ensure()
    for part in (kernel, disk):
        used.enter_context(parts.in_use(part))
    parts.require("qemu")
    shared = "local,security_model=none,multidevs=remap"
    return [
        "qemu-system-x86_64", *processor, "-m", str(MEMORY), "-nic", "none", "-display", "none", "-monitor", "none",
        "-serial", "stdio", "-no-reboot", "-kernel", str(kernel / "linux"), "-initrd", str(kernel / "initrd.gz"),
        "-append", "console=ttyS0 panic=-1 mitigations=off quiet",
        "-drive", f"file={disk / 'disk'},format=raw,if=virtio,snapshot=on,cache=unsafe",
        "-virtfs", f"{shared},path={share},mount_tag=share,id=share",
        "-virtfs", f"{shared},path={kernel / 'lib/modules'},mount_tag=modules,id=modules,readonly=on",
    ]  # fmt: skip


def _uml(share: Path, used: ExitStack) -> list[str]:
    root, uml, xstate = parts.root().ensure(), parts.uml().ensure(), parts.xstate().ensure()
    for part in (root, uml, xstate):
        used.enter_context(parts.in_use(part))
    return [
        "env", f"LD_PRELOAD={xstate / 'xstate.so'}", str(uml / "linux"), f"mem={MEMORY}M",
        "root=/dev/root", "rootfstype=hostfs", f"rootflags={root}", "ro", "init=/sbin/kernel-lab", "con=null", "con0=null,fd:1",
        "quiet", "panic=-1", f"uml_dir={share}", f"lab_share={share}", f"lab_modules={uml / 'lib/modules'}",
    ]  # fmt: skip


ALL: dict[str, tuple[Callable[[Path, ExitStack], list[str]], float]] = {
    "kvm": (_kvm, 20),
    "uml": (_uml, 180),
    "emulation": (_emulation, 900),
}
"""In the order of preference; how the command line is made, and the seconds until the machine must be up."""


def _has_failed() -> Path:
    """A note that KVM is there and does not work, good until this machine starts anew."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return parts.CACHE / f"kvm-failed-{boot}"


def _watch(kind: str, command: list[str], share: Path, patience: float, deadline: float) -> int:
    """Pass on what the machine says once it is up. Raises BuildError if it does not come up, ends early or takes too long."""
    began = time.monotonic()
    with _started(command) as lines:
        before = []
        while True:
            line = _next(lines, min(began + patience, deadline))
            if line is None or line.startswith(UP):
                break
            before.append(line)
        if line is None:
            if kind == "kvm":
                _has_failed().touch()
            end = "\n".join(before[-20:]) or "nothing"
            raise BuildError(
                f"not up within {patience:.0f} s (after {time.monotonic() - began:.0f} s); it said:\n{end}"
            )
        print(
            f"kernel-lab: {kind}, Linux {line.split()[2]}, up after {time.monotonic() - began:.0f} s",
            flush=True,
        )
        while (line := _next(lines, deadline)) is not None:
            print(line, flush=True)
    status = share / "status"
    if not status.exists():
        raise SystemExit("kernel-lab: the machine ended, or its time was over, before its command had ended")
    return int(status.read_text())


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[queue.Queue[str | None]]:
    """In namespaces of its own, which end with it whatever happens to us."""
    isolated = ["setpriv", "--pdeathsig", "TERM", str(REPOSITORY / ".ci/isolated"), *command]
    lines: queue.Queue[str | None] = queue.Queue()
    with subprocess.Popen(
        isolated,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        try:
            yield lines
        finally:
            process.terminate()  # .ci/isolated ends all that is inside


def _read(stream: IO[bytes], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.decode(errors="replace").rstrip("\r\n"))
    lines.put(None)


def _next(lines: queue.Queue[str | None], until: float) -> str | None:
    """The next line; None at the end, or when the time is over."""
    try:
        return lines.get(timeout=max(0, until - time.monotonic()))
    except queue.Empty:
        return None
