"""What Neutron offers and a routed network cannot is refused, with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.etcd.test_etcd_roles import login
from tests.neutron.conftest import Cloud
from tests.neutron.test_neutron_floating_ips import Outside
from tests.support.etcd import EtcdServer
from tests.support.neutron import ApiError, Json, NeutronServer
from tests.support.processes import eventually


@pytest.fixture
def outside(mixed: NeutronServer, mixed_etcd: EtcdServer) -> Iterator[Outside]:
    with login(mixed_etcd, "root") as client:
        yield Outside(Cloud(mixed, client))


def refused(error: pytest.ExceptionInfo[ApiError], status: int, text: str) -> None:
    assert error.value.status == status
    assert text in str(error.value)


def test_ports_of_a_floating_ip_are_not_forwarded(outside: Outside) -> None:
    port = outside.cloud.port(outside.network)
    floating = outside.floating_ip()
    forwarding = {
        "protocol": "tcp",
        "internal_port_id": port["id"],
        "internal_ip_address": port["fixed_ips"][0]["ip_address"],
        "internal_port": 22,
        "external_port": 2222,
    }
    path = f"floatingips/{floating['id']}/port_forwardings"
    with pytest.raises(ApiError) as error:
        outside.cloud.member.request("POST", path, {"port_forwarding": forwarding})
    refused(error, 400, "forwarding of single ports is not supported")
    assert outside.cloud.member.request("GET", path) == {"port_forwardings": []}


def test_a_floating_ip_has_no_limits_of_its_own(outside: Outside) -> None:
    cloud = outside.cloud
    policy: Json = cloud.admin.request("POST", "qos/policies", {"policy": {"name": "p"}})["policy"]
    floating = outside.floating_ip(cloud.port(outside.network))
    with pytest.raises(ApiError) as error:
        cloud.admin.update("floatingip", floating["id"], qos_policy_id=policy["id"])
    refused(error, 400, "give the port a QoS policy")
    assert cloud.admin.show("floatingip", floating["id"])["qos_policy_id"] is None


def test_a_port_has_no_local_ip(outside: Outside) -> None:
    cloud = outside.cloud
    port = cloud.port(outside.network)
    local = cloud.admin.create("local_ip", network_id=outside.network["id"])
    path = f"local_ips/{local['id']}/port_associations"
    with pytest.raises(ApiError) as error:
        association = {"fixed_port_id": port["id"]}
        cloud.admin.request("POST", path, {"port_association": association})
    refused(error, 400, "a routed port has no local IP")


def test_a_bound_port_is_no_parent_of_a_trunk(outside: Outside) -> None:
    """Neutron itself refuses it where no trunk driver knows the port's agent."""
    port = outside.cloud.port(outside.network)
    with pytest.raises(ApiError) as error:
        outside.cloud.admin.create("trunk", port_id=port["id"], sub_ports=[])
    refused(error, 409, port["id"])


def test_the_parent_of_a_trunk_is_not_bound(outside: Outside) -> None:
    cloud = outside.cloud
    port = cloud.port(outside.network, host="")
    cloud.admin.create("trunk", port_id=port["id"], sub_ports=[])
    bound = cloud.admin.update("port", port["id"], binding__host_id=cloud.host)
    assert bound["binding:vif_type"] == "binding_failed"
    assert "carries no VLANs" in cloud.neutron.logs()


def test_a_subnet_has_no_addresses_of_another_network(cloud: Cloud) -> None:
    network, other = cloud.network(), cloud.network()
    subnet = cloud.subnet(network)
    wider = str(ip_network(subnet["cidr"]).supernet())
    for cidr in (subnet["cidr"], wider, subnet["cidr"].replace(".0/24", ".128/25")):
        with pytest.raises(ApiError) as error:
            cloud.subnet(other, cidr=cidr)
        refused(error, 400, "overlaps a subnet of another network")
    assert cloud.member.list("subnet", f"network_id={other['id']}") == []
    cloud.member.delete("subnet", subnet["id"])
    assert cloud.subnet(other, cidr=subnet["cidr"])["cidr"] == subnet["cidr"]


def test_a_subnet_has_addresses_of_another_network_where_other_drivers_bind(
    outside: Outside,
) -> None:
    cloud = outside.cloud
    subnet = cloud.subnet(cloud.network())
    assert cloud.subnet(cloud.network(), cidr=subnet["cidr"])["cidr"] == subnet["cidr"]


def test_no_prefix_is_delegated(cloud: Cloud) -> None:
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    wanted = {"ip_version": 6, "subnetpool_id": "prefix_delegation"} | modes
    network = cloud.network()
    with pytest.raises(ApiError) as error:
        cloud.member.create("subnet", network_id=network["id"], **wanted)
    refused(error, 400, "prefix delegation needs a router")


def test_every_host_reaches_every_segment_of_a_network(outside: Outside) -> None:
    """Routed provider networks: a subnet for each rack; routes lead to its addresses anywhere."""
    cloud = outside.cloud
    racks = [
        {"provider:network_type": "flat", "provider:physical_network": f"rack-{name}"}
        for name in "ab"
    ]
    network = cloud.admin.create("network", name="racks", project_id=cloud.project, segments=racks)
    segments = cloud.admin.list("segment", f"network_id={network['id']}")
    assert len(segments) == 2
    subnets = {
        cloud.subnet(network, cloud.admin, segment_id=segment["id"])["id"] for segment in segments
    }
    # The host was there before the segments, the other comes after them.
    ports = [cloud.port(network), cloud.port(network, host=cloud.felix(f"{cloud.host}-late"))]
    for port in ports:
        assert port["binding:vif_type"] == "tap"
        assert {ip["subnet_id"] for ip in port["fixed_ips"]} <= subnets
    # Where the address comes from does not tie a port to a host.
    port = cloud.nova.update("port", ports[0]["id"], binding__host_id=f"{cloud.host}-late")
    assert port["binding:vif_type"] == "tap"
    assert port["fixed_ips"] == ports[0]["fixed_ips"]
    endpoint = cloud.endpoint(port, f"{cloud.host}-late")
    assert endpoint is not None
    assert endpoint["spec"]["ipNetworks"] == [f"{port['fixed_ips'][0]['ip_address']}/32"]


def test_neutron_needs_no_other_rights_in_etcd(outside: Outside) -> None:
    """Everything that the tests before needed was done with these; here is what they leave."""
    cloud = outside.cloud
    cluster = "/calico/resources/v3/projectcalico.org/clusterinformations/default"
    eventually(lambda: cloud.stored(cluster) is not None, 120, "the first resynchronisation")
    port = cloud.port(outside.network)
    cloud.report(port, "up")
    eventually(lambda: cloud.status(port) == "ACTIVE", 60, "port ACTIVE")
    assert cloud.endpoint(port) is not None
    assert "permission denied" not in cloud.neutron.logs()
