"""The parameters that decide what is rendered."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from msgspec import Struct

from calico_openstack.policy.packet import Direction

_LOOPBACK = IPv4Address("127.0.0.1")


class HostAction(Enum):
    """What becomes of packets from a workload to its host that its egress policy allows.

    RETURN leaves them to the host's own rules, which see them anyway, as they see what ACCEPT
    passes: in nftables both are the same.
    """

    DROP = "DROP"
    ACCEPT = "ACCEPT"
    RETURN = "RETURN"


class DenyAction(Enum):
    """How packets are denied: silently, or with an ICMP error to the sender."""

    DROP = "DROP"
    REJECT = "REJECT"


class OpenPort(NamedTuple):
    """A port of the host, or of its peers, that policy never closes: in *network*, or anywhere.

    *protocol* is a number.
    """

    protocol: int
    network: IPv4Network | IPv6Network | None
    port: int

    @property
    def key(self) -> bytes:
        """Protocol and port as nftables concatenates them."""
        return bytes((self.protocol, 0, 0, 0)) + self.port.to_bytes(2, "big") + b"\0\0"


class RenderSettings(Struct, frozen=True):
    """Parameters by the names of the specification (section 5) in snake case.

    *openstack*: the allowances of section 3.11. *metadata_address* None: no metadata service.
    *mark_mask*: the packet mark bits that belong to Felix; the lowest two are used, the first where
    a policy has Pass rules, the second where one says what workloads may send, and where host
    endpoints have policies before connection tracking or translation. *failsafe_inbound*,
    *failsafe_outbound*: what host endpoints never close. *route_protocol* is an rtnetlink protocol
    number. Without *ipv6* the workloads have no IPv6 at all. *floating_ips*: endpoints of any
    orchestrator may have them.
    *nat_ports*: first and last port. *nat_outgoing_interface*: empty for all, with ``+`` at its end
    a beginning of names. *nat_excludes_hosts*: what workloads send to hosts is not masqueraded;
    *external_nodes* are hosts too. *flow_offload*: established flows go by the rules, which the
    kernel must be able to do. Without *sync_routes* routes and neighbours are somebody else's
    business. *log_rate*: packets in so many seconds, None for no limit.
    """

    interface_prefixes: tuple[str, ...] = ("tap",)
    openstack: bool = True
    metadata_address: IPv4Address | None = _LOOPBACK
    metadata_port: int = 8775
    endpoint_to_host_action: HostAction = HostAction.DROP
    deny_action: DenyAction = DenyAction.DROP
    mark_mask: int = 0xFFFF0000
    log_prefix: str = "calico-packet"
    log_rate: tuple[int, int] | None = None
    log_burst: int = 5
    drop_invalid: bool = True
    vxlan_port: int = 4789
    allow_vxlan_from_workloads: bool = False
    allow_ipip_from_workloads: bool = False
    ipv6: bool = True
    ip_forwarding: bool = True
    route_protocol: int = 3
    ipv4_route_priority: int = 1024
    ipv6_route_priority: int = 1024
    ipv4_elevated_route_priority: int = 512
    ipv6_elevated_route_priority: int = 512
    ipv4_route_source: IPv4Address | None = None
    ipv6_route_source: IPv6Address | None = None
    sync_routes: bool = True
    floating_ips: bool = False
    nat_outgoing_address: IPv4Address | None = None
    nat_outgoing_interface: str = ""
    nat_ports: tuple[int, int] | None = None
    nat_excludes_hosts: bool = False
    external_nodes: tuple[IPv4Network | IPv6Network, ...] = ()
    failsafe_inbound: tuple[OpenPort, ...] = ()
    failsafe_outbound: tuple[OpenPort, ...] = ()
    flow_offload: bool = False

    def __post_init__(self) -> None:
        if self.mark_mask & (self.mark_mask - 1) == 0:
            raise ValueError("two bits of the packet mark are needed")

    def failsafe(self, direction: Direction) -> tuple[OpenPort, ...]:
        """Return what host endpoints never close in a direction."""
        inbound = direction is Direction.INGRESS
        return self.failsafe_inbound if inbound else self.failsafe_outbound

    @property
    def pass_mark(self) -> int:
        """The mark bit that says "leave this tier"."""
        return self.mark_mask & -self.mark_mask

    @property
    def accept_mark(self) -> int:
        """The mark bit that says "an earlier policy has allowed this"."""
        others = self.mark_mask & (self.mark_mask - 1)
        return others & -others
