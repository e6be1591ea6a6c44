"""Which of a host's addresses BGP uses. Pure.

The methods and their names are those of calico/node's ``IP_AUTODETECTION_METHOD``:
``first-found``, ``can-reach=DESTINATION``, ``interface=REGEX,...``, ``skip-interface=REGEX,...``
and ``cidr=CIDR,...``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Literal

Family = Literal[4, 6]
HostAddress = IPv4Interface | IPv6Interface

# Interfaces that carry workloads, containers or overlays and never the host's own address.
NEVER_FIRST_FOUND = re.compile(
    r"(docker|cbr|dummy|podman|virbr|lxcbr|veth|lo|br-|cali|tunl|flannel|kube-ipvs|cni"
    r"|bgp-peering|vxlan.*\.calico|wireguard\.cali|nodelocaldns|tap|ns-|qbr|qvo|qvb|ovs)"
)


class DetectionError(Exception):
    """No address can be chosen; the message says why."""


@dataclass(frozen=True, slots=True)
class HostInterface:
    """A network interface with its usable addresses, in the kernel's order."""

    name: str
    addresses: tuple[HostAddress, ...]


@dataclass(frozen=True, slots=True)
class FirstFound:
    """The first address of the last interface that is not known to be internal."""


@dataclass(frozen=True, slots=True)
class CanReach:
    """The address that the kernel would send from to *destination* (name or address)."""

    destination: str


@dataclass(frozen=True, slots=True)
class ByInterface:
    """The first address of the last interface whose name some pattern finds."""

    patterns: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class SkipInterface:
    """Like FirstFound, without the interfaces whose names some pattern finds."""

    patterns: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class ByCidr:
    """Like FirstFound, but only an address inside one of the networks."""

    networks: tuple[IPv4Network | IPv6Network, ...]


Method = FirstFound | CanReach | ByInterface | SkipInterface | ByCidr


def parse_method(text: str) -> Method:
    """Read the name of a method with its arguments; raises ValueError with the reason."""
    name, separator, argument = text.strip().partition("=")
    parts = [part.strip() for part in argument.split(",") if part.strip()]
    if name in ("", "first-found") and not separator:
        return FirstFound()
    if not parts:
        raise ValueError(f"unknown or incomplete address detection method {text!r}")
    match name:
        case "can-reach":
            return CanReach(argument.strip())
        case "interface":
            return ByInterface(_patterns(parts))
        case "skip-interface":
            return SkipInterface(_patterns(parts))
        case "cidr":
            return ByCidr(tuple(ip_network(part, strict=False) for part in parts))
        case _:
            raise ValueError(f"unknown address detection method {name!r}")


def choose_address(
    method: Method,
    interfaces: Sequence[HostInterface],
    family: Family,
    source: IPv4Address | IPv6Address | None = None,
) -> HostAddress:
    """Return the host's address of *family* with its mask.

    *interfaces* are in the kernel's order and scanned from the last one, as calico/node does.
    *source* is the kernel's answer for CanReach and not looked at otherwise. Raises
    DetectionError if nothing qualifies.
    """
    if isinstance(method, CanReach):
        if source is None:
            raise DetectionError(f"the kernel has no route to {method.destination}")
        return with_mask(source, interfaces)
    for interface in reversed(interfaces):
        if not _interface_qualifies(method, interface.name):
            continue
        for address in interface.addresses:
            if address.version == family and _address_qualifies(method, address):
                return address
    raise DetectionError(f"no interface has an IPv{family} address that qualifies")


def with_mask(
    address: IPv4Address | IPv6Address, interfaces: Sequence[HostInterface]
) -> HostAddress:
    """Give a bare address the mask it has on its interface, or that of a single host."""
    for interface in interfaces:
        for candidate in interface.addresses:
            if candidate.ip == address:
                return candidate
    return ip_interface(address)


def _interface_qualifies(method: Method, name: str) -> bool:
    if isinstance(method, ByInterface):
        return any(pattern.search(name) for pattern in method.patterns)
    if NEVER_FIRST_FOUND.match(name):
        return False
    if isinstance(method, SkipInterface):
        return not any(pattern.search(name) for pattern in method.patterns)
    return True


def _address_qualifies(method: Method, address: HostAddress) -> bool:
    ip = address.ip
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if isinstance(method, ByCidr):
        return any(network.version == ip.version and ip in network for network in method.networks)
    return True


def _patterns(parts: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    try:
        return tuple(re.compile(part) for part in parts)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
