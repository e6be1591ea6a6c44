"""Ethernet frames made from packets of the policy model, and recognised again."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from calico_openstack.policy.packet import Packet

_TCP, _UDP, _SCTP, _UDPLITE, _SYN = 6, 17, 132, 136, 0x02
_CRC32C = 0x82F63B78
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_ETHERNET = 14


def ethernet(source: str, destination: str, packet: Packet, tag: bytes) -> bytes:
    """Return the first packet of a flow as a frame between two MACs; *tag* is its payload."""
    macs = bytes.fromhex(destination.replace(":", "")) + bytes.fromhex(source.replace(":", ""))
    return macs + _ETHERTYPES[packet.ip_version] + _ip(packet, tag)


def arrived(frame: bytes, packet: Packet, tag: bytes) -> bool:
    """Tell whether a received frame is the one that was made of *packet* and *tag*."""
    start = 34 if packet.ip_version == 4 else 54
    addresses = frame[26:34] if packet.ip_version == 4 else frame[22:54]
    return (
        frame[12:14] == _ETHERTYPES[packet.ip_version]
        and addresses == packet.source + packet.destination
        and frame[start:].startswith(_transport(packet, tag))
    )


def _ip(packet: Packet, tag: bytes) -> bytes:
    body = _transport(packet, tag)
    if packet.ip_version == 6:
        fixed = struct.pack("!IHBB", 6 << 28, len(body), packet.protocol, 64)
        return fixed + packet.source + packet.destination + body
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 0, 0, 64, packet.protocol)
    tail = packet.source + packet.destination
    return head + _checksum(head + tail) + tail + body


def _transport(packet: Packet, tag: bytes) -> bytes:
    """Return everything behind the IP header, checksums right."""
    if packet.protocol == _TCP:
        ports = struct.pack("!HH", packet.source_port, packet.destination_port)
        before = ports + struct.pack("!IIBBH", 1, 0, 5 << 4, _SYN, 1024)
        body = (before, b"\0\0" + tag)
    elif packet.protocol == _UDP:
        ports = struct.pack("!HH", packet.source_port, packet.destination_port)
        body = (ports + struct.pack("!H", 8 + len(tag)), tag)
    elif packet.protocol == _UDPLITE:
        # The checksum covers the header alone (RFC 3828, section 3.1).
        ports = struct.pack("!HHH", packet.source_port, packet.destination_port, 8)
        pseudo = packet.source + packet.destination
        pseudo += struct.pack("!II", 8 + len(tag), packet.protocol)
        return ports + _checksum(pseudo + ports) + tag
    elif packet.protocol == _SCTP:
        return _sctp_init(packet, tag)
    elif packet.icmp_type is not None:
        body = (bytes((packet.icmp_type, packet.icmp_code or 0)), b"\0\1\0\1" + tag)
        if packet.ip_version == 4:
            return body[0] + _checksum(body[0] + body[1]) + body[1]
    else:
        # GRE, version 0, carrying nothing that anybody knows.
        return b"\0\0\0\0" + tag
    length = len(body[0]) + 2 + len(body[1])
    pseudo = packet.source + packet.destination + struct.pack("!II", length, packet.protocol)
    return body[0] + _checksum(pseudo + body[0] + b"\0\0" + body[1]) + body[1]


def _sctp_init(packet: Packet, tag: bytes) -> bytes:
    """Return the beginning of an association (RFC 9260, section 3.3.2), *tag* in a parameter.

    The parameter is of a type that is to be skipped where it is unknown.
    """
    ports = struct.pack("!HH", packet.source_port, packet.destination_port)
    parameter = struct.pack("!HH", 0xBFFF, 4 + len(tag)) + tag + bytes(-len(tag) % 4)
    fixed = struct.pack("!IIHHI", 1, 1500, 1, 1, 1)
    chunk = struct.pack("!BBH", 1, 0, 4 + len(fixed) + len(parameter)) + fixed + parameter
    before = ports + bytes(4)
    # The one field on this wire in little-endian order.
    return before + struct.pack("<I", _crc32c(before + bytes(4) + chunk)) + chunk


def _crc32c(data: bytes) -> int:
    """Return SCTP's checksum (RFC 9260, appendix A), bit by bit."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (_CRC32C if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def packed(text: str) -> bytes:
    """Return an address as the bytes in a packet."""
    return ip_address(text).packed
