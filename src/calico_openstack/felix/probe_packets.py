"""The packets of probes: what an instance would send to begin a flow. Pure."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from calico_openstack.checksum import internet_checksum
from calico_openstack.felix.kernel.followed_packets import ECHO_REQUEST

TCP, UDP = 6, 17
PROTOCOLS: Final = frozenset({TCP, UDP, *ECHO_REQUEST})
PAYLOAD: Final = b"calicoctl trace"
"""What everybody who captures a probe reads in it. A TCP SYN carries nothing."""

_HOPS: Final = 64
_SYN: Final = 0x02
_WINDOW: Final = 1024
_NO_SUM: Final = b"\0\0"


class Probe(Struct, frozen=True):
    """The first packet of a flow; *token* is its source port, or the identifier of an echo."""

    source: bytes
    destination: bytes
    protocol: int
    port: int | None
    token: int

    @property
    def version(self) -> int:
        """Of the Internet protocol, 4 or 6."""
        return 4 if len(self.source) == 4 else 6

    def packet(self) -> bytes:
        """Return the packet, beginning with its IP header."""
        body = self._body()
        if self.version == 6:
            fixed = struct.pack("!IHBB", 6 << 28, len(body), self.protocol, _HOPS)
            return fixed + self.source + self.destination + body
        size = 20 + len(body)
        head = struct.pack("!BBHHHBB", 0x45, 0, size, self.token, 0, _HOPS, self.protocol)
        tail = self.source + self.destination
        return head + internet_checksum(head + _NO_SUM + tail) + tail + body

    def _body(self) -> bytes:
        port = self.port or 0
        if self.protocol == TCP:
            before = struct.pack("!HHIIBBH", self.token, port, self.token, 0, 5 << 4, _SYN, _WINDOW)
            after = b"\0\0"  # nothing is urgent
        elif self.protocol == UDP:
            before, after = struct.pack("!HHH", self.token, port, 8 + len(PAYLOAD)), PAYLOAD
        else:
            before = bytes((ECHO_REQUEST[self.protocol], 0))
            after = struct.pack("!HH", self.token, 1) + PAYLOAD
        covered = before + _NO_SUM + after
        if self.protocol != 1:
            length = struct.pack("!II", len(covered), self.protocol)
            covered = self.source + self.destination + length + covered
        # Zero would say that there is none (RFC 768); all ones is the same number.
        found = internet_checksum(covered)
        return (
            before + (b"\xff\xff" if self.protocol == UDP and found == _NO_SUM else found) + after
        )
