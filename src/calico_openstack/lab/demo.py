"""The demonstration: a network with two kinds of workloads and rules that keep them apart."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from calico_openstack.lab.booting import Order, boot
from calico_openstack.lab.cloud import api, topology_of
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import Resource
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.workload import WorkloadStore

NETWORK = "demo"
IPV4 = "10.65.0.0/24"
IPV6 = "2001:db8:65::/64"
IPV6_MODE = "dhcpv6-stateful"

# What to do and the commands for it, in which {lab} is the name of the lab's command.
SUGGESTIONS = (
    (
        "Ping a database from a web server, and from the outside client:",
        "{lab} ping web1 db1 ; {lab} ping client db1",
    ),
    (
        "Let the outside client into the databases, and see the matrix follow:",
        "{lab} openstack security group rule create --protocol tcp --dst-port 5432 "
        "--remote-ip 192.0.2.0/24 db ; {lab} matrix",
    ),
    (
        "Kill a host's Felix and BIRD, and see that its workloads do not notice:",
        "{lab} kill felix@compute-1 ; {lab} kill bird@compute-1 ; "
        "{lab} ping client web1 ; {lab} status",
    ),
)


@dataclass(frozen=True)
class RuleOrder:
    """A rule for incoming packets, for both families. `remote` names a group; "" means anybody."""

    protocol: str
    port: int | None = None
    remote: str = ""


RULES: dict[str, tuple[RuleOrder, ...]] = {
    "web": (RuleOrder("icmp"), RuleOrder("tcp", 80), RuleOrder("tcp", 443)),
    "db": (RuleOrder("icmp", remote="web"), RuleOrder("tcp", 5432, remote="web")),
}


def placement(hosts: list[str]) -> tuple[tuple[str, str, str], ...]:
    """The demonstration's workloads: name, group and host, spread over the hosts. Pure."""
    groups = (("web1", "web"), ("db1", "db"), ("web2", "web"), ("db2", "db"))
    return tuple((name, group, hosts[i % len(hosts)]) for i, (name, group) in enumerate(groups))


def rule_attributes(order: RuleOrder, family: int, groups: dict[str, str]) -> dict[str, Any]:
    """A rule as the API takes it, given the ids of the groups by name. Pure."""
    attributes: dict[str, Any] = {
        "direction": "ingress",
        "ethertype": f"IPv{family}",
        "protocol": "ipv6-icmp" if order.protocol == "icmp" and family == 6 else order.protocol,
    }
    if order.port is not None:
        attributes |= {"port_range_min": order.port, "port_range_max": order.port}
    if order.remote:
        attributes["remote_group_id"] = groups[order.remote]
    return attributes


def create(lab: Lab, progress: Progress) -> None:
    """Create what is missing of the demonstration."""
    neutron = api(lab)
    with progress.step(f"network {NETWORK} with {IPV4} and {IPV6}"):
        _ensure_network(neutron)
    with progress.step(f"security groups {' and '.join(RULES)}"):
        _ensure_groups(neutron)
    hosts = [host.name for host in topology_of(lab).compute]
    present = WorkloadStore(lab).names()
    orders = [
        Order(name, NETWORK, (group,), host)
        for name, group, host in placement(hosts)
        if name not in present
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(orders))) as pool:
        list(pool.map(lambda order: boot(lab, order, progress), orders))


def _ensure_network(neutron: NeutronApi) -> None:
    found = neutron.find_all("networks", name=NETWORK)
    network = found[0] if found else neutron.create("networks", name=NETWORK, shared=True)
    cidrs = {s["cidr"] for s in neutron.find_all("subnets", network_id=network["id"])}
    if IPV4 not in cidrs:
        neutron.create(
            "subnets", network_id=network["id"], name="demo-ipv4", ip_version=4, cidr=IPV4
        )
    if IPV6 not in cidrs:
        neutron.create(
            "subnets",
            network_id=network["id"],
            name="demo-ipv6",
            ip_version=6,
            cidr=IPV6,
            ipv6_address_mode=IPV6_MODE,
            ipv6_ra_mode=IPV6_MODE,
        )


def _ensure_groups(neutron: NeutronApi) -> None:
    groups = {name: _ensure_group(neutron, name) for name in RULES}
    ids = {name: group["id"] for name, group in groups.items()}
    for name, orders in RULES.items():
        present = [_essence(rule) for rule in groups[name]["security_group_rules"]]
        for order in orders:
            for family in (4, 6):
                wanted = rule_attributes(order, family, ids)
                if _essence(wanted) not in present:
                    neutron.create("security-group-rules", security_group_id=ids[name], **wanted)


def _ensure_group(neutron: NeutronApi, name: str) -> Resource:
    found = neutron.find_all("security-groups", name=name)
    return found[0] if found else neutron.create("security-groups", name=name)


def _essence(rule: dict[str, Any]) -> tuple[object, ...]:
    members = ("direction", "ethertype", "protocol", "port_range_min", "remote_group_id")
    return tuple(rule.get(member) for member in members)
