"""Frames with which workloads announce themselves, or do not."""

from __future__ import annotations

import struct
from ipaddress import ip_address

_BROADCAST = b"\xff" * 6
_REQUEST, _REPLY, _REVERSE_REQUEST = 1, 2, 3
_ADVERTISEMENT = 136


def mac_address(text: str) -> bytes:
    """Return the six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def arp(mac: bytes, sender: str, target: str, *, reply: bool = False) -> bytes:
    """Return an ARP frame: gratuitous if sender and target are the same address (RFC 826)."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REPLY if reply else _REQUEST)
    addresses = mac + ip_address(sender).packed + bytes(6) + ip_address(target).packed
    return _BROADCAST + mac + b"\x08\x06" + (head + addresses).ljust(46, b"\0")


def rarp(mac: bytes) -> bytes:
    """Return the frame that QEMU sends for an interface when its guest has moved (RFC 903)."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REVERSE_REQUEST)
    addresses = mac + bytes(4) + mac + bytes(4)
    return _BROADCAST + mac + b"\x80\x35" + (head + addresses).ljust(46, b"\0")


def advertisement(
    mac: bytes,
    address: str,
    *,
    to: str = "ff02::1",
    solicited: bool = False,
    override: bool = True,
    kind: int = _ADVERTISEMENT,
) -> bytes:
    """Return a neighbour advertisement frame (RFC 4861)."""
    own, other = ip_address(address).packed, ip_address(to).packed
    flags = (0x40 if solicited else 0) | (0x20 if override else 0)
    body = bytes([flags, 0, 0, 0]) + own + b"\x02\x01" + mac
    pseudo = own + other + struct.pack("!II", 4 + len(body), 58)
    words = pseudo + bytes([kind, 0, 0, 0]) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = struct.pack("!IHBB", 6 << 28, 4 + len(body), 58, 255) + own + other
    checksum = struct.pack("!H", ~total & 0xFFFF)
    return b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd" + header + bytes([kind, 0]) + checksum + body
