"""When the kernel was programmed, by its own notifications."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from calico_openstack.netlink.protocol import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket

# Groups of <linux/rtnetlink.h> and <linux/netfilter/nfnetlink.h>.
_RTNLGRP_IPV4_ROUTE = 7
_NFNLGRP_NFTABLES = 7
_BUFFER = 1 << 20
_TIMEOUT = 30.0


class Notifications:
    """Collects what the kernel tells about routes or about nftables, with the time of arrival."""

    def __init__(self, protocol: int, group: int) -> None:
        self._netlink = NetlinkSocket(protocol, groups=[group], receive_buffer=256 << 20)
        self._socket = socket.socket(fileno=self._netlink.fileno())
        self._condition = threading.Condition()
        self._buffers: list[tuple[float, bytes]] = []
        threading.Thread(target=self._collect, daemon=True).start()

    @classmethod
    def of_routes(cls) -> Notifications:
        """Watch IPv4 routes."""
        return cls(NETLINK_ROUTE, _RTNLGRP_IPV4_ROUTE)

    @classmethod
    def of_nftables(cls) -> Notifications:
        """Watch nftables."""
        return cls(NETLINK_NETFILTER, _NFNLGRP_NFTABLES)

    def forget(self) -> None:
        """Begin anew."""
        with self._condition:
            self._buffers.clear()

    def wait_for_address(self, address: str) -> float:
        """Return when an address was told of since `forget`, on the monotonic clock."""
        packed = IPv4Address(address).packed
        return self.wait_for(lambda buffer: packed in buffer)

    def wait_for(self, wanted: Callable[[bytes], bool]) -> float:
        """Return when a buffer came that is wanted; raises TimeoutError."""
        seen = 0
        deadline = time.monotonic() + _TIMEOUT
        with self._condition:
            while True:
                for moment, buffer in self._buffers[seen:]:
                    if wanted(buffer):
                        return moment
                seen = len(self._buffers)
                if not self._condition.wait(deadline - time.monotonic()):
                    raise TimeoutError("the kernel was not programmed")

    def _collect(self) -> None:
        while True:
            buffer = self._socket.recv(_BUFFER)
            moment = time.monotonic()
            with self._condition:
                self._buffers.append((moment, buffer))
                self._condition.notify()
