"""Network namespaces: making, listing, entering and removing them with everything inside."""

import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from calico_openstack.lab.commands import CommandError, run

NETNS = Path("/run/netns")
# `ip netns exec` shows these files below /etc inside of the namespace (ip-netns(8)).
ETC_NETNS = Path("/etc/netns")

# Sets the host's name in a UTS namespace of its own, then becomes the command.
_AS_HOST = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'


class NamespaceError(Exception):
    """A namespace could not be made or removed."""


def existing() -> frozenset[str]:
    """The names of all network namespaces of this machine."""
    try:
        return frozenset(entry.name for entry in NETNS.iterdir())
    except FileNotFoundError:
        return frozenset()


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in the namespace (the process keeps its id)."""
    return ["ip", "netns", "exec", namespace, *argv]


def inside_host(namespace: str, hostname: str, argv: Sequence[str]) -> list[str]:
    """As `inside`, with a host name of its own."""
    return inside(namespace, ["unshare", "--uts", "sh", "-c", _AS_HOST, hostname, *argv])


def create(namespace: str) -> None:
    """Make a namespace. Raises CommandError when it exists."""
    run(["ip", "netns", "add", namespace])


def configure(namespace: str, lines: Iterable[str], sysctls: Mapping[str, str]) -> None:
    """Run lines of `ip -batch` in a namespace and set its sysctls. Raises CommandError."""
    batch = "\n".join(lines)
    if batch:
        run(["ip", "-n", namespace, "-batch", "-"], stdin=batch + "\n")
    settings = [f"{name}={value}" for name, value in sysctls.items()]
    if settings:
        run(inside(namespace, ["sysctl", "-q", "-w", *settings]))


def processes(namespace: str) -> frozenset[int]:
    """The ids of the processes in a namespace, found by the kernel's word for it."""
    try:
        wanted = (NETNS / namespace).stat()
    except OSError:
        return frozenset()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            actual = (entry / "ns" / "net").stat()
        except OSError:
            continue  # it ended meanwhile
        if (actual.st_dev, actual.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.add(int(entry.name))
    return frozenset(found)


def kill_processes(namespaces: Iterable[str], *, timeout: float = 10.0) -> int:
    """Kill all processes in the namespaces, and what they start meanwhile; return how many.

    The caller's own process and its ancestors are spared, so that a lab can be taken down from
    a shell inside of it. Raises NamespaceError when some do not end.
    """
    names = list(namespaces)
    spared = _ancestry()
    killed: set[int] = set()
    deadline = time.monotonic() + timeout
    while True:
        alive = {pid for name in names for pid in processes(name)} - spared
        if not alive:
            return len(killed)
        if time.monotonic() > deadline:
            raise NamespaceError(f"processes {sorted(alive)} do not end after SIGKILL")
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed |= alive
        time.sleep(0.02)


def delete(namespace: str) -> None:
    """Remove a namespace with its links, and its files below /etc/netns. Its absence is fine."""
    shutil.rmtree(ETC_NETNS / namespace, ignore_errors=True)
    if ETC_NETNS.is_dir() and not any(ETC_NETNS.iterdir()):
        ETC_NETNS.rmdir()
    if namespace in existing():
        try:
            run(["ip", "netns", "delete", namespace])
        except CommandError as error:
            if namespace in existing():
                raise NamespaceError(str(error)) from error


def _ancestry() -> frozenset[int]:
    pids, pid = set(), os.getpid()
    while pid > 0:
        pids.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return frozenset(pids)
