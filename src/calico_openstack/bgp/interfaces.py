"""The host's interfaces and addresses, as the kernel has them."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any, Final

from calico_openstack.bgp.detection import Family, HostAddress, HostInterface

_TIMEOUT: Final = 10.0
# IFA_F_* flags, in iproute2's words, of addresses that must not identify a host (RFC 4862, 8981).
_UNUSABLE: Final = ("tentative", "dadfailed", "deprecated", "temporary")
_SOCKET_FAMILIES: Final[Mapping[Family, socket.AddressFamily]] = {
    4: socket.AF_INET,
    6: socket.AF_INET6,
}
_ANY_PORT: Final = 9


def read_interfaces() -> list[HostInterface]:
    """Return the interfaces that are up, in the kernel's order. Raises OSError."""
    try:
        result = subprocess.run(
            ["ip", "-json", "address", "show", "up"],
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
        links = json.loads(result.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError(f"cannot read the interfaces' addresses: {error}") from error
    return [HostInterface(link["ifname"], tuple(_addresses(link))) for link in links if link]


def source_towards(destination: str, family: Family) -> IPv4Address | IPv6Address | None:
    """Return the address that the kernel sends from to *destination*; None if it has no route.

    Nothing is sent. *destination* may be a name.
    """
    kind = _SOCKET_FAMILIES[family]
    try:
        *_, target = socket.getaddrinfo(destination, _ANY_PORT, kind, socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return ip_address(probe.getsockname()[0])
    except OSError:
        return None


def has_bird_routes() -> bool:
    """Whether the kernel holds routes of a BIRD: there is forwarding state to be preserved."""
    for family in ("-4", "-6"):
        result = subprocess.run(
            ["ip", family, "route", "show", "table", "all", "proto", "bird"],
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
        if result.stdout.strip():
            return True
    return False


def _addresses(link: Mapping[str, Any]) -> Iterator[HostAddress]:
    for entry in link.get("addr_info", ()):
        if entry.get("family") in ("inet", "inet6") and not any(map(entry.get, _UNUSABLE)):
            yield ip_interface(f"{entry['local']}/{entry['prefixlen']}")
