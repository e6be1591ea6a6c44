"""Kills a process between two of its writes to the kernel, whichever it is told.

The drivers write through two system calls only: sendmsg(2) on a netlink socket, and pwrite(2) on a
file below /proc/sys. Here both are wrapped in the process that is to die; the drivers know nothing
of it, so it costs them nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from calico_openstack.netlink.protocol import NetlinkSocket


def die_before_write(number: int) -> Callable[[], int]:
    """Let this process die, by SIGKILL, instead of doing its *number*-th write, counted from 1.

    Returns a function that says how many writes there were. With 0 it only counts.
    """
    count = 0

    def reached() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    exchange, pwrite = NetlinkSocket.exchange, os.pwrite

    def counted_exchange(self: NetlinkSocket, parts: Any) -> Any:
        reached()
        return exchange(self, parts)

    def counted_pwrite(*arguments: Any) -> int:
        reached()
        return pwrite(*arguments)

    NetlinkSocket.exchange = counted_exchange  # type: ignore[method-assign]
    os.pwrite = counted_pwrite
    return lambda: count
