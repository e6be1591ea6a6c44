"""The Internet checksum, of headers and messages that we make ourselves."""

from __future__ import annotations

import struct


def internet_checksum(data: bytes) -> bytes:
    """Return the checksum of RFC 1071, as it stands in a packet."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
