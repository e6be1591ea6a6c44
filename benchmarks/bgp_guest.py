"""Live migration of a virtual machine between two hosts, by QEMU alone, under a stream of pings.

QEMU is emulated where KVM does not work. The guest's pause is from the event that it was stopped at
one end to the one that it goes on at the other. What the outage is beyond it is told apart by the
first request that reaches the interface of the guest: up to there it is for routes, from there on
for the guest.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.bgp_events import Measured, answers
from benchmarks.bgp_lab import CONVERGENCE_TIME, Cloud, End
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.lab import guest_image, initramfs
from calico_openstack.lab.settings import DEFAULT_CACHE
from tests.bgp.fabric import Host
from tests.support.felix import GATEWAY, mac
from tests.support.processes import Process, eventually

_NUMBER: Final = 60
_PORT: Final = 4444
_INTERVAL: Final = 0.005
_REPLY: Final = re.compile(r"^\[(\d+\.\d+)\] .*icmp_seq=(\d+) .*time=([\d.]+)", re.MULTILINE)
_REQUEST: Final = re.compile(r"^(\d+\.\d+) IP(6?) ", re.MULTILINE)
_MEMORY_MIB: Final = 128


class _Pause(NamedTuple):
    """When a guest was stopped at one end and went on at the other, in seconds since 1970."""

    stopped: float
    resumed: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.resumed - self.stopped


class Machine:
    """One QEMU process, which runs the guest or waits for it."""

    def __init__(self, host: Host, directory: Path, number: int, *, incoming: bool) -> None:
        self.host = host
        self._control = directory / f"qemu-{number}.qmp"
        self.console = directory / f"qemu-{number}.console"
        interface = f"tap{_NUMBER}"
        with contextlib.suppress(OSError):
            host.namespace.ip("link", "del", interface)
        host.namespace.ip("tuntap", "add", "dev", interface, "mode", "tap")
        fixed = f"fe:16:3e:00:00:{_NUMBER:02x}"
        host.namespace.ip("link", "set", interface, "address", fixed, "up")
        image = guest_image.prepare(DEFAULT_CACHE)
        initrd = directory / "initrd"
        initrd.write_bytes(image.base.read_bytes() + _own_archive())
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "q35", "-accel", "tcg,tb-size=32", "-cpu", "max", "-smp", "1"),
            *("-m", str(_MEMORY_MIB), "-kernel", str(image.kernel), "-initrd", str(initrd)),
            *("-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off"),
            *("-serial", f"file:{self.console}", "-serial", "null"),
            *("-netdev", f"tap,id=net0,ifname={interface},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net0,mac={mac(_NUMBER)},romfile="),
            *("-qmp", f"unix:{self._control},server=on,wait=off"),
            *(("-incoming", f"tcp:{host.ipv4}:{_PORT}") if incoming else ()),
        ]
        log = directory / f"qemu-{number}.log"
        self._process = Process(command, log=log, prefix=host.namespace.command([]))
        self._process.wait_until(self._control.exists, "control socket")
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(20)
        self._connection.connect(str(self._control))
        self._stream = self._connection.makefile("rw")
        self._events: dict[str, float] = {}
        self._next()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Mapping[str, Any]:
        """Send one command of QEMU's machine protocol; return what it answers."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        while True:
            answer = self._next()
            if "error" in answer:
                raise SystemExit(f"QEMU: {answer['error']}")
            if "return" in answer:
                returned: Mapping[str, Any] = answer["return"]
                return returned

    def moment_of(self, event: str) -> float:
        """Return when QEMU told of an event, in seconds since 1970; wait until it has."""
        while event not in self._events:
            self._next()
        return self._events[event]

    def _next(self) -> Mapping[str, Any]:
        line: Mapping[str, Any] = json.loads(self._stream.readline())
        if "event" in line:
            stamp = line["timestamp"]
            self._events[line["event"]] = stamp["seconds"] + stamp["microseconds"] / 1e6
        return line

    def migrate_to(self, other: Machine) -> _Pause:
        """Migrate the guest; return when it ran nowhere, once it runs at the other end."""
        self.ask("migrate", uri=f"tcp:{other.host.ipv4}:{_PORT}")
        eventually(lambda: self.ask("query-migrate").get("status") == "completed", 60)
        return _Pause(self.moment_of("STOP"), other.moment_of("RESUME"))

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()


