"""What users do through Neutron's API is in etcd when the request ends."""

from __future__ import annotations

import json

import pytest

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from tests.neutron.conftest import Cloud
from tests.support.neutron import ApiError, Json
from tests.support.processes import eventually


def test_a_bound_port_has_an_endpoint_and_its_group_s_policy(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    subnet = cloud.subnet(network)
    port = cloud.port(network)
    (address,) = port["fixed_ips"]
    (group_id,) = port["security_groups"]

    assert port["binding:vif_type"] == "tap"
    assert port["binding:vif_details"]["port_filter"] is True
    assert port["binding:vif_details"]["connectivity"] == "legacy"
    assert port["binding:vif_details"]["mac_address"] == "fe" + port["mac_address"][2:]

    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert endpoint["spec"] == {
        "orchestrator": "openstack",
        "workload": port["device_id"],
        "node": cloud.host,
        "endpoint": port["id"],
        "interfaceName": f"tap{port['id'][:11]}",
        "mac": port["mac_address"],
        "ipv4Gateway": subnet["gateway_ip"],
        "ipNetworks": [f"{address['ip_address']}/32"],
        "allowedIps": [],
    }
    assert endpoint["metadata"]["labels"] == {
        f"sg.projectcalico.org/openstack-{group_id}": "default",
        "sg-name.projectcalico.org/openstack-default": group_id,
        "projectcalico.org/namespace": "openstack",
        "projectcalico.org/orchestrator": "openstack",
        "projectcalico.org/openstack-project-id": cloud.project,
        "projectcalico.org/openstack-network-name": network["name"],
    }
    policy = cloud.policy(group_id)
    assert policy is not None
    member = {"selector": f"has(sg.projectcalico.org/openstack-{group_id})"}
    assert policy["spec"]["selector"] == member["selector"]
    allowed = [{"action": "Allow", "ipVersion": version} for version in (4, 6)]
    assert _sorted(policy["spec"]["egress"]) == _sorted(allowed)
    assert _sorted(policy["spec"]["ingress"]) == _sorted([r | {"source": member} for r in allowed])

    path = cloud.endpoint_path(port)
    stored = cloud.etcd.get(path)
    assert stored is not None
    assert isinstance(decode(path, stored.value), WorkloadEndpoint)

    cloud.admin.delete("port", port["id"])
    assert cloud.endpoint(port) is None


def _sorted(rules: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rules, key=json.dumps)


def test_listing_ports_may_be_the_first_request(cloud: Cloud) -> None:
    """Neutron's own code fails here unless somebody completed the database's classes."""
    process = cloud.neutron.api_process
    assert process is not None
    process.stop()
    cloud.neutron.start_api()
    for _ in range(6):
        cloud.admin.list("port", "network_id=none")


def test_a_subnet_is_there_for_dhcp(cloud: Cloud) -> None:
    network = cloud.network()
    subnet = cloud.subnet(
        network,
        dns_nameservers=["9.9.9.9", "1.1.1.1"],
        host_routes=[{"destination": "192.0.2.0/24", "nexthop": "10.0.0.1"}],
    )
    path = f"/calico/dhcp/v2/no-region/subnet/{subnet['id']}"
    stored = cloud.etcd.get(path)
    assert stored is not None
    assert stored.value.decode() == (
        f'{{"network_id": "{network["id"]}", "cidr": "{subnet["cidr"]}", "host_routes": '
        '[{"destination": "192.0.2.0/24", "nexthop": "10.0.0.1"}], '
        f'"gateway_ip": "{subnet["gateway_ip"]}", "dns_servers": ["9.9.9.9", "1.1.1.1"]}}'
    )
    cloud.member.update("subnet", subnet["id"], enable_dhcp=False)
    assert cloud.etcd.get(path) is None
    cloud.member.update("subnet", subnet["id"], enable_dhcp=True, dns_nameservers=[])
    again = cloud.stored(path)
    assert again is not None
    assert "dns_servers" not in again
    cloud.member.delete("subnet", subnet["id"])
    assert cloud.etcd.get(path) is None


@pytest.mark.parametrize("mode", ["slaac", "dhcpv6-stateful", "dhcpv6-stateless"])
def test_an_ipv6_subnet_has_its_modes(cloud: Cloud, mode: str) -> None:
    network = cloud.network()
    subnet = cloud.subnet(
        network,
        ip_version=6,
        cidr=f"fd00:{cloud.number:x}::/64",
        ipv6_ra_mode=mode,
        ipv6_address_mode=mode,
    )
    stored = cloud.stored(f"/calico/dhcp/v2/no-region/subnet/{subnet['id']}")
    assert stored is not None
    assert stored["ipv6_ra_mode"] == stored["ipv6_address_mode"] == mode


def test_a_rule_is_in_force_when_the_request_ends(cloud: Cloud) -> None:
    group = cloud.member.create("security_group", name="web")
    before = cloud.policy(group["id"])
    assert before is not None
    assert before["spec"]["ingress"] == []
    rule = cloud.member.create(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        protocol="tcp",
        port_range_min=80,
        port_range_max=81,
        remote_ip_prefix="192.0.2.0/24",
    )
    added = cloud.policy(group["id"])
    assert added is not None
    assert added["spec"]["ingress"] == [
        {
            "action": "Allow",
            "ipVersion": 4,
            "protocol": 6,
            "source": {"nets": ["192.0.2.0/24"]},
            "destination": {"ports": ["80:81"]},
        }
    ]
    assert added["metadata"]["uid"] == before["metadata"]["uid"]
    cloud.member.delete("security_group_rule", rule["id"])
    removed = cloud.policy(group["id"])
    assert removed is not None
    assert removed["spec"] == before["spec"]
    cloud.member.delete("security_group", group["id"])
    assert cloud.policy(group["id"]) is None


def test_an_address_group_is_followed(cloud: Cloud) -> None:
    group = cloud.member.create("security_group", name="by-address")
    members = cloud.member.create("address_group", name="ag", addresses=[])
    cloud.member.create(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        remote_address_group_id=members["id"],
    )

    def ingress() -> list[dict[str, object]]:
        policy = cloud.policy(group["id"])
        assert policy is not None
        result: list[dict[str, object]] = policy["spec"]["ingress"]
        return result

    assert ingress() == []
    path = f"address-groups/{members['id']}"
    cloud.member.request(
        "PUT", f"{path}/add_addresses", {"addresses": ["192.0.2.7/32", "fd00::/64"]}
    )
    assert ingress() == [{"action": "Allow", "ipVersion": 4, "source": {"nets": ["192.0.2.7/32"]}}]
    cloud.member.request("PUT", f"{path}/remove_addresses", {"addresses": ["192.0.2.7/32"]})
    assert ingress() == []


def test_a_deleted_remote_group_takes_its_rules_along(cloud: Cloud) -> None:
    web = cloud.member.create("security_group", name="web")
    clients = cloud.member.create("security_group", name="clients")
    cloud.member.create(
        "security_group_rule",
        security_group_id=web["id"],
        direction="ingress",
        remote_group_id=clients["id"],
    )
    policy = cloud.policy(web["id"])
    assert policy is not None
    assert len(policy["spec"]["ingress"]) == 1
    cloud.member.delete("security_group", clients["id"])
    policy = cloud.policy(web["id"])
    assert policy is not None
    assert policy["spec"]["ingress"] == []


def test_names_that_change_stand_in_the_labels(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    group = cloud.member.create("security_group", name="old")
    port = cloud.port(network, security_groups=[group["id"]])
    cloud.member.update("security_group", group["id"], name="new")
    cloud.member.update("network", network["id"], name="renamed")
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    labels = endpoint["metadata"]["labels"]
    assert labels[f"sg.projectcalico.org/openstack-{group['id']}"] == "new"
    assert "sg-name.projectcalico.org/openstack-old" not in labels
    assert labels["projectcalico.org/openstack-network-name"] == "renamed"


def test_the_name_of_a_port_stands_in_an_annotation(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network, name="front")
    other = cloud.port(network)

    def name(port: Json) -> str | None:
        endpoint = cloud.endpoint(port)
        assert endpoint is not None
        annotations = endpoint["metadata"]["annotations"]
        found: str | None = annotations.get("openstack.projectcalico.org/port-name")
        return found

    assert name(port) == "front"
    untouched = cloud.etcd.get(cloud.endpoint_path(other))
    cloud.member.update("port", port["id"], name='the "old" fr\u00f6nt')
    assert name(port) == 'the "old" fr\u00f6nt'
    cloud.member.update("port", port["id"], name="")
    assert name(port) is name(other) is None
    assert cloud.etcd.get(cloud.endpoint_path(other)) == untouched
    cloud.member.update("port", port["id"], name="")
    written = cloud.etcd.get(cloud.endpoint_path(port))
    cloud.member.update("port", port["id"], name="")
    assert cloud.etcd.get(cloud.endpoint_path(port)) == written


def test_groups_and_pairs_of_a_port(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    group = cloud.member.create("security_group", name="other")
    pairs = [{"ip_address": "192.0.2.9"}, {"ip_address": "198.51.100.0/24"}]
    cloud.member.update(
        "port", port["id"], security_groups=[group["id"]], allowed_address_pairs=pairs
    )
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    groups = [k for k in endpoint["metadata"]["labels"] if k.startswith("sg.")]
    assert groups == [f"sg.projectcalico.org/openstack-{group['id']}"]
    assert endpoint["spec"]["allowedIps"] == ["192.0.2.9/32"]
    assert endpoint["spec"]["ipNetworks"][-1] == "192.0.2.9/32"
    assert endpoint["spec"]["allowSpoofedSourcePrefixes"] == ["198.51.100.0/24"]

    cloud.member.update(
        "port",
        port["id"],
        security_groups=[],
        allowed_address_pairs=[],
        port_security_enabled=False,
    )
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert endpoint["spec"]["profiles"] == ["projectcalico-default-allow"]
    assert not [k for k in endpoint["metadata"]["labels"] if k.startswith("sg")]


def test_a_port_that_is_down_has_no_endpoint(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.member.update("port", port["id"], admin_state_up=False)
    assert cloud.endpoint(port) is None
    cloud.member.update("port", port["id"], admin_state_up=True)
    assert cloud.endpoint(port) is not None
    cloud.member.update("network", network["id"], admin_state_up=False)
    assert cloud.endpoint(port) is None
    cloud.member.update("network", network["id"], admin_state_up=True)
    assert cloud.endpoint(port) is not None


def test_a_detached_port_leaves_nothing_behind(cloud: Cloud) -> None:
    """Nova clears owner, device and host of a port that the user created."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    assert cloud.endpoint(port) is not None
    cloud.nova.update(
        "port", port["id"], device_owner="", device_id="", binding__host_id="", binding__profile={}
    )
    assert cloud.endpoint(port) is None
    again = cloud.admin.update(
        "port",
        port["id"],
        device_owner="compute:nova",
        device_id="vm-again",
        binding__host_id=cloud.host,
    )
    assert cloud.endpoint(again) is not None
    cloud.admin.delete("port", port["id"])
    assert cloud.endpoint(again) is None


def test_an_address_that_neutron_gives_by_itself(cloud: Cloud) -> None:
    """A SLAAC subnet gives an address to every port that the network has already."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    prefix = f"fd01:{cloud.number:x}::"
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    subnet = cloud.subnet(network, ip_version=6, cidr=f"{prefix}/64", **modes)
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert [net for net in endpoint["spec"]["ipNetworks"] if net.startswith(prefix)]
    assert endpoint["spec"]["ipv6Gateway"] == subnet["gateway_ip"]
    cloud.member.update("subnet", subnet["id"], gateway_ip=None)
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert "ipv6Gateway" not in endpoint["spec"]


def test_a_port_moves_to_another_host(cloud: Cloud) -> None:
    cloud.felix()
    target = cloud.felix(f"{cloud.host}-b")
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.admin.update("port", port["id"], binding__host_id=target)
    assert cloud.endpoint(port) is None
    assert cloud.endpoint(port, target) is not None


def test_a_change_of_the_profile_never_removes_the_endpoint(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    before = cloud.etcd.get(cloud.endpoint_path(port))
    assert before is not None
    changed = cloud.nova.update("port", port["id"], binding__profile={"os_vif_delegation": True})
    assert changed["binding:vif_type"] == "tap"
    after = cloud.etcd.get(cloud.endpoint_path(port))
    assert after is not None
    assert after.create_revision == before.create_revision


def test_ports_that_no_host_plugs_have_no_endpoint(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    unbound = cloud.port(network, host="")
    assert cloud.endpoint(unbound, "anywhere") is None
    load_balancer = cloud.port(network, device_owner="Octavia")
    assert cloud.endpoint(load_balancer) is None


def test_a_host_without_felix_is_refused(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network, host=f"nobody-{cloud.number}")
    assert port["binding:vif_type"] == "binding_failed"
    assert f"Port {port['id']} is not bound" in cloud.neutron.logs()


def test_a_failed_binding_is_made_up_for_when_felix_comes(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    assert port["binding:vif_type"] == "binding_failed"
    cloud.felix()
    eventually(
        lambda: cloud.admin.show("port", port["id"])["binding:vif_type"] == "tap", 60, "bound"
    )
    assert cloud.endpoint(port) is not None


def test_a_group_that_the_caller_cannot_see_keeps_its_policy(cloud: Cloud) -> None:
    """Neutron's own read with the caller's rights would take the group for deleted."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    foreign = cloud.admin.create("security_group", name="operators", project_id="operators")
    port = cloud.port(network, security_groups=[foreign["id"]])
    with pytest.raises(ApiError):
        cloud.member.show("security_group", foreign["id"])
    cloud.member.update("port", port["id"], name="renamed", allowed_address_pairs=[])
    cloud.member.update("port", port["id"], allowed_address_pairs=[{"ip_address": "192.0.2.1"}])
    assert cloud.policy(foreign["id"]) is not None
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert f"sg.projectcalico.org/openstack-{foreign['id']}" in endpoint["metadata"]["labels"]


def test_the_default_group_of_a_new_project_is_announced_after_its_commit(cloud: Cloud) -> None:
    network = cloud.admin.create("network", name="shared", shared=True)
    cloud.subnet(network, cloud.admin)
    newcomer = cloud.neutron.api(f"newcomer-{cloud.number}")
    port = newcomer.create("port", network_id=network["id"])
    (group_id,) = port["security_groups"]
    assert cloud.policy(group_id) is not None
