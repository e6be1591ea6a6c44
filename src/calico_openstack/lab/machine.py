"""Virtual machines: QEMU on a tap link of a compute host.

A machine is driven through its second serial line: each command goes in as one line, and its
output and status come back framed, so that `exec` works without a network.
"""

import base64
import fcntl
import shlex
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from calico_openstack.agent.supervision import is_running
from calico_openstack.lab import guest_image, initramfs, namespaces
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.guest import Addressing, Method, static_commands
from calico_openstack.lab.log_files import tail
from calico_openstack.lab.processes import identify, kill_group, spawn
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.waiting import wait_until
from calico_openstack.lab.workload import Workload

MEMORY_MIB = 128
# Seconds. An emulated guest takes three on an idle machine.
BOOT_TIMEOUT = 120.0
KVM_PROBE_TIMEOUT = 6.0
STOP_TIMEOUT = 10.0

_CONSOLE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off"
_EMULATED = "tsc=reliable no_timer_check"


def start(
    lab: Lab,
    workload: Workload,
    *,
    plan: Sequence[Addressing],
    tap_mac: str,
    mtu: int,
    folder: Path,
    progress: Progress,
) -> Workload:
    """Plug a tap link and start a machine on it. Returns the workload with its process."""
    with progress.step("a kernel and an initial file system, from Debian's packages"):
        image = guest_image.prepare(lab.cache)
    accelerator = choose_accelerator(lab.cache, image, progress)
    namespace, name = lab.namespace(workload.host), workload.interface
    lines = [
        f"tuntap add dev {name} mode tap",
        f"link set {name} mtu {mtu} address {tap_mac}",
        f"link set {name} up",
    ]
    namespaces.configure(namespace, lines, {})
    archives = [image.base.read_bytes(), _own_archive(workload, plan)]
    if any(entry.method is Method.DHCP6 for entry in plan):
        archives.append(image.dhcp6.read_bytes())
    initrd = folder / "initrd"
    initrd.write_bytes(b"".join(archives))
    nic = [
        *("-netdev", f"tap,id=net0,ifname={name},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net0,mac={workload.mac},romfile="),
        *("-chardev", f"socket,id=agent,path={folder / 'agent.sock'},server=on,wait=off"),
    ]
    command = [
        *_qemu(accelerator, image.kernel, initrd, _CONSOLE),
        *("-serial", f"file:{folder / 'console.log'}", "-serial", "chardev:agent"),
        *nic,
    ]
    pid = spawn(namespaces.inside(namespace, command), log=folder / "qemu.log")
    return msgspec.structs.replace(workload, machine=identify(pid))


def stop(workload: Workload) -> None:
    """End a workload's machine, if it has one, and wait for its end."""
    identity = workload.machine
    if identity is None:
        return
    kill_group(identity)
    wait_until(lambda: not is_running(identity), "the end of QEMU", timeout=STOP_TIMEOUT)


def await_ready(folder: Path, workload: Workload) -> None:
    """Wait until the guest takes commands and has its addresses. Raises NotReadyError."""
    seen = ""

    def ready() -> bool:
        nonlocal seen
        if workload.machine is not None and not is_running(workload.machine):
            raise CloudError(f"QEMU has ended: {' / '.join(tail(folder / 'qemu.log', 5))}")
        if initramfs.READY not in "\n".join(tail(folder / "console.log", 200)):
            return False
        _, seen = execute(folder, ["ip", "-o", "address", "show", "dev", "eth0"])
        present = [line for line in seen.splitlines() if "tentative" not in line]
        return all(any(f" {a}/" in line for line in present) for a in workload.addresses)

    wait_until(
        ready,
        f"the addresses of {workload.name}",
        timeout=BOOT_TIMEOUT,
        interval=0.1,
        reason=lambda: seen or " / ".join(tail(folder / "console.log", 5)),
    )


