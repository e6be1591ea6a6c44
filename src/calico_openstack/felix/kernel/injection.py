"""Has the kernel receive a packet on a workload's interface, as if the workload had sent it.

Writing to the interface would send to the workload. So there is a pair of virtual Ethernet devices
for a moment: what is sent by one arrives at the other, where a filter hands it to the workload's
interface, on which it is then received: it meets every hook that the workload's own packets meet.
Nobody else's packets can come by that way: the filter passes the probe's addresses only.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from typing import Final

from msgspec import Struct

from calico_openstack.agent.log import fields
from calico_openstack.felix.kernel import traffic_control as tc
from calico_openstack.felix.kernel.traffic_control import TcMessage
from calico_openstack.felix.kernel.virtual_ethernet import (
    encode_pair,
    encode_up,
    encode_without_address,
)
from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NetlinkError,
    NetlinkSocket,
)
from calico_openstack.netlink.rtnetlink import RtMessage, parse_link

_log = logging.getLogger(__name__)

SENDER: Final = "calico-probe0"
RECEIVER: Final = "calico-probe1"
# A packet is through within a millisecond, unless the host is very busy.
_LIFETIME: Final = 0.5
_NO_MAC: Final = bytes(6)
_ETHERTYPES: Final = {4: b"\x08\x00", 6: b"\x86\xdd"}
# Where the addresses begin in an IP header, and how long each is.
_ADDRESSES: Final = {4: (12, 4), 6: (8, 16)}


class Place(Struct, frozen=True):
    """An interface by its index, its own MAC address, and that of the workload behind it."""

    interface: int
    mac: bytes
    workload_mac: bytes


class Injector:
    """Sends one packet after the other; its devices are gone half a second after each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def inject(self, place: Place, packet: bytes) -> None:
        """Have *packet* (from its IP header on) received; raises OSError.

        Raises BlockingIOError while the devices of the last one are still there.
        """
        if not self._lock.acquire(blocking=False):
            raise BlockingIOError(errno.EAGAIN, "another probe is under way: try again")
        try:
            with contextlib.closing(NetlinkSocket(NETLINK_ROUTE)) as links:
                _remove(links)
                _build(links, place, packet)
            _send(place, packet)
        finally:
            threading.Timer(_LIFETIME, self._end).start()

    def _end(self) -> None:
        try:
            remove_devices()
        finally:
            self._lock.release()


def remove_devices() -> None:
    """Remove the devices, which an agent that was killed may have left; nothing is raised."""
    try:
        with contextlib.closing(NetlinkSocket(NETLINK_ROUTE)) as links:
            _remove(links)
    except OSError as error:
        _log.warning("A probe's devices cannot be removed", extra=fields(reason=str(error)))


def _build(links: NetlinkSocket, place: Place, packet: bytes) -> None:
    mac = place.mac or _NO_MAC
    links.request(RtMessage.NEWLINK, encode_pair(SENDER, RECEIVER, mac), NLM_F_CREATE)
    receiver = _index(links, RECEIVER)
    start, size = _ADDRESSES[packet[0] >> 4]
    words = [(at, packet[at : at + 4]) for at in range(start, start + 2 * size, 4)]
    redirection = tc.encode_redirection(receiver, place.interface, words, received=True)
    links.request(TcMessage.NEWQDISC, tc.encode_ingress(receiver), NLM_F_CREATE)
    links.request(TcMessage.NEWTFILTER, redirection, NLM_F_CREATE)
    # A device sends from when it comes up, if the other end is up by then; else some time later.
    for index in (receiver, _index(links, SENDER)):
        # Where there is no IPv6 this is refused, and not needed.
        with contextlib.suppress(NetlinkError):
            links.request(RtMessage.NEWLINK, encode_without_address(index))
        links.request(RtMessage.NEWLINK, encode_up(index))


def _send(place: Place, packet: bytes) -> None:
    frame = (place.mac or _NO_MAC) + (place.workload_mac or _NO_MAC)
    frame += _ETHERTYPES[packet[0] >> 4] + packet
    # Protocol 0: nothing is received.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sender:
        sender.bind((SENDER, 0))
        sender.send(frame)


def _index(links: NetlinkSocket, name: str) -> int:
    for answer in links.request(RtMessage.GETLINK, tc.link_request(name)):
        if (link := parse_link(answer.body)) is not None:
            return link.index
    raise OSError(errno.ENODEV, f"{name} vanished as soon as it was made")


def _remove(links: NetlinkSocket) -> None:
    try:
        links.request(RtMessage.DELLINK, tc.link_removal(_index(links, SENDER)))
    except NetlinkError as error:
        if error.errno != errno.ENODEV:
            raise
