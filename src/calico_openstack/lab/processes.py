"""What the supervisor runs: the description of a process and how it is identified.

A process id alone proves nothing, because ids are used again. Together with the time at which
the kernel started it, it names one process for ever.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


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


class Identity(msgspec.Struct, frozen=True):
    """One process: its id, and its start in clock ticks since the machine's start (proc(5))."""

    pid: int
    started: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What survives the supervisor: a process, whether it is wanted, and who it is."""

    spec: ProcessSpec
    wanted: bool
    identity: Identity | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells about a process. Times are in seconds."""

    name: str
    host: str
    state: str
    pid: int = 0
    uptime: float = 0.0
    starts: int = 0
    last_exit: int | None = None


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this id now; None when there is none."""
    fields = _stat(pid)
    # A zombie is gone for everybody but its parent.
    if fields is None or fields[0] == "Z":
        return None
    return Identity(pid, int(fields[19]))


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


def send(identity: Identity, signal_number: int) -> bool:
    """Signal exactly this process; False when it is gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, signal_number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


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
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            leader = int(fields[2])
            sizes[leader] = sizes.get(leader, 0) + resident_bytes(int(entry.name))
    return sizes


def process_group(leader: int) -> frozenset[int]:
    """The ids of the living processes in a process group."""
    members = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None and fields[0] != "Z" and int(fields[2]) == leader:
                members.add(int(entry.name))
    return frozenset(members)


def kill_group(identity: Identity) -> None:
    """Kill a process and its process group, if it is still this process or its group is left."""
    if send(identity, signal.SIGKILL) or identify(identity.pid) is None:
        for member in process_group(identity.pid):
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                continue


def pid_file(path: Path) -> Identity | None:
    """The living process that a pid file names; None when there is none."""
    try:
        return identify(int(path.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state (field 3) on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