def _own_archive() -> bytes:
    lines = (
        f"ip address add 10.65.0.{_NUMBER}/24 dev eth0",
        f"ip route replace default via {GATEWAY}",
        f"ip address add fd00::{_NUMBER}/128 dev eth0",
        f"ip -6 route replace default via fe80::fc16:3eff:fe00:{_NUMBER:x} dev eth0",
    )
    settings = {"HOSTNAME": "guest", "DHCP4": "", "DHCP6": "", "STATIC": "; ".join(lines)}
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    files = initramfs.with_folders([initramfs.File("etc/guest.conf", text.encode())])
    return initramfs.archive(files)


class _Arrivals:
    """Sees when requests reach the interface of a guest."""

    def __init__(self, end: End, directory: Path) -> None:
        requests = "icmp[icmptype] == icmp-echo or (icmp6 and ip6[40] == 128)"
        self._process = Process(
            ["tcpdump", "-i", f"tap{_NUMBER}", "-n", "-tt", requests],
            log=directory / f"guest-arrivals-{time.monotonic_ns()}.log",
            prefix=end.host.namespace.command([]),
        )

    def finish(self, since: float) -> dict[int, float]:
        """Return when the first of each family came, in seconds since 1970, of those *since*."""
        self._process.signal(signal.SIGINT)
        self._process.wait()
        first: dict[int, float] = {}
        for at, version in _REQUEST.findall(self._process.output()):
            if float(at) >= since:
                first.setdefault(6 if version else 4, float(at))
        return first


class _Pings:
    """Pings one address until told to end."""

    def __init__(self, asking: End, address: str, directory: Path) -> None:
        version = "6" if ":" in address else "4"
        self._process = Process(
            ["ping", "-D", "-n", f"-{version}", "-i", str(_INTERVAL), address],
            log=directory / f"guest-pings-{version}-{time.monotonic_ns()}.log",
            prefix=asking.namespace.command([]),
        )

    def finish(self) -> tuple[list[float], int]:
        """Return when answers came, in seconds since 1970, and how many requests have none."""
        time.sleep(0.5)
        self._process.signal(signal.SIGINT)
        self._process.wait()
        output = self._process.output()
        found = {int(number): float(at) for at, number, _ in _REPLY.findall(output)}
        sent = re.search(r"(\d+) packets transmitted", output)
        return sorted(found.values()), int(sent[1]) - len(found) if sent else 0


def _listened_to(end: End) -> bool:
    """Whether the host waits for the guest's announcement."""
    return f"tap{_NUMBER}" in end.host.namespace.run("ss", "-0", "-n", "-a").stdout


def guest_migrations(cloud: Cloud, directory: Path, repetitions: int) -> Iterator[Measured]:
    """Migrate a guest back and forth."""
    asking = cloud.plug(61, cloud.computes[2])
    ends = [End(_NUMBER, host, host.namespace) for host in cloud.computes[:2]]
    for end in (ends[0], asking):
        cloud.bind(end)
    running = Machine(ends[0].host, directory, 0, incoming=False)
    machines = [running]
    outage, delivered, answered = (
        Measured("live migration of a virtual machine"),
        Measured("of it until the first packet is at the guest"),
        Measured("of it until the guest has answered it"),
    )
    pauses: list[float] = []
    try:
        for address in ends[0].addresses:
            answers(asking, address)
        for turn in range(repetitions):
            source, target = ends[turn % 2], ends[1 - turn % 2]
            migration = cloud.begin_migration(source, target)
            waiting = Machine(target.host, directory, turn + 1, incoming=True)
            machines.append(waiting)
            cloud.bind(target)
            eventually(partial(_listened_to, target), 30)
            arrivals = _Arrivals(target, directory)
            pings = [_Pings(asking, address, directory) for address in ends[0].addresses]
            time.sleep(1)
            pause = running.migrate_to(waiting)
            time.sleep(1)
            first = arrivals.finish(pause.resumed)
            for family, stream in zip(FAMILIES, pings, strict=True):
                times, lost = stream.finish()
                gap, back = max((after - before, after) for before, after in pairwise(times))
                outage.outages[family].append(max(0.0, gap - pause.seconds))
                outage.lost[family] += lost
                delivered.times[family].append(first[family] - pause.resumed)
                answered.times[family].append(back - first[family])
            pauses.append(pause.seconds)
            running.stop()
            cloud.unbind(source)
            cloud.etcd.delete(migration)
            running = waiting
            time.sleep(CONVERGENCE_TIME + 1.5)
    finally:
        for machine in machines:
            machine.stop()
    milliseconds = [round(pause * 1000) for pause in sorted(pauses)]
    outage.sent = repetitions
    outage.note = (
        f"QEMU, guest's pause {milliseconds[0]} to {milliseconds[-1]} ms; times are beyond it, "
        "lost counts the pause"
    )
    for measured in (outage, delivered, answered):
        measured.repetitions = repetitions
        yield measured
