"""Finds dnsmasq processes that live but do not work, from what the kernel says (proc(5)).

A process hangs when requests wait in its sockets while it uses no processor time. Every DHCP
request on the host waits in the sockets of all processes, so that a hanging one shows soon.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TABLES: Final = ("udp", "udp6", "raw6")
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Activity:
    """A process at one moment: processor time in clock ticks since its start, unread requests."""

    ticks: int
    waiting: bool


def hangs(before: Activity | None, now: Activity) -> bool:
    """Tell whether a process has left requests unread between two looks at it."""
    return before is not None and before.waiting and now.waiting and before.ticks == now.ticks


def parse_ticks(stat: str) -> int:
    """Return the processor time in a line of ``/proc/<pid>/stat``; raises ValueError."""
    values = stat.rpartition(")")[2].split()
    if len(values) < 13:
        raise ValueError(f"not a line of /proc/<pid>/stat: {stat!r}")
    return int(values[11]) + int(values[12])


def parse_waiting(table: str) -> set[str]:
    """Return the inodes of sockets with unread data in a table like ``/proc/net/udp``."""
    found = set()
    for line in table.splitlines()[1:]:
        columns = line.split()
        # The fifth column is tx_queue:rx_queue, in hexadecimal; the tenth the inode.
        if len(columns) > 9 and int(columns[4].partition(":")[2], 16) > 0:
            found.add(columns[9])
    return found


def look(pids: Iterable[int], proc: Path = Path("/proc")) -> Mapping[int, Activity]:
    """Return what processes are doing; those that are gone are left out."""
    waiting: set[str] = set()
    for table in _TABLES:
        try:
            waiting |= parse_waiting((proc / "thread-self" / "net" / table).read_text())
        except OSError:
            continue
    found = {}
    for pid in pids:
        try:
            ticks = parse_ticks((proc / str(pid) / "stat").read_text())
            # Most of the time nothing waits anywhere, and nobody's sockets matter.
            inodes = _sockets(proc / str(pid)) if waiting else set()
        except (OSError, ValueError):
            continue
        found[pid] = Activity(ticks, bool(inodes & waiting))
    return found


def _sockets(process: Path) -> set[str]:
    matches = (_SOCKET.fullmatch(str(path.readlink())) for path in (process / "fd").iterdir())
    return {match[1] for match in matches if match}
