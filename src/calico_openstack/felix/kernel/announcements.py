"""Hears that a workload announces itself on its interface, as it does when it has arrived.

What counts: RARP, which hypervisors send for the workload (QEMU for each of its interfaces);
gratuitous ARP (RFC 5227); and unsolicited neighbour advertisements to all nodes (RFC 4861, 7.2.6),
the same for IPv6, which upstream does not look at. They must come from the workload: neither from
the host, nor from another MAC address than the endpoint's.
"""

from __future__ import annotations

import errno
import socket
import threading
from enum import Enum
from typing import Final

from calico_openstack.netlink import bpf
from calico_openstack.netlink.bpf import Instruction

_ETH_P_ALL: Final = 3
_PACKET_OUTGOING: Final = 4
_LARGEST_FRAME: Final = 2048

_MAC: Final = 6
_IPV6, _ARP, _RARP = 0x86DD, 0x0806, 0x8035
_ETHERNET, _IPV4 = b"\0\1", b"\x08\0"
_ICMPV6, _ADVERTISEMENT = 58, 136
_ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
_SOLICITED, _OVERRIDE = 0x40, 0x20
# Offsets in a frame: Ethernet header, then ARP or IPv6 without extension headers.
_SOURCE_MAC, _ETHERTYPE = 6, 12
_ARP_SENDER, _ARP_TARGET, _ARP_END = 28, 38, 42
_NEXT_HEADER, _DESTINATION, _ICMP_TYPE, _FLAGS, _NA_END = 20, 38, 54, 58, 78

# Coarse, so that no traffic of an interface costs more than looking at its type; `announcement`
# looks at what is left.
_PROGRAM: Final = (
    Instruction(bpf.LOAD_WORD, 0, 0, bpf.ANCILLARY_PACKET_TYPE),
    Instruction(bpf.JUMP_IF_EQUAL, 9, 0, _PACKET_OUTGOING),
    Instruction(bpf.LOAD_HALF, 0, 0, _ETHERTYPE),
    Instruction(bpf.JUMP_IF_EQUAL, 6, 0, _RARP),
    Instruction(bpf.JUMP_IF_EQUAL, 5, 0, _ARP),
    Instruction(bpf.JUMP_IF_EQUAL, 0, 5, _IPV6),
    Instruction(bpf.LOAD_BYTE, 0, 0, _NEXT_HEADER),
    Instruction(bpf.JUMP_IF_EQUAL, 0, 3, _ICMPV6),
    Instruction(bpf.LOAD_BYTE, 0, 0, _ICMP_TYPE),
    Instruction(bpf.JUMP_IF_EQUAL, 0, 1, _ADVERTISEMENT),
    Instruction(bpf.RETURN, 0, 0, bpf.PASS),
    Instruction(bpf.RETURN, 0, 0, bpf.DROP),
)


class Announcement(Enum):
    """How a workload announces itself."""

    RARP = "RARP"
    GRATUITOUS_ARP = "gratuitous ARP"
    NEIGHBOUR_ADVERTISEMENT = "unsolicited neighbour advertisement"


def announcement(frame: bytes, mac: bytes) -> Announcement | None:
    """Return what *frame*, an Ethernet frame, announces for the workload with *mac*.

    An endpoint without a MAC address, an empty one, may use any.
    """
    if len(frame) < _ETHERTYPE + 2:
        return None
    if mac and frame[_SOURCE_MAC : _SOURCE_MAC + _MAC] != mac:
        return None
    ethertype = int.from_bytes(frame[_ETHERTYPE : _ETHERTYPE + 2], "big")
    if ethertype == _RARP:
        return Announcement.RARP
    if ethertype == _ARP and _is_gratuitous(frame):
        return Announcement.GRATUITOUS_ARP
    if ethertype == _IPV6 and _is_unsolicited(frame):
        return Announcement.NEIGHBOUR_ADVERTISEMENT
    return None


def _is_gratuitous(frame: bytes) -> bool:
    """Tell whether an ARP frame has the same address for sender and target."""
    sender = frame[_ARP_SENDER : _ARP_SENDER + 4]
    return (
        len(frame) >= _ARP_END
        and frame[14:18] == _ETHERNET + _IPV4
        and any(sender)
        and sender == frame[_ARP_TARGET:_ARP_END]
    )


def _is_unsolicited(frame: bytes) -> bool:
    """Tell whether an IPv6 frame is an advertisement to all nodes that nobody asked for."""
    return (
        len(frame) >= _NA_END
        and frame[_NEXT_HEADER] == _ICMPV6
        and frame[_DESTINATION : _DESTINATION + 16] == _ALL_NODES
        and frame[_ICMP_TYPE] == _ADVERTISEMENT
        and frame[_FLAGS] & (_SOLICITED | _OVERRIDE) == _OVERRIDE
    )


class AnnouncementListener:
    """Listens on one interface of the namespace in which it is made; raises OSError.

    *mac* is the workload's, six bytes or none.
    """

    def __init__(self, interface: str, mac: bytes) -> None:
        self._mac = mac
        # Without a protocol nothing is received yet: neither before the filter nor before binding.
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        try:
            bpf.attach(self._socket, _PROGRAM)
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there may be something to hear."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no longer.

        The kernel keeps who closes such a socket waiting until every processor has let go of it,
        some 10 ms; a thread waits in the place of packets to the workload that has been heard.
        """
        threading.Thread(target=self._socket.close, name="close-listener", daemon=True).start()

    def heard(self) -> Announcement | None:
        """Read everything that came, and return an announcement that was among it."""
        found = None
        while True:
            try:
                frame = self._socket.recv(_LARGEST_FRAME)
            except BlockingIOError:
                return found
            except OSError as error:
                # Told once when the interface goes down; the socket works again when it comes up.
                if error.errno == errno.ENETDOWN:
                    continue
                return found
            found = found or announcement(frame, self._mac)
