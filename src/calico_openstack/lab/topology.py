"""The lab's network as a plan: which hosts there are and how they are wired. Pure.

Every host is a network namespace. The top-of-rack router holds the fabric, a bridge to which
the controller and the compute hosts are attached, and a second link to the outside client.
No link leads out of the namespaces, so several labs can use the same addresses at once and
nothing ever leaves the machine.
"""

from dataclasses import dataclass, field
from enum import StrEnum

MAX_HOSTS = 100

CLUSTER_AS = 64512
TOR_AS = 64513

FABRIC4 = "172.30.0.0/24"
FABRIC6 = "fd00:ca11:c0::/64"
# RFC 5737 and RFC 3849: addresses for documentation, which no real network uses.
CLIENT4 = "192.0.2.0/24"
CLIENT6 = "2001:db8:c::/64"

FABRIC_BRIDGE = "fabric"
UPLINK = "eth0"


class Role(StrEnum):
    """What a host of the lab is for."""

    TOR = "top-of-rack router"
    CLIENT = "outside client"
    CONTROLLER = "controller"
    COMPUTE = "compute host"


@dataclass(frozen=True)
class Host:
    """One host: its addresses on its first link (without prefix length) and where it routes to."""

    name: str
    role: Role
    ipv4: str
    ipv6: str


@dataclass(frozen=True)
class NamespaceSetup:
    """What makes a namespace a host: lines for `ip -batch`, and sysctls (name to value)."""

    host: str
    commands: tuple[str, ...]
    sysctls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Topology:
    """All hosts of a lab."""

    hosts: tuple[Host, ...]

    def host(self, name: str) -> Host:
        """The host of this name. Raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    @property
    def tor(self) -> Host:
        """The top-of-rack router."""
        return self.host("tor")

    @property
    def controller(self) -> Host:
        """The host of etcd, MariaDB and Neutron."""
        return self.host("controller")

    @property
    def client(self) -> Host:
        """The client outside of the cloud."""
        return self.host("client")

    @property
    def compute(self) -> tuple[Host, ...]:
        """The compute hosts in order."""
        return tuple(host for host in self.hosts if host.role is Role.COMPUTE)


def plan(compute_hosts: int) -> Topology:
    """The hosts of a lab with so many compute hosts (1 to 100). Raises ValueError."""
    if not 1 <= compute_hosts <= MAX_HOSTS:
        raise ValueError(f"a lab has 1 to {MAX_HOSTS} compute hosts, not {compute_hosts}")
    compute = (
        Host(f"compute-{i}", Role.COMPUTE, f"172.30.0.{100 + i}", f"fd00:ca11:c0::1:{i:x}")
        for i in range(1, compute_hosts + 1)
    )
    return Topology(
        (
            Host("tor", Role.TOR, "172.30.0.1", "fd00:ca11:c0::1"),
            Host("client", Role.CLIENT, "192.0.2.10", "2001:db8:c::10"),
            Host("controller", Role.CONTROLLER, "172.30.0.10", "fd00:ca11:c0::10"),
            *compute,
        )
    )


def setups(topology: Topology, prefix: str) -> tuple[NamespaceSetup, ...]:
    """How to make each host, in an order that works; `prefix` begins each namespace's name.

    The router comes first: its namespace creates both ends of every link.
    """
    return (
        _router(topology, prefix),
        *(_leaf(topology, host) for host in topology.hosts if host.role is not Role.TOR),
    )


def additional(topology: Topology, host: Host, prefix: str) -> tuple[NamespaceSetup, ...]:
    """How to connect one more host of `topology` to a lab that is there."""
    router = NamespaceSetup(topology.tor.name, tuple(_port(host, prefix)))
    return router, _leaf(topology, host)


def _router(topology: Topology, prefix: str) -> NamespaceSetup:
    tor = topology.tor
    lines = [
        "link set lo up",
        f"link add {FABRIC_BRIDGE} type bridge forward_delay 0 mcast_snooping 0",
        f"link set {FABRIC_BRIDGE} up",
        f"address add {tor.ipv4}/24 dev {FABRIC_BRIDGE}",
        f"address add {tor.ipv6}/64 dev {FABRIC_BRIDGE} nodad",
    ]
    for host in topology.hosts:
        if host.role is not Role.TOR:
            lines += _port(host, prefix)
    return NamespaceSetup(tor.name, tuple(lines), dict(_FORWARDING))


def _port(host: Host, prefix: str) -> list[str]:
    """The router's link to a host, both of its ends."""
    port = f"to-{host.name}"
    lines = [f"link add {port} type veth peer name {UPLINK} netns {prefix}{host.name}"]
    if host.role is Role.CLIENT:
        lines.append(f"address add 192.0.2.1/24 dev {port}")
        lines.append(f"address add 2001:db8:c::1/64 dev {port} nodad")
    else:
        lines.append(f"link set {port} master {FABRIC_BRIDGE}")
    return [*lines, f"link set {port} up"]


# The agents' host is a router. Felix repairs these, but an operator sets them at boot.
_FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}


def _leaf(topology: Topology, host: Host) -> NamespaceSetup:
    outside = host.role is Role.CLIENT
    gateway4, gateway6 = (
        ("192.0.2.1", "2001:db8:c::1") if outside else (topology.tor.ipv4, topology.tor.ipv6)
    )
    lines = (
        "link set lo up",
        f"link set {UPLINK} up",
        f"address add {host.ipv4}/24 dev {UPLINK}",
        f"address add {host.ipv6}/64 dev {UPLINK} nodad",
        f"route add default via {gateway4}",
        f"route add ::/0 via {gateway6}",
    )
    sysctls = dict(_FORWARDING) if host.role is Role.COMPUTE else {}
    return NamespaceSetup(host.name, lines, sysctls)
