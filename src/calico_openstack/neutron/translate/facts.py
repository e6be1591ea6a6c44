"""What the translation needs to know about Neutron's objects, as plain data.

The values are those of Neutron's database, already joined: whoever fills these in
(:mod:`calico_openstack.neutron.reading`) decides nothing. Lists that have no order in
Neutron are sorted by the reader of these facts, not by who fills them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VIF_UNBOUND = "unbound"
VIF_TAP = "tap"


@dataclass(frozen=True, slots=True)
class FixedIp:
    """An address of a port; ``gateway`` is that of its subnet, None where it has none."""

    address: str
    subnet_id: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class AddressPair:
    """An allowed address pair; ``address`` is an address or a prefix in CIDR notation."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class FloatingIp:
    """A floating IP that is associated: ``external`` leads to ``internal``, a fixed IP."""

    internal: str
    external: str


@dataclass(frozen=True, slots=True)
class QosRuleFacts:
    """A rule of a QoS policy; ``kind`` is its type in Neutron's API.

    ``maximum`` and ``burst`` are in kbit/s or thousands of packets/s, 0 for none.
    """

    kind: str
    direction: str = ""
    maximum: int = 0
    burst: int = 0
    dscp_mark: int | None = None


@dataclass(frozen=True, slots=True)
class QosFacts:
    """The rules of the QoS policy that is in force for a port: its own, else its network's."""

    rules: tuple[QosRuleFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """An extra DHCP option of a port; ``name`` is a name or number, ``version`` 4 or 6."""

    name: str
    value: str
    version: int


@dataclass(frozen=True, slots=True)
class LogFacts:
    """A network log of security groups that is enabled; ``event`` is ACCEPT, DROP or ALL.

    With neither a group nor a port it is about all ports of its project.
    """

    id: str
    event: str
    project_id: str | None = None
    group_id: str | None = None
    port_id: str | None = None


@dataclass(frozen=True, slots=True)
class GroupName:
    """A security group that a port belongs to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a port is plugged: ``host`` is empty and ``vif_type`` ``unbound`` where nowhere.

    ``migrating_to`` is the host that Nova has put into the binding's profile, empty for none.
    ``details`` are its VIF details as they are stored, in JSON.
    """

    host: str = ""
    vif_type: str = VIF_UNBOUND
    migrating_to: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """A port with everything its workload endpoint depends on.

    ``binding`` is the active one; ``inactive_bindings`` are those that Nova has made on hosts that
    the port may move to, or has left behind where it was. ``odd_rules`` are rules of its groups,
    among them all that have no counterpart. ``logs`` are those that are about this port or all
    ports of its project. ``fqdn`` is the first name in Neutron's DNS assignment, None without the
    DNS extension; ``dns_name`` is the port's own, empty for none. The project's name and the id of
    its parent are None where Keystone does not tell.
    """

    id: str
    network_id: str
    mac: str
    device_owner: str
    device_id: str
    project_id: str | None = None
    project_name: str | None = None
    project_parent_id: str | None = None
    name: str = ""
    admin_state_up: bool = True
    network_name: str | None = None
    network_admin_state_up: bool = True
    port_security_enabled: bool = True
    binding: Binding = Binding()
    inactive_bindings: tuple[Binding, ...] = ()
    fixed_ips: tuple[FixedIp, ...] = ()
    address_pairs: tuple[AddressPair, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    groups: tuple[GroupName, ...] = ()
    odd_rules: tuple[RuleFacts, ...] = ()
    qos: QosFacts = QosFacts()
    dhcp_options: tuple[DhcpOption, ...] = ()
    logs: tuple[LogFacts, ...] = ()
    fqdn: str | None = None
    dns_name: str = ""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """A rule of a security group, with the columns' values.

    ``protocol`` is text also where it is a number. For ICMP ``port_min`` is the type and
    ``port_max`` the code.
    """

    id: str
    direction: str
    ethertype: str
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group_id: str | None = None
    remote_prefix: str | None = None
    address_group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A security group with its rules.

    ``address_groups`` holds the addresses of every address group that the rules name. ``logs``
    are those that are about the group, or about ports that are in it.
    """

    id: str
    name: str = ""
    stateful: bool = True
    rules: tuple[RuleFacts, ...] = ()
    address_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    logs: tuple[LogFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route that a subnet hands to its ports."""

    destination: str
    nexthop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetFacts:
    """A subnet; ``dns_servers`` is in the order in which the user gave them."""

    id: str
    network_id: str
    cidr: str
    gateway_ip: str | None = None
    enable_dhcp: bool = True
    dns_servers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be honoured; what it would allow stays closed.

    ``subject`` is a kind and an id, such as ``rule 1234``; ``field`` is the attribute's name
    in Neutron's API.
    """

    subject: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.field}: {self.reason}"