def execute(folder: Path, argv: Sequence[str], *, timeout: float = 60.0) -> tuple[int, str]:
    """Run a command in the guest; returns its exit status and all that it wrote.

    Raises CloudError when the guest does not answer.
    """
    with (folder / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _execute(folder / "agent.sock", shlex.join(argv), timeout)


def _execute(path: Path, command: str, timeout: float) -> tuple[int, str]:
    identifier = str(time.monotonic_ns())
    deadline = time.monotonic() + timeout
    line = f"{identifier} {base64.b64encode(command.encode()).decode()}\n"
    received = b""
    end = f"END {identifier} ".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(timeout)
            agent.connect(str(path))
            agent.sendall(line.encode())
            while not _complete(received, end):
                agent.settimeout(max(0.01, deadline - time.monotonic()))
                data = agent.recv(65536)
                if not data:
                    raise CloudError("the virtual machine has closed its command line")
                received += data
    except OSError as error:
        raise CloudError(f"the virtual machine does not answer ({error})") from error
    return parse_answer(received.decode(errors="replace"), identifier)


def _complete(received: bytes, end: bytes) -> bool:
    position = received.find(end)
    return position >= 0 and b"\n" in received[position:]


def parse_answer(text: str, identifier: str) -> tuple[int, str]:
    """The exit status and the output in what the guest sent in answer to one command. Pure."""
    _, _, rest = text.partition(f"BEGIN {identifier}")
    encoded, _, after = rest.partition(f"END {identifier} ")
    output = base64.b64decode("".join(encoded.split())).decode(errors="replace")
    return int(after.split()[0]), output


def choose_accelerator(cache: Path, image: guest_image.GuestImage, progress: Progress) -> str:
    """ "kvm" where a guest really starts with it, else "tcg". Known until the next reboot.

    The device alone proves nothing: under some hypervisors it is there and guests hang.
    """
    if not Path("/dev/kvm").exists():
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = cache / f"accelerator-{boot}"
    if known.exists():
        return known.read_text()
    with progress.step("whether virtual machines start with KVM"):
        chosen = "kvm" if _starts_with_kvm(image) else "tcg"
    progress.note(f"virtual machines use {chosen}")
    for old in cache.glob("accelerator-*"):
        old.unlink()
    known.write_text(chosen)
    return chosen


def _starts_with_kvm(image: guest_image.GuestImage) -> bool:
    console = image.base.with_name("probe.log")
    console.write_text("")
    command = [
        *_qemu("kvm", image.kernel, image.base, f"{_CONSOLE} lab.probe"),
        *("-serial", f"file:{console}"),
    ]
    identity = identify(spawn(command, log=console.with_name("probe-qemu.log")))
    if identity is None:
        return False
    deadline = time.monotonic() + KVM_PROBE_TIMEOUT
    while is_running(identity) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_group(identity)
    return initramfs.READY in console.read_text(errors="replace")


def _qemu(accelerator: str, kernel: Path, initrd: Path, append: str) -> list[str]:
    emulated = accelerator == "tcg"
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35", "-accel", "tcg,tb-size=32" if emulated else "kvm"),
        *("-cpu", "max" if emulated else "host", "-smp", "1", "-m", str(MEMORY_MIB)),
        *("-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", f"{append} {_EMULATED}" if emulated else append, "-no-reboot"),
    ]


def _own_archive(workload: Workload, plan: Sequence[Addressing]) -> bytes:
    """The archive with what distinguishes this machine: its settings, read by its init."""
    methods = {entry.method for entry in plan}
    static = "; ".join(f"ip {line}" for line in static_commands(plan))
    settings = {
        "HOSTNAME": workload.name,
        "DHCP4": "1" if Method.DHCP4 in methods else "",
        "DHCP6": "1" if Method.DHCP6 in methods else "",
        "STATIC": static,
    }
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    return initramfs.archive(
        initramfs.with_folders([initramfs.File("etc/guest.conf", text.encode())])
    )
