"""What policy looks at in a packet: the first one of a flow, in the flow's original direction."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from calico_openstack.policy.addresses import ip_version, unpack_address


class Direction(Enum):
    """Seen from the endpoint: into it, or out of it."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Packet(Struct, frozen=True):
    """Packed addresses of one family, the protocol's number, and its ports or ICMP type and code.

    Ports are None for protocols without, ICMP fields for all but ICMP and ICMPv6.
    """

    source: bytes
    destination: bytes
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None

    @property
    def ip_version(self) -> int:
        """Either 4 or 6."""
        return ip_version(self.source)

    def __str__(self) -> str:
        icmp = "" if self.icmp_type is None else f" type {self.icmp_type} code {self.icmp_code}"
        source = _end(self.source, self.source_port)
        destination = _end(self.destination, self.destination_port)
        return f"protocol {self.protocol}{icmp} {source} -> {destination}"


def _end(address: bytes, port: int | None) -> str:
    return f"{unpack_address(address)}" + ("" if port is None else f" port {port}")
