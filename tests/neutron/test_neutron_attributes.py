"""Attributes of ports, subnets and groups, as users combine them."""

from __future__ import annotations

import json

from tests.neutron.conftest import Cloud
from tests.support.neutron import Json
from tests.support.processes import eventually


def networks_of(cloud: Cloud, port: Json, host: str | None = None) -> list[str]:
    endpoint = cloud.endpoint(port, host)
    assert endpoint is not None
    result: list[str] = endpoint["spec"]["ipNetworks"]
    return result


def addresses(port: Json) -> list[str]:
    return [ip["ip_address"] for ip in port["fixed_ips"]]


def test_a_service_address_moves_between_ports(cloud: Cloud) -> None:
    """A further fixed IP is taken off one port and given to another, as users do to fail over."""
    cloud.felix()
    network = cloud.network()
    subnet = cloud.subnet(network)
    other = cloud.felix(f"{cloud.host}-b")
    service = subnet["cidr"].replace(".0/24", ".77")
    first, second = cloud.port(network), cloud.port(network, host=other)
    own = [
        {"subnet_id": subnet["id"], "ip_address": addresses(port)[0]} for port in (first, second)
    ]
    further = {"subnet_id": subnet["id"], "ip_address": service}
    cloud.member.update("port", first["id"], fixed_ips=[own[0], further])
    assert f"{service}/32" in networks_of(cloud, first)
    cloud.member.update("port", first["id"], fixed_ips=[own[0]])
    cloud.member.update("port", second["id"], fixed_ips=[own[1], further])
    assert networks_of(cloud, first) == [f"{addresses(first)[0]}/32"]
    assert f"{service}/32" in networks_of(cloud, second, other)


def test_addresses_of_both_families_and_from_a_pool(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    prefix = f"10.{200 + cloud.number // 256}.{cloud.number % 256}.0/24"
    pool = cloud.member.create("subnetpool", name="p", prefixes=[prefix], default_prefixlen=26)
    subnet = cloud.member.create(
        "subnet", network_id=network["id"], ip_version=4, subnetpool_id=pool["id"]
    )
    stored = cloud.stored(f"/calico/dhcp/v2/no-region/subnet/{subnet['id']}")
    assert stored is not None
    assert stored["cidr"] == subnet["cidr"]
    modes = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
    cloud.subnet(network, ip_version=6, cidr=f"fd07:{cloud.number:x}::/64", **modes)
    port = cloud.port(network)
    wanted = {f"{ip}/{128 if ':' in ip else 32}" for ip in addresses(port)}
    assert len(wanted) == 2
    assert set(networks_of(cloud, port)) == wanted


def test_rules_of_every_kind(cloud: Cloud) -> None:
    """Names and numbers of protocols, types of ICMP, ranges; what is unknown stays closed."""
    group = cloud.member.create("security_group", name="kinds")["id"]

    def add(**attributes: object) -> None:
        cloud.member.create(
            "security_group_rule", security_group_id=group, direction="ingress", **attributes
        )

    add(protocol="tcp", port_range_min=1000, port_range_max=2000)
    add(protocol="50")
    add(protocol="icmp", port_range_min=8, port_range_max=0)
    add(protocol="58", ethertype="IPv6", port_range_min=128)
    add(protocol="vrrp", remote_ip_prefix="192.0.2.0/24")
    add(protocol="dccp", port_range_min=5, port_range_max=6)
    policy = cloud.policy(group)
    assert policy is not None
    found = sorted(policy["spec"]["ingress"], key=json.dumps)
    expected = [
        {"ipVersion": 4, "protocol": 6, "destination": {"ports": ["1000:2000"]}},
        {"ipVersion": 4, "protocol": 50},
        {"ipVersion": 4, "protocol": "ICMP", "icmp": {"type": 8, "code": 0}},
        {"ipVersion": 6, "protocol": "ICMPv6", "icmp": {"type": 128}},
        {"ipVersion": 4, "protocol": 112, "source": {"nets": ["192.0.2.0/24"]}},
    ]
    assert found == sorted(({"action": "Allow"} | rule for rule in expected), key=json.dumps)
    assert "ports of dccp are not supported" in cloud.neutron.logs()


def test_a_stateless_group_and_one_that_another_project_shares(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    owner = cloud.neutron.api(f"owner-{cloud.number}")
    shared = owner.create("security_group", name="shared")
    sharing = {
        "object_type": "security_group",
        "object_id": shared["id"],
        "action": "access_as_shared",
        "target_tenant": "*",
    }
    cloud.admin.request("POST", "rbac-policies", {"rbac_policy": sharing})
    stateless = cloud.member.create("security_group", name="stateless", stateful=False)
    assert "connections are tracked for every group" in cloud.neutron.logs()
    # Neutron takes groups of one kind only for a port.
    ports = [cloud.port(network, security_groups=[group["id"]]) for group in (shared, stateless)]
    owner.create(
        "security_group_rule", security_group_id=shared["id"], direction="ingress", protocol="udp"
    )
    for port, group in zip(ports, (shared, stateless), strict=True):
        endpoint = cloud.endpoint(port)
        assert endpoint is not None
        assert f"sg.projectcalico.org/openstack-{group['id']}" in endpoint["metadata"]["labels"]
        assert cloud.policy(group["id"]) is not None
    policy = cloud.policy(shared["id"])
    assert policy is not None
    assert [rule["protocol"] for rule in policy["spec"]["ingress"]] == [17]


def test_an_evacuated_port_is_not_touched_by_the_host_that_comes_back(cloud: Cloud) -> None:
    cloud.felix()
    refuge = cloud.felix(f"{cloud.host}-refuge")
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.report(port, "up")
    eventually(lambda: cloud.status(port) == "ACTIVE", 60, "port ACTIVE")
    moved = cloud.nova.update("port", port["id"], binding__host_id=refuge)
    assert moved["binding:vif_type"] == "tap"
    assert cloud.endpoint(port) is None
    cloud.report(port, "up", refuge)
    eventually(lambda: cloud.status(port) == "ACTIVE", 60, "port ACTIVE at its refuge")
    # The failed host is back, sees that the endpoint is gone, and takes its report back.
    cloud.report(port, "down")
    cloud.report(port, None)
    cloud.felix(f"{cloud.host}-marker")  # what was reported before has been dealt with
    assert cloud.status(port) == "ACTIVE"
    assert cloud.endpoint(port, refuge) is not None


def test_a_port_that_is_attached_to_another_workload_at_once(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    other = cloud.nova.update("port", port["id"], device_id="vm-other")
    assert cloud.endpoint(port) is None
    assert cloud.endpoint(other) is not None
    # A rebuild changes nothing but the image: Nova sets what is there already.
    before = cloud.etcd.get(cloud.endpoint_path(other))
    cloud.nova.update("port", port["id"], device_id="vm-other", binding__host_id=cloud.host)
    after = cloud.etcd.get(cloud.endpoint_path(other))
    assert before is not None
    assert after is not None
    assert after.create_revision == before.create_revision
