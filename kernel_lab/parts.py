"""What the machines are made of, each part built once and kept by what it is made from: the root file system, kernels, a disk."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lace-sdn" / "kernel-lab"
SUITE = "bookworm"
PYTHON = "/opt/lace-sdn/bin/python"
"""Inside a machine."""
WORK_TREE = "/repository"
"""Where a machine has its copy of the work tree."""

ROOT_PACKAGES = (
    "ca-certificates", "conntrack", "curl", "ethtool", "iperf3", "iproute2", "iputils-ping", "kmod", "nftables",
    "openssl", "openvswitch-switch", "procps", "python3", "python3-venv", "tcpdump", "util-linux",
)  # fmt: skip
HOST_PACKAGES = {
    "root": ("mmdebstrap",),
    "uml": ("bc", "bison", "flex", "gcc", "kmod", "libc6-dev", "make", "xz-utils"),
    "qemu": ("busybox-static", "cpio", "e2fsprogs", "kmod", "qemu-system-x86"),
}
"""What the making of a part needs on this machine."""

_UML_OPTIONS = (
    "NF_CONNTRACK_ZONES=y", "NF_TABLES_INET=y", "NF_TABLES_IPV4=y", "NF_TABLES_IPV6=y", "NFT_NAT=m", "NFT_FIB=m",
    "NFT_FIB_INET=m", "NFT_FIB_IPV4=m", "NFT_FIB_IPV6=m",
)  # fmt: skip
"""What Debian's user-mode-linux lacks: connection tracking with zones, and the families of nftables."""
_UML_MODULES = (
    "net/netfilter/nf_conntrack nf_nat nf_conntrack_netlink nf_conncount",
    "net/netfilter/nf_tables nft_ct nft_masq nft_nat nft_chain_nat nft_limit nft_log nft_objref",
    "net/netfilter/nft_redir nft_fib nft_fib_inet nft_reject nft_reject_inet nft_hash nft_numgen",
    "net/ipv4/netfilter/nft_fib_ipv4 nf_defrag_ipv4 nf_reject_ipv4 nft_reject_ipv4",
    "net/ipv6/netfilter/nft_fib_ipv6 nf_defrag_ipv6 nf_reject_ipv6 nft_reject_ipv6",
    "net/openvswitch/openvswitch vport-geneve vport-vxlan",
)
"""Every module that knows struct nf_conn, which zones enlarge. MODVERSIONS is off there: they load into Debian's own kernel."""
_INITRD_MODULES = ("virtio_pci", "virtio_blk", "ext4", "9pnet_virtio", "9p")


_MONTH = 30 * 86400


class BuildError(Exception):
    """A part cannot be made here; says which, and where the output is."""


