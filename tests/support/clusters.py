"""Random small clusters for property tests: everything collides with everything on purpose.

Drawn from a seeded `random.Random`, because drawing whole clusters through hypothesis costs more
than testing them; hypothesis chooses the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from msgspec import structs

from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    HostEndpointPort,
    HostEndpointSpec,
    IpNat,
    NetworkSet,
    NetworkSetSpec,
    WorkloadEndpoint,
    WorkloadEndpointPort,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    NetworkPolicy,
    NetworkPolicySpec,
    Profile,
    ProfileSpec,
    StagedGlobalNetworkPolicy,
    StagedGlobalNetworkPolicySpec,
    StagedNetworkPolicy,
    StagedNetworkPolicySpec,
    Tier,
    TierSpec,
)
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.datamodel.rules import EntityRule, IcmpMatch, Rule, ServiceAccountMatch
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.packet import Packet

HOST = "here"
NAMESPACES = ("openstack", "other")
ADDRESSES_4 = tuple(f"10.0.0.{n}" for n in range(1, 9))
ADDRESSES_6 = tuple(f"fd00::{n}" for n in range(1, 5))
FLOATING_4 = tuple(f"198.51.100.{n}" for n in range(1, 5))
FLOATING_6 = tuple(f"2001:db8:f::{n}" for n in range(1, 3))
POOLS = ("10.0.0.0/29", "10.0.0.0/30", "198.51.100.0/24", "fd00::/64", "2001:db8:f::/48")
OUTSIDE = ("192.0.2.1", "2001:db8::1")
HOST_INTERFACES = ("eth0", "eth1")
HOST_4 = ("192.0.2.253", "192.0.2.254")
HOST_6 = ("2001:db8::fd", "2001:db8::fe")
NETS_4 = ("10.0.0.0/30", "10.0.0.4/30", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.2/32", "192.0.2.0/24")
NETS_6 = ("fd00::/126", "fd00::/16", "::/0", "fd00::2/128")
SELECTORS = (
    "all()",
    "a == '1'",
    "a != '1'",
    "has(b)",
    "!has(b)",
    "a in {'1', '2'} && has(b)",
    "b == '1' || c == '1'",
    "!(a == '1' && !has(b)) || c starts with '2'",
)
PORTS = (22, 80, 443)
PROTOCOLS = (
    *(None, None, None, "TCP", "TCP", "TCP", "UDP", "UDP", "SCTP", "SCTP"),
    *("ICMP", "ICMPv6", 1, 6, 47, "UDPLite"),
)
WITH_PORTS = frozenset(("TCP", "UDP", "SCTP", 6))
RULE_PORTS = (22, 80, "80:443", "http", "other")
# Nobody has a port that is called like the last ones.
PORT_NAMES = ("http", "other", "n1", "n2", "n3", "n4")
# More than kernel rules are made for, and a range that is too wide to be listed.
MANY_PORTS = (*range(1000, 1040, 2), 22, 80, "440:450", "10000:60000")
MANY_NETS_4 = (*(f"10.0.0.{n}/32" for n in range(1, 7)), *(f"10.{n}.0.0/16" for n in range(9)))
MANY_NETS_6 = (*(f"fd00::{n}/128" for n in range(1, 4)), *(f"fd00:{n}::/32" for n in range(9)))
SERVICE_ACCOUNTS = ("", "", "", "sa1", "sa2")

Value = Resource | Invalid
Update = tuple[ResourceKey, Value | None]
T = TypeVar("T")


@dataclass(slots=True)
class ClusterGenerator:
    """Draws resources, updates and packets."""

    random: Random

    def update(self) -> Update:
        """Draw a key with a new value or, sometimes, none."""
        key, value = self.resource()
        return key, None if self._once_in(5) else value

    def batches(self) -> list[list[Update]]:
        """Draw a history: batches of updates."""
        sizes = [self.random.randint(1, 8) for _ in range(self.random.randint(1, 10))]
        return [[self.update() for _ in range(size)] for size in sizes]

    def cluster(self) -> dict[ResourceKey, Value]:
        """Draw a cluster that has at least some endpoints and policies in it."""
        parts = [self.endpoint() for _ in range(self.random.randint(2, 8))]
        parts += [self.policy() for _ in range(self.random.randint(0, 6))]
        parts += [self.profile() for _ in range(self.random.randint(0, 4))]
        parts += [self.resource() for _ in range(self.random.randint(0, 6))]
        return dict(parts)

    def workloads(self) -> dict[ResourceKey, Value]:
        """Draw a cluster whose hosts have no endpoints of their own."""
        return {k: v for k, v in self.cluster().items() if k.kind != HostEndpoint.KIND}

    def resource(self) -> tuple[ResourceKey, Value]:
        """Draw one resource of any kind."""
        kinds: tuple[Callable[[], tuple[ResourceKey, Value]], ...] = (
            *(self.endpoint,) * 4,
            *(self.policy,) * 3,
            self.tier,
            self.profile,
            self.network_set,
            self.host_endpoint,
            self.pool,
        )
        return self.random.choice(kinds)()

    def endpoint(self) -> tuple[ResourceKey, Value]:
        """Draw a workload endpoint, most of them of this host."""
        node = self._choice((HOST, HOST, "there"))
        number = self.random.randint(0, 4)
        namespace = self._choice(NAMESPACES)
        name = workload_endpoint_name(node, "openstack", f"vm{number}", f"port{number}")
        labels = self._labels()
        if not self._once_in(4):
            labels["projectcalico.org/namespace"] = namespace
        addresses = self._some(ADDRESSES_4 + ADDRESSES_6, 3)
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            node=node,
            endpoint=f"port{number}",
            interface_name=f"tap{self.random.randint(0, 5)}",
            mac="fa:16:3e:00:00:01",
            ip_networks=addresses,
            ip_nats=self._floating(addresses) if self._once_in(3) else (),
            profiles=self._some(("p1", "p2", "projectcalico-default-allow"), 2),
            service_account_name=self._choice(SERVICE_ACCOUNTS),
            allow_spoofed_source_prefixes=self._spoofed(),
            ports=tuple(self._port() for _ in range(self.random.randint(0, 2))),
        )
        metadata = Metadata(name=name, namespace=namespace, labels=labels)
        key = ResourceKey("WorkloadEndpoint", name, namespace)
        return key, WorkloadEndpoint(metadata=metadata, spec=spec)

    def host_endpoint(self) -> tuple[ResourceKey, Value]:
        """Draw a host endpoint, most of them of this host, now and then an invalid one."""
        name = f"host{self.random.randint(0, 3)}"
        interface = self._choice((*HOST_INTERFACES, "eth0", "*", ""))
        expected = self._some(HOST_4 + HOST_6, 2)
        spec = HostEndpointSpec(
            node=self._choice((HOST, HOST, HOST, "there")),
            interface_name=interface if expected else interface or "eth0",
            expected_ips=expected,
            profiles=self._some(("p1", "projectcalico-default-allow"), 2),
            ports=tuple(self._host_port() for _ in range(self.random.randint(0, 1))),
        )
        key = ResourceKey("HostEndpoint", name)
        value = HostEndpoint(metadata=Metadata(name=name, labels=self._labels()), spec=spec)
        field = self._choice(("spec", "spec.expectedIPs[0]"))
        return key, self._perhaps_invalid(key, value, field)

    def interfaces(self) -> dict[str, frozenset[bytes]]:
        """Draw which interfaces the host has itself, with their addresses."""
        return {
            name: frozenset(map(pack_address, self._some(HOST_4 + HOST_6, 2)))
            for name in self._some((*HOST_INTERFACES, "lo", "tap1"), 4)
        }

    def policy(self) -> tuple[ResourceKey, Value]:
        """Draw a policy, global or not, staged or not, now and then an invalid one."""
        name = f"policy{self.random.randint(0, 3)}"
        common: dict[str, Any] = {
            "tier": self._choice(("", "", "default", "t1", "t2")),
            "order": self._choice((None, 1.0, 2.0)),
            "ingress": self.rules(),
            "egress": self.rules(),
            "selector": self._choice(("", *SELECTORS)),
            "types": self._choice(((), ("Ingress",), ("Egress",), ("Ingress", "Egress"))),
            "performance_hints": ("AssumeNeededOnEveryNode",) if self._once_in(8) else (),
            "service_account_selector": self._choice((*("",) * 6, "all()", "x == 'y'")),
        }
        if staged := self._once_in(5):
            common["staged_action"] = self._choice(("", "Set", "Learn", "Delete", "Ignore"))
        value: Resource
        if self._once_in(2):
            namespace = self._choice(NAMESPACES)
            metadata = Metadata(name=name, namespace=namespace)
            if staged:
                key = ResourceKey("StagedNetworkPolicy", name, namespace)
                body = StagedNetworkPolicySpec(**common)
                value = StagedNetworkPolicy(metadata=metadata, spec=body)
            else:
                key = ResourceKey("NetworkPolicy", name, namespace)
                value = NetworkPolicy(metadata=metadata, spec=NetworkPolicySpec(**common))
            return key, self._perhaps_invalid(key, value)
        common["namespace_selector"] = self._choice(("", "", "all()", "x == 'y'"))
        common.update(self._place())
        metadata = Metadata(name=name)
        if staged:
            key = ResourceKey("StagedGlobalNetworkPolicy", name)
            spec = StagedGlobalNetworkPolicySpec(**common)
            value = StagedGlobalNetworkPolicy(metadata=metadata, spec=spec)
        else:
            key = ResourceKey("GlobalNetworkPolicy", name)
            value = GlobalNetworkPolicy(metadata=metadata, spec=GlobalNetworkPolicySpec(**common))
        return key, self._perhaps_invalid(key, value)

    def _place(self) -> dict[str, Any]:
        """Draw where on a packet's way a global policy applies."""
        if self._once_in(5):
            return {"do_not_track": True, "apply_on_forward": True}
        if self._once_in(5):
            return {"pre_dnat": True, "apply_on_forward": True, "egress": (), "types": ("Ingress",)}
        return {"apply_on_forward": self._once_in(2)}

    def _perhaps_invalid(self, key: ResourceKey, value: Resource, field: str = "spec") -> Value:
        if not self._once_in(15):
            return value
        reasons = (Reason(field, "made invalid"),)
        return Invalid(key.path, key, reasons, self._choice((value, None)))

    def tier(self) -> tuple[ResourceKey, Value]:
        """Draw a tier."""
        name = self._choice(("default", "t1", "t2"))
        spec = TierSpec(
            order=self._choice((None, 1.0, 2.0)),
            default_action=self._choice(("", "Deny", "Pass", "Pass")),
        )
        key, value = ResourceKey("Tier", name), Tier(metadata=Metadata(name=name), spec=spec)
        return key, self._perhaps_invalid(key, value, "spec.defaultAction")

    def profile(self) -> tuple[ResourceKey, Value]:
        """Draw a profile."""
        name = self._choice(("p1", "p2", "kns.openstack"))
        labels = self._labels()
        if self._once_in(2):
            labels |= {"pcns.x": "y", "pcsa.x": "y"}
        spec = ProfileSpec(ingress=self.rules(), egress=self.rules(), labels_to_apply=labels)
        return ResourceKey("Profile", name), Profile(metadata=Metadata(name=name), spec=spec)

    def network_set(self) -> tuple[ResourceKey, Value]:
        """Draw a network set, global or not."""
        name = f"set{self.random.randint(0, 2)}"
        spec = NetworkSetSpec(nets=self._some(NETS_4 + NETS_6 + ADDRESSES_4, 4))
        if self._once_in(2):
            namespace = self._choice(NAMESPACES)
            metadata = Metadata(name=name, namespace=namespace, labels=self._labels())
            key = ResourceKey("NetworkSet", name, namespace)
            value = NetworkSet(metadata=metadata, spec=spec)
            return key, self._perhaps_invalid(key, value, "spec.nets[0]")
        key = ResourceKey("GlobalNetworkSet", name)
        metadata = Metadata(name=name, labels=self._labels())
        everywhere = GlobalNetworkSet(metadata=metadata, spec=spec)
        return key, self._perhaps_invalid(key, everywhere, "spec.nets[0]")

    def pool(self) -> tuple[ResourceKey, Value]:
        """Draw an address pool."""
        name = f"pool{self.random.randint(0, 2)}"
        spec = IPPoolSpec(cidr=self._choice(POOLS), nat_outgoing=self._once_in(2))
        return ResourceKey("IPPool", name), IPPool(metadata=Metadata(name=name), spec=spec)

    def rules(self) -> tuple[Rule, ...]:
        """Draw up to four rules, or many that only allow."""
        if self._once_in(8):
            many = (self.rule() for _ in range(self.random.randint(5, 20)))
            return tuple(structs.replace(rule, action="Allow") for rule in many)
        return tuple(self.rule() for _ in range(self.random.randint(0, 4)))

    def rule(self) -> Rule:
        """Draw a rule with anything that validation admits."""
        version = self._choice((None, None, None, 4, 6))
        protocol = self._choice(PROTOCOLS)
        icmp = not_icmp = None
        if protocol in ("ICMP", "ICMPv6", 1):
            version = self._choice((None, 6 if protocol == "ICMPv6" else 4))
            icmp, not_icmp = self._icmp(), self._icmp()
        excluded: tuple[int | str | None, ...] = (None, None, None, "TCP", 17)
        # Networks of one family say which one is meant, too.
        family = version or self._choice((None, None, 4, 6))
        return Rule(
            action=self._choice((*("Allow",) * 5, "Deny", "Pass", "Pass", "Log")),
            ip_version=version,
            protocol=protocol,
            not_protocol=self._choice((*excluded, "ICMP") if version in (None, 4) else excluded),
            icmp=icmp,
            not_icmp=not_icmp,
            source=self._entity(family, protocol in WITH_PORTS, protocol is None),
            destination=self._entity(family, protocol in WITH_PORTS, protocol is None),
        )

    def packet(self) -> Packet:
        """Draw a packet between addresses of endpoints and of the outside."""
        pool = self._choice((ADDRESSES_4 + OUTSIDE[:1], ADDRESSES_6 + OUTSIDE[1:]))
        source, destination = pack_address(self._choice(pool)), pack_address(self._choice(pool))
        icmp = 1 if len(source) == 4 else 58
        protocol = self._choice((6, 6, 6, 17, 17, 132, 132, icmp, icmp, 47, 136))
        if protocol in (6, 17, 132, 136):
            ports = (*PORTS, 100, 1002, 20000)
            return Packet(source, destination, protocol, self._choice(ports), self._choice(ports))
        if protocol == icmp:
            kind, code = self._choice((0, 8, 128, 135)), self._choice((0, 1))
            return Packet(source, destination, icmp, icmp_type=kind, icmp_code=code)
        return Packet(source, destination, protocol)

    def _entity(self, family: int | None, with_numbers: bool, any_protocol: bool) -> EntityRule:
        nets = {4: NETS_4, 6: NETS_6}.get(family or 0, ())
        many = {4: MANY_NETS_4, 6: MANY_NETS_6}.get(family or 0, ())
        most = 2 if self._once_in(2) else 20
        if not self._once_in(3):
            many = nets
        ports: tuple[int | str, ...] = PORT_NAMES if any_protocol else ()
        if with_numbers:
            ports = MANY_PORTS if self._once_in(3) else RULE_PORTS
        excluded = tuple(net for net in many if not net.endswith("/0"))
        accounts = ServiceAccountMatch(
            names=self._some(("sa1", "sa2"), 1), selector=self._choice(("", "x == 'y'"))
        )
        return EntityRule(
            nets=self._some(many, most) if self._once_in(4) else (),
            not_nets=self._some(excluded, most) if self._once_in(8) else (),
            service_accounts=accounts if self._once_in(20) else None,
            selector=self._choice(SELECTORS) if self._once_in(3) else "",
            not_selector=self._choice(SELECTORS) if self._once_in(10) else "",
            namespace_selector=self._namespaces() if self._once_in(12) else "",
            ports=self._some(ports, most + 1) if self._once_in(6) else (),
            not_ports=self._some(ports, most + 1) if self._once_in(10) else (),
        )

    def _namespaces(self) -> str:
        return self._choice(("all()", "global()", "x == 'y'", "!has(x)"))

    def _spoofed(self) -> tuple[str, ...]:
        """Draw foreign networks that an endpoint may use, which most may not."""
        return self._some(NETS_4[1:2] + NETS_6[:1], 2) if self._once_in(12) else ()

    def _floating(self, addresses: Sequence[str]) -> tuple[IpNat, ...]:
        """Draw floating addresses that lead to some of *addresses*."""
        return tuple(
            IpNat(internal_ip=internal, external_ip=self._choice(pool))
            for internal in self._some(addresses, 3)
            for pool in (FLOATING_6 if ":" in internal else FLOATING_4,)
            for _ in range(self.random.randint(1, 2))
        )

    def _icmp(self) -> IcmpMatch | None:
        if self._once_in(2):
            return None
        return IcmpMatch(type=self._choice((0, 8, 128)), code=self._choice((None, 0, 1)))

    def _port(self) -> WorkloadEndpointPort:
        name, protocol = self._choice(("http", "other")), self._choice(("TCP", "UDP", "SCTP"))
        return WorkloadEndpointPort(name=name, protocol=protocol, port=self._choice(PORTS))

    def _host_port(self) -> HostEndpointPort:
        name, protocol = self._choice(("http", "other")), self._choice(("TCP", "UDP", "SCTP"))
        return HostEndpointPort(name=name, protocol=protocol, port=self._choice(PORTS))

    def _labels(self) -> dict[str, str]:
        return {label: self._choice("12") for label in "abc" if self._once_in(2)}

    def _some(self, pool: Sequence[T], most: int) -> tuple[T, ...]:
        return tuple(self.random.sample(pool, min(len(pool), self.random.randint(0, most))))

    def _choice(self, pool: Sequence[T]) -> T:
        return self.random.choice(pool)

    def _once_in(self, number: int) -> bool:
        return self.random.randrange(number) == 0
