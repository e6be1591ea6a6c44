"""Scans of the kernel's routes that BIRD 3 needs: soon after every change of its own routes.

BIRD 3 notes at each scan which of its routes the kernel has, by numbers that it gives to other
routes when the first ones are gone. A new route with the number of one that was there at the last
scan is taken for written already, and the kernel gets it with the next scan only, seconds later: a
workload that is created, or that has moved, cannot be reached until then. So BIRD is told to scan
whenever a route of its own has gone or leads elsewhere. The number is free to be used again then,
and a route that came even sooner is written by that scan.

A BIRD 3 that starts scans after a second for the first time, and may have told its neighbours by
then that it has sent them all its routes: they drop those of this host's workloads, which BIRD
learns by that scan. So it is told to scan as soon as it answers, and until its recovery is over,
for it writes no route before the first scan after that.

Changes that the kernel does not tell of are left to BIRD's regular scans: an IPv4 route that is
announced anew and leads where it did.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from calico_openstack.bgp.birdc import BirdCommandError, BirdControl, BirdUnavailableError
from calico_openstack.bgp.birdstatus import parse_status
from calico_openstack.bgp.detection import Family
from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    NLM_F_REPLACE,
    Message,
    NetlinkSocket,
)
from calico_openstack.netlink.rtnetlink import AF_INET, RtGroup, RtMessage, parse_route_way

_log = logging.getLogger(__name__)

# RTPROT_BIRD.
_BIRD_PROTOCOL: Final = 12
_SHORTEST_PAUSE: Final = 0.05
_PAUSE_IN_RECOVERY: Final = 0.2
_RETRY: Final = 0.02
# Scans may take a tenth of BIRD's time.
_PAUSE_PER_SCAN: Final = 9.0
_LOOK_AGAIN: Final = 1.0


class RouteChanges:
    """Which notifications say that a number of BIRD's has become free."""

    def __init__(self) -> None:
        self._ways: dict[tuple[int, bytes, int], tuple[bytes, ...]] = {}

    def take(self, notifications: Iterable[Message | None]) -> set[Family]:
        """Return the families in which routes of BIRD's have gone or lead elsewhere.

        None among the notifications says that some were lost.
        """
        changed: set[Family] = set()
        for received in notifications:
            if received is None:
                self._ways.clear()
                changed |= {4, 6}
            elif received.kind in (RtMessage.NEWROUTE, RtMessage.DELROUTE):
                family = self._take_route(received)
                changed |= {family} if family else set()
        return changed

    def _take_route(self, received: Message) -> Family | None:
        route = parse_route_way(received.body)
        if route is None or route.protocol != _BIRD_PROTOCOL:
            return None
        family: Family = 4 if route.family == AF_INET else 6
        key = (route.family, route.destination, route.metric)
        before = self._ways.pop(key, None)
        if received.kind == RtMessage.DELROUTE:
            return family
        self._ways[key] = route.way
        # A route is also written again as it was, which the kernel tells of in IPv6.
        replaced = bool(received.flags & NLM_F_REPLACE) and before != route.way
        return family if replaced else None


class Rescans:
    """The thread that has BIRD scan, if the one that runs needs it."""

    def __init__(self, control: Path) -> None:
        self._control = BirdControl(control)
        self._due: set[Family] = set()
        self._recovering = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rescans", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since a BIRD that hangs may keep it."""
        self._stopping.set()

    def _run(self) -> None:
        with self._control:
            self._serve()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._control.command("show status")
                if self._control.version is not None and self._control.version.needs_rescans:
                    self._follow()
                else:
                    self._due = set()
                    while not self._ended():
                        pass
            except BirdUnavailableError:
                # One that starts has to scan at once.
                self._stopping.wait(_RETRY)
            except (BirdCommandError, OSError) as error:
                _log.warning("Changes of the kernel's routes cannot be followed: %s", error)
                self._stopping.wait(_LOOK_AGAIN)

    def _follow(self) -> None:
        """Have BIRD scan after each change until it ends."""
        changes = RouteChanges()
        # What has changed before is not known.
        self._due = {4, 6}
        groups = (RtGroup.IPV4_ROUTE, RtGroup.IPV6_ROUTE)
        with contextlib.closing(NetlinkSocket(NETLINK_ROUTE, groups=groups)) as socket:
            while not self._ended(socket.fileno()):
                self._due |= changes.take(socket.notifications())
                if self._due:
                    self._stopping.wait(self._scan())

    def _ended(self, *others: int) -> bool:
        """Wait for something to happen; return whether it was the end of BIRD, or of this thread.

        *others* are descriptors to wait for besides.
        """
        connection = self._control.connection
        if connection is None or self._stopping.is_set():
            return True
        patience = 0 if self._due else _LOOK_AGAIN
        readable, _, _ = select.select([connection.fileno(), *others], [], [], patience)
        if connection.fileno() not in readable:
            return False
        # BIRD says nothing unasked.
        self._control.close()
        return True

    def _scan(self) -> float:
        """Have BIRD scan what is due; return how many seconds to wait before the next time."""
        begun = time.monotonic()
        for family in sorted(self._due):
            # Reading the routes again is a scan.
            self._control.command(f"reload filters in calico_kernel{family}")
        # Answered after the scan.
        recovering = parse_status(self._control.command("show status")).recovering
        # The recovery may have ended after the scan.
        again = recovering or self._recovering
        self._recovering = recovering
        self._due = {4, 6} if again else set()
        spent = time.monotonic() - begun
        return max(_PAUSE_IN_RECOVERY if again else _SHORTEST_PAUSE, _PAUSE_PER_SCAN * spent)
