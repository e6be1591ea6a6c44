"""Whether a port can be plugged into a host, and what Nova is told about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from calico_openstack.neutron.translate.facts import VIF_TAP

AGENT_TYPE = "Calico per-host agent (felix)"
AGENT_BINARY = "calico-felix"
VIF_TYPE = VIF_TAP
NETWORK_TYPES = ("local", "flat")
VNIC_TYPE = "normal"

# The address of the host's end of the TAP device where the port's own cannot be used.
DEFAULT_TAP_MAC = "00:61:fe:ed:ca:fe"
_MAC = re.compile(r"[0-9a-fA-F]{2}((?::[0-9a-fA-F]{2}){5})\Z")


def tap_mac(port_mac: object) -> str:
    """Return the MAC address of the host's end of a port's TAP device.

    The port's own with another first octet: it is the same on every host, so that a guest that
    moves to another host finds its gateway under the address it knows.
    """
    match = _MAC.match(port_mac) if isinstance(port_mac, str) else None
    return f"fe{match.group(1)}".lower() if match else DEFAULT_TAP_MAC


def refusal(
    *,
    host: str,
    vnic_type: str,
    network_types: Sequence[str],
    agents: Sequence[Mapping[str, Any]],
    is_trunk: bool = False,
) -> str | None:
    """Return why a port cannot be bound to a host, None where it can.

    ``agents`` are Neutron's rows of Felix on that host; the database compares host names without
    regard to letter case, the keys in etcd do not.
    """
    if vnic_type != VNIC_TYPE:
        return f"ports of vnic type {vnic_type!r} are not supported, only {VNIC_TYPE!r}"
    if is_trunk:
        return "a routed port carries no VLANs, so it cannot be the parent of a trunk"
    if not any(network_type in NETWORK_TYPES for network_type in network_types):
        found = ", ".join(network_types) or "none"
        return f"the network must be of type {' or '.join(NETWORK_TYPES)}, it is: {found}"
    return _silence(host, agents)


def _silence(host: str, agents: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why no Felix counts as alive on a host, None where one does."""
    if not agents:
        return (
            "no Felix has reported from this host: does calico-felix run there, with the etcd and "
            "the region of this Neutron?"
        )
    named = [agent for agent in agents if agent["host"] == host]
    if not named:
        return (
            f"Felix calls this host {agents[0]['host']!r}: host names must agree in letter case; "
            "set FelixHostname"
        )
    if not any(agent["alive"] for agent in named):
        last = named[0].get("heartbeat_timestamp")
        return f"Felix on this host is dead, it last reported at {last} (UTC)"
    return None
