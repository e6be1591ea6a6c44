"""A virtual machine with Debian's own kernel, in which a program of this repository runs.

For what the kernel at hand lacks or cannot tell: flow tables, and how many instructions a packet
costs. The machine starts from memory: the kernel's modules of netfilter, Python with the packages
that Felix needs, the tools of iproute2 and nftables, and this repository. It has no network.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from calico_openstack.lab import initramfs, kernel_package
from calico_openstack.lab.initramfs import File
from calico_openstack.lab.settings import DEFAULT_CACHE

ROOT = Path(__file__).parents[2]
# Each after those that it needs. What the kernel has built in is not there.
MODULES = (
    *("crc32c_generic", "libcrc32c", "nfnetlink", "nf_defrag_ipv4", "nf_defrag_ipv6"),
    *("nf_conntrack", "nf_conntrack_netlink", "nf_nat", "nf_tables", "nf_conncount"),
    *("nf_reject_ipv4", "nf_reject_ipv6", "nf_log_syslog", "nfnetlink_log"),
    *("nft_ct", "nft_limit", "nft_log", "nft_reject", "nft_reject_ipv4", "nft_reject_ipv6"),
    *("nft_nat", "nft_chain_nat", "nft_masq", "nft_connlimit"),
    *("nft_fib", "nft_fib_ipv4", "nft_fib_ipv6", "nf_flow_table", "nf_flow_table_inet"),
    *("nft_flow_offload", "veth"),
    *("sch_tbf", "sch_htb", "sch_ingress", "cls_u32", "act_mirred", "ifb"),
)
_PROGRAMS = ("ip", "nft", "conntrack", "ping", "tc", "sleep")
_PACKAGES = ("msgspec", "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments")
# What tests of the kernel import besides.
TEST_PACKAGES = (
    *("py", "pytest_timeout", "hypothesis", "_hypothesis_globals", "sortedcontainers"),
    *("grpc", "google", "prometheus_client", "typing_extensions"),
)
_SOURCES = ("src/calico_openstack", "benchmarks", "tests")
_NOT_NEEDED = re.compile(
    r"(^|/)(test|idlelib|tkinter|lib2to3|dist-packages|config-3[^/]*|distutils|pydoc_data|sqlite3|"
    r"ensurepip|turtledemo)(/|-|$)"
)
_INIT = """\
#!/usr/bin/busybox sh
/usr/bin/busybox mkdir -p /proc /sys /dev /tmp /run /bin
/usr/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir /run/netns
for module in {modules}; do
    [ -f /modules/$module.ko ] && insmod /modules/$module.ko
done
echo 1 > /proc/sys/kernel/printk
ip link set lo up
stty -F /dev/ttyS1 raw -echo
cd /repository
export PYTHONPATH=/repository/src:/repository:/packages PYTHONDONTWRITEBYTECODE=1
{command} < /dev/null > /dev/ttyS1 2>&1
echo "EXIT $?" > /dev/ttyS1
poweroff -f
"""
_KERNEL_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable"
)
_MEMORY_MIB = 2048
_END = re.compile(r"^EXIT (\d+)\s*$", re.MULTILINE)


def run(
    command: Sequence[str],
    folder: Path,
    *,
    files: Mapping[str, bytes] | None = None,
    packages: Sequence[str] = (),
    counted: bool = False,
    timeout: float = 300.0,
    cache: Path = DEFAULT_CACHE,
) -> str:
    """Run *command* in a machine, in the repository's root; return what it wrote.

    *files* are put below ``/files``; programs are executable there. *packages* can be imported
    besides those of Felix's drivers. With *counted* time in the machine is the number of
    instructions executed, in nanoseconds, and sleeping takes as long as it says but is skipped.
    *folder* is for what the machine needs. Raises RuntimeError with the output when the command
    fails or takes longer than *timeout* seconds.
    """
    kernel = kernel_package.fetch(cache, MODULES)
    output, initrd = folder / "output", folder / "initrd"
    output.write_bytes(b"")
    initrd.write_bytes(
        initramfs.archive(
            initramfs.with_folders(_files(command, kernel.modules, files or {}, packages))
        )
    )
    clock = ["-icount", "shift=0,sleep=off"] if counted else []
    qemu = [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1"),
        *("-m", str(_MEMORY_MIB), "-kernel", str(kernel.image), "-initrd", str(initrd)),
        *("-append", _KERNEL_COMMAND_LINE),
        *("-serial", f"file:{folder / 'console'}", "-serial", f"file:{output}"),
        *(*clock, "-no-reboot"),
    ]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *qemu])
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        pass
    finally:
        child.kill()
        child.wait()
    text = output.read_text(errors="replace")
    end = _END.search(text)
    if end is None or end[1] != "0":
        console = (folder / "console").read_text(errors="replace")
        raise RuntimeError(f"{shlex.join(command)} failed in the machine:\n{console}\n{text}")
    return text[: end.start()]


def _files(
    command: Sequence[str], modules: Path, files: Mapping[str, bytes], packages: Sequence[str]
) -> Iterator[File]:
    init = _INIT.format(modules=" ".join(MODULES), command=shlex.join(command))
    yield initramfs.console()
    yield File("init", init.encode())
    yield from (File(f"files/{name}", data) for name, data in files.items())
    # By which nft(8) knows the names of protocols.
    yield File("etc/protocols", Path("/etc/protocols").read_bytes())
    yield from (File(f"modules/{each.name}", each.read_bytes()) for each in modules.glob("*.ko"))
    programs = {name: _program(name) for name in (*_PROGRAMS, "busybox")}
    programs["python3"] = Path(sys.executable).resolve()
    for name, path in programs.items():
        yield File(f"usr/bin/{name}", path.read_bytes())
    standard = Path(sysconfig.get_path("stdlib"))
    extensions = [path for path in standard.rglob("*.so") if not _NOT_NEEDED.search(str(path))]
    yield from _tree(standard, str(standard).lstrip("/"))
    for package in (*_PACKAGES, *packages):
        found = importlib.util.find_spec(package)
        if found is None:
            continue
        if found.submodule_search_locations:
            folder = Path(found.submodule_search_locations[0])
            extensions += folder.rglob("*.so")
            yield from _tree(folder, f"packages/{package}")
        elif found.origin is not None:
            yield File(f"packages/{package}.py", Path(found.origin).read_bytes())
    for path in _libraries([*programs.values(), *extensions]):
        yield File(str(path).lstrip("/"), path.read_bytes())
    for source in _SOURCES:
        yield from _tree(ROOT / source, f"repository/{source}", everything=True)
    yield File("repository/pyproject.toml", (ROOT / "pyproject.toml").read_bytes())


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return Path(found).resolve()


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """Return the shared libraries of *programs* and what loads them."""
    listed = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False
    )
    return {Path(path) for path in re.findall(r"(/\S+\.so\S*) \(0x", listed.stdout)}


def _tree(folder: Path, target: str, *, everything: bool = False) -> Iterator[File]:
    for path in sorted(folder.rglob("*")):
        below = str(path.relative_to(folder))
        if path.suffix not in (".py", ".so", ".pyc", ".c") or not path.is_file():
            continue
        if path.suffix == ".pyc" and everything:
            continue
        if everything or not _NOT_NEEDED.search(below):
            yield File(f"{target}/{below}", path.read_bytes())
