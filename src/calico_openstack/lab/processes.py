"""What the supervisor runs: the description of a process and how it is identified.

A process id alone proves nothing, because ids are used again. Together with the time at which
the kernel started it, it names one process for ever.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from calico_openstack.agent.supervision import (
    ProcessIdentity,
    is_running,
    parse_stat,
    send_signal,
)


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the lab. `argv` is complete: it already enters the namespace.

    `own_children`: whether everything in its process group belongs to it and ends with it, as
    the workers of a server do. What an agent starts to outlive it is in a session of its own.
    `stop_timeout` is in seconds.
    """

    name: str
    host: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    log: str
    restart: bool = True
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 10.0
    own_children: bool = True


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What survives the supervisor: a process, whether it is wanted, and who it is."""

    spec: ProcessSpec
    wanted: bool
    identity: ProcessIdentity | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells about a process. Times are in seconds."""

    name: str
    host: str
    state: str
    pid: int = 0
    uptime: float = 0.0
    starts: int = 0
    last_exit: int | None = None


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this id now; None when there is none."""
    try:
        identity, state = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError):
        return None
    # A zombie is gone for everybody but its parent.
    return None if state in "ZX" else identity


def age(identity: ProcessIdentity) -> float:
    """Seconds since a process was started."""
    started = identity.start_time / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)


def spawn(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program in a session of its own, appending what it says to a log; return its id.

    `env` is added to our own environment. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        argv[0],
        list(argv),
        {**os.environ, **(env or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )


def resident_bytes(pid: int) -> int:
    """The resident memory of a process in bytes; 0 when it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def resident_by_group() -> dict[int, int]:
    """The resident memory in bytes of each process group, by its leader.

    Memory that a server's processes share is counted for each of them.
    """
    sizes: dict[int, int] = {}
    for pid, leader in _groups():
        sizes[leader] = sizes.get(leader, 0) + resident_bytes(pid)
    return sizes


def process_group(leader: int) -> frozenset[int]:
    """The ids of the living processes in a process group."""
    return frozenset(pid for pid, group in _groups() if group == leader)


def kill_group(identity: ProcessIdentity) -> None:
    """Kill a process and its process group, if it is still this process or its group is left."""
    if send_signal(identity, signal.SIGKILL) or identify(identity.pid) is None:
        for member in process_group(identity.pid):
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                continue


def recorded_process(path: Path) -> ProcessIdentity | None:
    """The running process that an agent's process file names; None when it does not run."""
    try:
        identity, _ = parse_stat(path.read_text())
    except (OSError, ValueError):
        return None
    return identity if is_running(identity) else None


def _groups() -> Iterator[tuple[int, int]]:
    """Id and process group of every living process (proc(5), /proc/PID/stat)."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, group, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            yield int(entry.name), int(group)
