"""Where the fields that rules look at are found: in the packet or beside it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from calico_openstack.felix.render.nft import Field

INTERFACE_NAME_BYTES = 16
META_MARK = 3
META_NFTRACE = 12


class Meta(NamedTuple):
    """A field that the ``meta`` expression loads, by its key."""

    key: int
    length: int


class Payload(NamedTuple):
    """A field of the packet: *base* is 1 for the network, 2 for the transport header."""

    base: int
    offset: int
    length: int


_NETWORK, _TRANSPORT = 1, 2
SOURCES: dict[Field, Meta | Payload] = {
    Field.IIF: Meta(4, 4),
    Field.IIFNAME: Meta(6, INTERFACE_NAME_BYTES),
    Field.OIFNAME: Meta(7, INTERFACE_NAME_BYTES),
    Field.OIF: Meta(5, 4),
    Field.L4PROTO: Meta(16, 1),
    Field.MARK: Meta(META_MARK, 4),
    Field.IP_PROTOCOL: Payload(_NETWORK, 9, 1),
    Field.IP_SADDR: Payload(_NETWORK, 12, 4),
    Field.IP_DADDR: Payload(_NETWORK, 16, 4),
    Field.IP6_SADDR: Payload(_NETWORK, 8, 16),
    Field.IP6_DADDR: Payload(_NETWORK, 24, 16),
    Field.TH_SPORT: Payload(_TRANSPORT, 0, 2),
    Field.TH_DPORT: Payload(_TRANSPORT, 2, 2),
    Field.ICMP_TYPE: Payload(_TRANSPORT, 0, 1),
    Field.ICMP_CODE: Payload(_TRANSPORT, 1, 1),
    Field.ICMPV6_TYPE: Payload(_TRANSPORT, 0, 1),
    Field.ICMPV6_CODE: Payload(_TRANSPORT, 1, 1),
    # The identifier of an echo request or reply.
    Field.ICMP_ID: Payload(_TRANSPORT, 4, 2),
    Field.ICMPV6_ID: Payload(_TRANSPORT, 4, 2),
    # In an ARP header for IPv4 over Ethernet (RFC 826).
    Field.ARP_OPERATION: Payload(_NETWORK, 6, 2),
    Field.ARP_SADDR_IP: Payload(_NETWORK, 14, 4),
}
# Numbers that the kernel keeps in host byte order, while `Compare` states network byte order.
HOST_ORDER = frozenset({Field.IIF, Field.OIF, Field.MARK})
IPV4_FIELDS = frozenset({Field.IP_SADDR, Field.IP_DADDR, Field.ARP_SADDR_IP})
