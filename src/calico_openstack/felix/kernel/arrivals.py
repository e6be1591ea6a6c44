"""Sees what is handed to workloads' interfaces of one probe and its answers, behind all rules.

What the rules accept may still be lost: to a neighbour entry that is missing, or in a queue.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Final

from calico_openstack.felix.kernel.followed_packets import (
    ICMP,
    ICMPV6,
    UNREACHABLE,
    Followed,
    Headers,
    headers_in,
)
from calico_openstack.netlink import bpf
from calico_openstack.netlink.bpf import Instruction

_ETH_P_ALL: Final = 3
_PACKET_OUTGOING: Final = 4
_LARGEST: Final = 2048
_IPV4_SIZE, _IPV6_SIZE = 20, 40


def program(followed: Followed) -> tuple[Instruction, ...]:
    """Return a filter that passes what may be of a probe, of all that is sent, and little else.

    Packets begin with the IP header, of IPv4 without options.
    """
    token, port = followed.token or 0, followed.port or 0
    # The ports there and back, and identifier and number of an echo, which is the first.
    there, back, echo = token << 16 | port, port << 16 | token, token << 16 | 1
    looked_at = [
        (bpf.LOAD_WORD, _IPV4_SIZE, (there, back)),
        (bpf.LOAD_WORD, _IPV4_SIZE + 4, (echo,)),
        (bpf.LOAD_BYTE, _IPV4_SIZE, (UNREACHABLE[ICMP],)),
        (bpf.LOAD_WORD, _IPV6_SIZE, (there, back)),
        (bpf.LOAD_WORD, _IPV6_SIZE + 4, (echo,)),
        (bpf.LOAD_BYTE, _IPV6_SIZE, (UNREACHABLE[ICMPV6],)),
    ]
    # Backwards, as jumps count from the next instruction to the last but one, which passes.
    code = [Instruction(bpf.RETURN, 0, 0, bpf.PASS), Instruction(bpf.RETURN, 0, 0, bpf.DROP)]
    tail: list[Instruction] = []
    for load, offset, values in reversed(looked_at):
        for value in reversed(values):
            last = not tail
            tail.insert(0, Instruction(bpf.JUMP_IF_EQUAL, len(tail), 1 if last else 0, value))
        tail.insert(0, Instruction(load, 0, 0, offset))
    return (
        Instruction(bpf.LOAD_WORD, 0, 0, bpf.ANCILLARY_PACKET_TYPE),
        Instruction(bpf.JUMP_IF_EQUAL, 0, len(tail) + 1, _PACKET_OUTGOING),
        *tail,
        *code,
    )


class Arrivals:
    """Watches *interfaces* of the namespace in which it is made; one that is missing is left out.

    Nothing is raised where the kernel does not have what is needed: then nothing arrives.
    """

    def __init__(self, interfaces: Iterable[str], followed: Followed) -> None:
        self._followed = followed
        self._sockets: dict[str, socket.socket] = {}
        code = program(followed)
        for name in interfaces:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            try:
                receiver = socket.socket(socket.AF_PACKET, kind, 0)
            except OSError:
                return
            try:
                bpf.attach(receiver, code)
                receiver.bind((name, _ETH_P_ALL))
            except OSError:
                receiver.close()
            else:
                self._sockets[name] = receiver

    def close(self) -> None:
        """Watch no more."""
        for each in self._sockets.values():
            each.close()

    def seen(self) -> Iterator[tuple[str, Headers]]:
        """Yield interfaces and what was handed to them since the last call."""
        for name, receiver in self._sockets.items():
            while True:
                try:
                    packet = receiver.recv(_LARGEST)
                except OSError:
                    break
                size = _IPV6_SIZE if packet[:1] and packet[0] >> 4 == 6 else _IPV4_SIZE
                found = headers_in(packet[:size], packet[size:])
                if found is not None and self._followed.way_of(found) is not None:
                    yield name, found