@dataclass(frozen=True)
class Part:
    """``made_from``: text that changes when the part has to be made anew. ``make`` fills the folder it is given."""

    name: str
    made_from: str
    make: Callable[[Path, Path], None]
    """Takes the folder to fill and the log to write."""

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{hashlib.sha256(self.made_from.encode()).hexdigest()[:12]}"

    def ensure(self) -> Path:
        """The part's folder, made if need be; others wait meanwhile. Raises BuildError."""
        CACHE.mkdir(parents=True, exist_ok=True)
        with _locked(self.name):
            if not self.folder.exists():
                self._build()
        return self.folder

    def _build(self) -> None:
        for old in CACHE.glob(f"{self.name}-*/"):
            _remove_if_forgotten(old)
        draft, log, began = self.folder.with_suffix(".draft"), CACHE / f"{self.name}.log", time.monotonic()
        shutil.rmtree(draft, ignore_errors=True)
        log.write_text("")
        print(f"kernel-lab: making {self.name} in {CACHE} ...", flush=True)
        try:
            draft.mkdir()
            self.make(draft, log)
            draft.rename(self.folder)
        except subprocess.CalledProcessError as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise BuildError(f"{self.name}: {error}; the end of {log}:\n{tail}") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        print(f"kernel-lab: made {self.name} in {time.monotonic() - began:.0f} s", flush=True)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """While a machine runs from a part, and a month longer, nobody removes it."""
    with folder.with_suffix(".used").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _remove_if_forgotten(folder: Path) -> None:
    """Other work trees may need other forms of a part."""
    used = folder.with_suffix(".used")
    if used.exists() and time.time() - used.stat().st_mtime < _MONTH:
        return
    with used.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)
    used.unlink(missing_ok=True)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(log: Path, *command: str | Path, cwd: Path | None = None, **environment: str) -> None:
    with log.open("a") as output:
        output.write(f"+ {' '.join(map(str, command))}\n")
        output.flush()
        subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _listed(*question: str) -> str:
    """What apt-cache says of a package. Raises BuildError if it knows none, also with new lists."""
    for prepare in ([], ["apt-get", "--quiet", "update"]):
        if prepare:
            subprocess.run(prepare, stdout=subprocess.DEVNULL, check=False)
        done = subprocess.run(["apt-cache", *question], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout
    raise BuildError(f"`apt-cache {' '.join(question)}` finds nothing: {done.stderr.strip()}")


def root() -> Part:
    """Debian with Open vSwitch and the Python environment of the tests; nothing in it is written to later."""
    requirements = _said("python3", str(REPOSITORY / ".ci/requirements.py"), "--tests")
    made_from = "\n".join((SUITE, *ROOT_PACKAGES, requirements, _ENVIRONMENT, _FIRST_PROGRAM))

    def make(folder: Path, log: Path) -> None:
        require("root")
        packages = ",".join(ROOT_PACKAGES)
        _run(log, "mmdebstrap", "--variant=minbase", f"--include={packages}", SUITE, folder)
        for place in (WORK_TREE, "share", "lib/modules"):
            (folder / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(requirements)
        _run(log, "unshare", "--mount", "sh", "-exc", _ENVIRONMENT, "sh", folder, REPOSITORY)
        first = folder / "sbin/kernel-lab"
        first.write_text(_FIRST_PROGRAM)
        first.chmod(0o755)

    return Part("root", made_from, make)


_ENVIRONMENT = """
for file in /etc/resolv.conf /etc/ssl/certs /etc/pip.conf /dev; do
    [ -e $file ] || continue
    [ -d $file ] || touch $1$file
    mount --bind $file $1$file
done
mount --bind $2 $1/repository
chroot $1 python3 -m venv /opt/lace-sdn
chroot $1 /opt/lace-sdn/bin/pip install --quiet --no-cache-dir -r /requirements.txt
chroot $1 /opt/lace-sdn/bin/pip install --quiet --no-cache-dir --no-deps --editable /repository
"""
"""$1: the root file system, $2: the work tree. Names and certificates are this machine's; the mounts end with the script."""

_FIRST_PROGRAM = """#!/bin/sh
# The machine's first program: finds what it shares with this one, and leaves the rest to the work tree.
mount -t proc proc /proc
share=$(sed -n 's/.*lab_share=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
modules=$(sed -n 's/.*lab_modules=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
if [ "$share" ]; then
    mount -t hostfs -o "$share" none /share && mount -t hostfs -o "$modules" none /lib/modules
else
    options=trans=virtio,version=9p2000.L,msize=262144
    mount -t 9p -o $options share /share && mount -t 9p -o $options,ro modules /lib/modules
fi
mount --bind /share/repository /repository
exec /repository/kernel_lab/init
"""


def uml() -> Part:
    """Debian's user-mode-linux, with the modules of connection tracking built anew from the source it was built from."""
    shown = _listed("show", "user-mode-linux")
    versions = re.search(
        r"^Version: (\S+).*^Built-Using: .*?linux \(= ([^)]+)\)", shown, re.MULTILINE | re.DOTALL
    )
    if not versions:
        raise BuildError("user-mode-linux: apt-cache show names no Version and no Built-Using: linux (= ...)")
    mine, source = versions.groups()
    release = ".".join(source.split(".")[:2])  # 6.1

    def make(folder: Path, log: Path) -> None:
        require("uml")
        work = folder / "work"
        work.mkdir()
        _run(
            log,
            "apt-get",
            "download",
            f"user-mode-linux={mine}",
            f"linux-source-{release}={source}",
            cwd=work,
        )
        for package in work.glob("*.deb"):
            _run(log, "dpkg", "-x", package, work)
        _run(log, "tar", "-xf", work / f"usr/src/linux-source-{release}.tar.xz", cwd=work)
        _uml_modules(work / f"linux-source-{release}", work, log)
        (work / "usr/bin/linux.uml").rename(folder / "linux")
        (modules,) = (work / "usr/lib/uml/modules").iterdir()
        shutil.copytree(modules, folder / "lib/modules" / modules.name, symlinks=True)
        target = folder / "lib/modules" / modules.name / "kernel"
        for module in _module_files():
            shutil.copy(work / f"linux-source-{release}" / module, target / module)
        _run(log, "depmod", "-b", folder, modules.name)
        shutil.rmtree(work)

    return Part("uml", "\n".join((mine, source, *_UML_OPTIONS, *_UML_MODULES)), make)


def xstate() -> Part:
    """What lets user-mode Linux run on processors with more registers than it knows."""
    source = Path(__file__).parent / "xstate.c"

    def make(folder: Path, log: Path) -> None:
        require("uml")
        _run(log, "gcc", "-Wall", "-shared", "-fPIC", "-O2", "-o", folder / "xstate.so", source)

    return Part("xstate", source.read_text(), make)


def _uml_modules(source: Path, package: Path, log: Path) -> None:
    config = gzip.decompress((package / "usr/share/doc/user-mode-linux/config.gz").read_bytes()).decode()
    options = "".join(f"CONFIG_{option}\n" for option in _UML_OPTIONS)
    (source / ".config").write_text(config + options)  # what is said last holds
    jobs = f"-j{os.cpu_count()}"
    for target in (["olddefconfig"], ["modules_prepare"], list(_module_files())):
        _run(log, "make", "ARCH=um", jobs, *target, cwd=source, KBUILD_MODPOST_WARN="1")


def _module_files() -> Iterator[str]:
    for line in _UML_MODULES:
        folder, _, names = line.rpartition("/")
        yield from (f"{folder}/{name}.ko" for name in names.split())


def kernel() -> Part:
    """Debian's own kernel for qemu, with a small file system that finds the disk."""
    depends = re.search(r"Depends: (linux-image-\S+)", _listed("depends", "linux-image-amd64"))
    if not depends:
        raise BuildError("linux-image-amd64: apt-cache depends names no linux-image")
    name = depends[1]

    def make(folder: Path, log: Path) -> None:
        require("qemu")
        _run(log, "apt-get", "download", name, cwd=folder)
        (package,) = folder.glob("*.deb")
        _run(log, "dpkg", "-x", package, folder)
        package.unlink()
        (image,) = folder.glob("boot/vmlinuz-*")
        image.rename(folder / "linux")
        (version,) = (each.name for each in (folder / "lib/modules").iterdir())
        _run(log, "depmod", "-b", folder, version)
        _initrd(folder, version, log)

    return Part("kernel", name + _INITRD + " ".join(_INITRD_MODULES), make)


def _initrd(folder: Path, version: str, log: Path) -> None:
    tree = folder / "initrd"
    for place in ("bin", "modules", "proc", "sys", "dev", "root"):
        (tree / place).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    (tree / "bin/sh").symlink_to("busybox")
    shown = [
        line.split()[1]
        for module in _INITRD_MODULES
        for line in _said("modprobe", "-d", str(folder), "-S", version, "--show-depends", module).splitlines()
        if line.startswith("insmod")
    ]
    files = list(dict.fromkeys(shown))
    for file in files:
        shutil.copy(file, tree / "modules")
    (tree / "modules/order").write_text("\n".join(Path(file).name for file in files))
    (tree / "init").write_text(_INITRD)
    (tree / "init").chmod(0o755)
    _run(log, "sh", "-c", "find . | cpio --quiet -o -H newc | gzip -1 >../initrd.gz", cwd=tree)
    shutil.rmtree(tree)


_INITRD = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 -o ro /dev/vda /root
$b umount /proc; $b umount /sys; $b umount /dev
exec $b switch_root /root /sbin/kernel-lab
"""


def disk(root_folder: Path) -> Part:
    """The root file system as a disk for qemu."""

    def make(folder: Path, log: Path) -> None:
        require("qemu")
        octets = int(_said("du", "--summarize", "--block-size=1", str(root_folder)).split()[0])
        with (folder / "disk").open("wb") as file:
            file.truncate(octets + octets // 4 + (64 << 20))
        _run(log, "mkfs.ext4", "-q", "-d", root_folder, folder / "disk")

    return Part("disk", root_folder.name, make)


def require(purpose: str) -> None:
    """Install what making a part needs. Raises BuildError."""
    done = subprocess.run([REPOSITORY / ".ci/deps", *HOST_PACKAGES[purpose]], check=False)
    if done.returncode:
        raise BuildError(f"not installed here, and not to be had: {', '.join(HOST_PACKAGES[purpose])}")
