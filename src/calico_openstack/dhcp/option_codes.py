"""The DHCP options that may be given to a port: names, numbers, and what their values are. Pure.

Names are those of dnsmasq(8), which Neutron's users write. DHCPv4: RFC 2132, 3361, 3397, 3442,
4833, 8925 and IANA's registry; DHCPv6: RFC 3319, 3646, 3898, 4075, 4242, 4833, 5908, 5970.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Kind(Enum):
    """What the value of an option is, as one writes it."""

    ADDRESS = "an address"
    ADDRESSES = "addresses, separated by commas"
    PAIRS = "an even number of addresses, separated by commas"
    ROUTES = "networks each followed by its next hop, separated by commas"
    TEXT = "printable ASCII text"
    TEXTS = "printable ASCII texts, separated by commas"
    DOMAINS = "domain names, separated by commas"
    BYTE = "a number from 0 to 255"
    WORD = "a number from 0 to 65535"
    LONG = "a number from -2147483648 to 4294967295"
    ANY = "addresses, a number, octets in hexadecimal or printable ASCII text"


_DHCPV4: Final = {
    "time-offset": (2, Kind.LONG),
    "router": (3, Kind.ADDRESSES),
    "dns-server": (6, Kind.ADDRESSES),
    "log-server": (7, Kind.ADDRESSES),
    "lpr-server": (9, Kind.ADDRESSES),
    "boot-file-size": (13, Kind.WORD),
    "domain-name": (15, Kind.TEXT),
    "swap-server": (16, Kind.ADDRESS),
    "root-path": (17, Kind.TEXT),
    "extension-path": (18, Kind.TEXT),
    "ip-forward-enable": (19, Kind.BYTE),
    "non-local-source-routing": (20, Kind.BYTE),
    "policy-filter": (21, Kind.PAIRS),
    "max-datagram-reassembly": (22, Kind.WORD),
    "default-ttl": (23, Kind.BYTE),
    "mtu": (26, Kind.WORD),
    "all-subnets-local": (27, Kind.BYTE),
    "router-discovery": (31, Kind.BYTE),
    "router-solicitation": (32, Kind.ADDRESS),
    "static-route": (33, Kind.PAIRS),
    "trailer-encapsulation": (34, Kind.BYTE),
    "arp-timeout": (35, Kind.LONG),
    "ethernet-encap": (36, Kind.BYTE),
    "tcp-ttl": (37, Kind.BYTE),
    "tcp-keepalive": (38, Kind.LONG),
    "nis-domain": (40, Kind.TEXT),
    "nis-server": (41, Kind.ADDRESSES),
    "ntp-server": (42, Kind.ADDRESSES),
    "netbios-ns": (44, Kind.ADDRESSES),
    "netbios-dd": (45, Kind.ADDRESSES),
    "netbios-nodetype": (46, Kind.BYTE),
    "netbios-scope": (47, Kind.TEXT),
    "x-windows-fs": (48, Kind.ADDRESSES),
    "x-windows-dm": (49, Kind.ADDRESSES),
    "T1": (58, Kind.LONG),
    "T2": (59, Kind.LONG),
    "vendor-class": (60, Kind.TEXT),
    "nis+-domain": (64, Kind.TEXT),
    "nis+-server": (65, Kind.ADDRESSES),
    "tftp-server": (66, Kind.TEXT),
    "bootfile-name": (67, Kind.TEXT),
    "mobile-ip-home": (68, Kind.ADDRESSES),
    "smtp-server": (69, Kind.ADDRESSES),
    "pop3-server": (70, Kind.ADDRESSES),
    "nntp-server": (71, Kind.ADDRESSES),
    "irc-server": (74, Kind.ADDRESSES),
    "user-class": (77, Kind.TEXT),
    "posix-timezone": (100, Kind.TEXT),
    "tzdb-timezone": (101, Kind.TEXT),
    "ipv6-only": (108, Kind.LONG),
    "domain-search": (119, Kind.DOMAINS),
    "sip-server": (120, Kind.ADDRESSES),
    "classless-static-route": (121, Kind.ROUTES),
    "tftp-server-address": (150, Kind.ADDRESSES),
    # Not an option: the header's field siaddr (RFC 2131), by the number that dnsmasq has for it.
    "server-ip-address": (255, Kind.ADDRESS),
}

_DHCPV6: Final = {
    "sip-server-domain": (21, Kind.DOMAINS),
    "sip-server": (22, Kind.ADDRESSES),
    "dns-server": (23, Kind.ADDRESSES),
    "domain-search": (24, Kind.DOMAINS),
    "nis-server": (27, Kind.ADDRESSES),
    "nis+-server": (28, Kind.ADDRESSES),
    "nis-domain": (29, Kind.DOMAINS),
    "nis+-domain": (30, Kind.DOMAINS),
    "sntp-server": (31, Kind.ADDRESSES),
    "information-refresh-time": (32, Kind.LONG),
    "posix-timezone": (41, Kind.TEXT),
    "tzdb-timezone": (42, Kind.TEXT),
    "ntp-server": (56, Kind.ADDRESSES),
    "bootfile-url": (59, Kind.TEXT),
    "bootfile-param": (60, Kind.TEXTS),
}

# What the protocol itself needs, and what says which address is whose: RFC 2131, 3046, 4702;
# RFC 8415.
_DHCPV4_OWN: Final = frozenset({1, 28, *range(50, 58), 61, 80, 81, 82, 93, 94, 97, 116, 118})
_DHCPV6_OWN: Final = frozenset({*range(1, 16), *range(17, 21), 25, 26, 39, 79, 82, 83})

NAMES: Final[Mapping[int, Mapping[str, tuple[int, Kind]]]] = {4: _DHCPV4, 6: _DHCPV6}
"""By IP version and name: the number, and what the value is."""

_KINDS: Final = {version: dict(names.values()) for version, names in NAMES.items()}
_OWN: Final = {4: _DHCPV4_OWN, 6: _DHCPV6_OWN}
_LARGEST: Final = {4: 255, 6: 65535}
# Routes by the number of before there was one (MS-DHCPE section 2.2.8).
_KINDS[4][249] = Kind.ROUTES


def look_up(version: int, name: str) -> tuple[int, Kind]:
    """Return the number and kind of an option given by name or number.

    Raises ValueError with the reason for one that may not be given.
    """
    if not (name.isascii() and name.isdecimal()):
        if name not in NAMES[version]:
            raise ValueError(f"there is no DHCPv{version} option of this name")
        return NAMES[version][name]
    code = int(name[:6])
    if not 0 < code <= _LARGEST[version]:
        raise ValueError(f"there is no DHCPv{version} option of this number")
    if code in _OWN[version]:
        raise ValueError("this option belongs to the server")
    return code, _KINDS[version].get(code, Kind.ANY)
