"""Room in the kernel's tables of neighbours, which all namespaces of the machine share.

Hosts know each other, their router and their workloads by ARP and neighbour discovery. Beyond
``gc_thresh3`` entries (1024 unless configured) the kernel forgets some at once and drops what is
sent to the others. A lab raises the limit if its own size needs it, and leaves it so: other labs
may have come to depend on it, and unused room costs nothing.
"""

from collections.abc import Mapping
from pathlib import Path

from calico_openstack.lab.progress import Progress

_FAMILIES = ("ipv4", "ipv6")
_NAMES = ("gc_thresh1", "gc_thresh2", "gc_thresh3")
# Labs and tests share the tables: this much of them is for one lab's hosts.
_SHARE = 4
_WORKLOADS_A_HOST = 8
_TABLES = Path("/proc/sys/net")


def needed(hosts: int) -> int:
    """Return the entries that a lab of so many compute hosts may need in each family. Pure."""
    return hosts * (hosts + 2 + _WORKLOADS_A_HOST)


def raised(present: Mapping[str, int], hosts: int) -> dict[str, int]:
    """Return which of the limits, by name, to set to what; none if there is room. Pure."""
    limit = _SHARE * needed(hosts)
    if present["gc_thresh3"] >= limit:
        return {}
    # Below the first no entry is forgotten, between the second and third only after a while.
    return {name: max(value, limit) for name, value in present.items()}


def make_room(hosts: int, progress: Progress, tables: Path = _TABLES) -> None:
    """Raise the limits if a lab of so many compute hosts needs it, and say so.

    A machine that does not let them be raised is told of, no more: most packets pass.
    """
    for family in _FAMILIES:
        folder = tables / family / "neigh" / "default"
        try:
            present = {name: int((folder / name).read_text()) for name in _NAMES}
            changes = raised(present, hosts)
            # The highest first, so that the limits are in order at any time.
            for name in reversed(_NAMES):
                if name in changes:
                    (folder / name).write_text(str(changes[name]))
        except (OSError, ValueError) as error:
            progress.note(f"{family}: the room for neighbours cannot be seen to: {error}")
            continue
        if changes:
            progress.note(
                f"net.{family}.neigh.default.gc_thresh3 raised from {present['gc_thresh3']} to "
                f"{changes['gc_thresh3']}, for all of the machine and beyond this lab"
            )
