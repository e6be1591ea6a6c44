"""A compute host to measure on: a network namespace with taps, etcd and the real calico-felix.

The whole benchmark enters the namespace before it starts a thread, so that etcd's loopback and the
kernel's tables are those of the namespace.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from calico_openstack.etcd import Delete, EtcdClient, Put
from tests.support.etcd import EtcdServer
from tests.support.netns import NetworkNamespace, sweep_stale

TICKS_PER_SECOND = 100
# Seconds between looks at the memory of a start.
_SAMPLE = 0.02
_WRITERS = 4
# etcd takes 128 operations a transaction unless told otherwise.
_TRANSACTION = 100


@contextmanager
def namespace() -> Iterator[NetworkNamespace]:
    """Enter a namespace with an uplink for the ``with`` block."""
    sweep_stale()
    with NetworkNamespace("bench") as made, made.entered():
        made.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        made.ip("addr", "add", "192.0.2.1/32", "dev", "lo")
        yield made


def plug(host: NetworkNamespace, names: Iterable[str]) -> None:
    """Make a veth pair for each name, both ends up, as Nova's plugging would make a TAP device."""
    commands = []
    for name in names:
        other = f"vm-{name.removeprefix('tap')}"
        commands.append(f"link add {name} type veth peer name {other}")
        commands += [f"link set {each} up" for each in (name, other)]
    script = "\n".join(commands)
    subprocess.run(["ip", "-n", host.name, "-batch", "-"], input=script, text=True, check=True)


def unplug(host: NetworkNamespace, names: Iterable[str]) -> None:
    """Remove interfaces, and with them their routes, neighbours and settings, and all tables."""
    script = "\n".join(f"link del {name}" for name in names)
    subprocess.run(["ip", "-n", host.name, "-batch", "-"], input=script, text=True, check=True)
    host.run("nft", "flush", "ruleset")


@contextmanager
def etcd(directory: Path) -> Iterator[EtcdServer]:
    """Run an etcd with room for large clusters for the ``with`` block."""
    server = EtcdServer(directory, options=["--quota-backend-bytes=8000000000"])
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fill(client: EtcdClient, objects: Iterable[tuple[str, bytes]]) -> int:
    """Store objects, several transactions at a time; return how many."""
    count = 0
    with ThreadPoolExecutor(_WRITERS) as pool:
        for large in _batches(objects, _TRANSACTION * _WRITERS * 8):
            count += len(large)
            operations = (
                [Put(key, value) for key, value in batch] for batch in _batches(large, _TRANSACTION)
            )
            list(pool.map(lambda batch: client.txn([], batch), operations))
    return count


def remove(client: EtcdClient, keys: Iterable[str]) -> None:
    """Remove keys."""
    iterator = iter(keys)
    while batch := list(islice(iterator, _TRANSACTION)):
        client.txn([], [Delete(key) for key in batch])


def ranges(server: EtcdServer) -> int:
    """Return how many reads an etcd has served."""
    with urllib.request.urlopen(f"{server.endpoint}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r"^etcd_debugging_mvcc_range_total (\S+)", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def _batches(objects: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    iterator = iter(objects)
    while batch := list(islice(iterator, size)):
        yield batch


@dataclass(frozen=True, slots=True)
class Programmed:
    """The first programming: seconds since the process was made, CPU seconds, writes."""

    seconds: float
    cpu: float
    writes: int


class Felix:
    """A running calico-felix."""

    def __init__(self, server: EtcdServer, host: str, directory: Path) -> None:
        # In memory, as /run is, where the status files are unless told otherwise.
        self._runtime = tempfile.TemporaryDirectory(dir="/dev/shm")
        file = directory / "felix.cfg"
        settings = {
            "EtcdEndpoints": server.endpoint,
            "FelixHostname": host,
            "EndpointReportingEnabled": "true",
            "EndpointStatusPathPrefix": self._runtime.name,
            "LogFilePath": "none",
            "LogSeveritySys": "none",
        }
        file.write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
        program = Path(sys.executable).parent / "calico-felix"
        # Installed packages have their bytecode, so the measured program has too, after one start.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")
        self._started = time.monotonic()
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", program, "-c", file],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        # In MiB, files that all of them use counted once.
        self.peak = 0.0
        self._programmed = threading.Event()
        threading.Thread(target=self._follow_memory, daemon=True).start()

    def __enter__(self) -> Felix:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._programmed.set()
        self._child.terminate()
        self._child.communicate()
        self._runtime.cleanup()

    def wait_programmed(self) -> Programmed:
        """Wait until it says that the kernel is programmed."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if "The kernel is programmed" in line:
                seconds = time.monotonic() - self._started
                self._programmed.set()
                writes = re.search(r'writes="(\d+)"', line)
                assert writes is not None
                return Programmed(seconds, self.cpu(), int(writes[1]))
            if "[ERROR]" in line or "[CRITICAL]" in line:
                print(line.rstrip(), file=sys.stderr)
        raise RuntimeError(f"calico-felix ended: {self._child.wait()}")

    def cpu(self) -> float:
        """Return the CPU time so far, in seconds, with that of its children that have ended."""
        stat = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) / TICKS_PER_SECOND

    def memory(self, field: str) -> float:
        """Return a field of /proc/PID/status, in MiB."""
        found = _memory(self._child.pid, field)
        assert found is not None
        return found

    def _follow_memory(self) -> None:
        """Note how much it and its children have together, until it is programmed."""
        children = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")
        while not self._programmed.wait(_SAMPLE):
            with contextlib.suppress(OSError):
                numbers = [self._child.pid, *map(int, children.read_text().split())]
                together = sum(_memory(number, "RssAnon") or 0.0 for number in numbers)
                self.peak = max(self.peak, together + (_memory(numbers[0], "RssFile") or 0.0))


def _memory(process: int, field: str) -> float | None:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
