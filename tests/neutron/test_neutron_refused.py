"""What cannot be honoured stays closed, and operators see it with the ports that it concerns."""

from __future__ import annotations

from tests.neutron.conftest import Cloud
from tests.neutron.test_neutron_resync_command import resync
from tests.support.neutron import Json

_KEY = "calico_refused"


def told(cloud: Cloud, port: Json) -> list[str]:
    """Return what an operator sees of a port."""
    shown = cloud.admin.show("port", port["id"])
    (listed,) = cloud.admin.list("port", f"id={port['id']}")
    assert listed["binding:vif_details"] == shown["binding:vif_details"]
    assert shown["binding:vif_details"]["port_filter"] is True
    result: list[str] = shown["binding:vif_details"].get(_KEY, [])
    return result


def refused_rule(cloud: Cloud, group: Json) -> Json:
    """Create a rule that policies cannot express."""
    return cloud.member.create(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        ethertype="IPv4",
        protocol="0",
    )


def test_a_rule_without_counterpart_is_told_by_the_members_of_its_group(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    group = cloud.member.create("security_group", name=f"group-{cloud.number}")
    before = cloud.port(network, security_groups=[group["id"]])
    bystander = cloud.port(network)
    revision = cloud.admin.show("port", before["id"])["revision_number"]
    rule = refused_rule(cloud, group)
    after = cloud.port(network, security_groups=[group["id"]])
    for port in (before, after):
        (text,) = told(cloud, port)
        assert text.startswith(f"rule {rule['id']}: protocol: ")
    assert told(cloud, bystander) == []
    assert cloud.admin.show("port", before["id"])["revision_number"] == revision
    policy = cloud.policy(group["id"])
    assert policy is not None
    assert not policy["spec"].get("ingress")

    # What is told follows the port, to another host and out of the group.
    other = cloud.felix(f"{cloud.host}-b")
    cloud.nova.update("port", before["id"], binding__host_id=other)
    assert len(told(cloud, before)) == 1
    cloud.member.update("port", after["id"], security_groups=[])
    assert told(cloud, after) == []
    cloud.member.update("port", after["id"], security_groups=[group["id"]])
    assert len(told(cloud, after)) == 1

    status, audit = resync(cloud, "--audit", "--port", before["id"], "--port", after["id"])
    assert (status, audit["writes"]) == (0, 0)
    cloud.member.request("DELETE", f"security-group-rules/{rule['id']}")
    assert told(cloud, before) == told(cloud, after) == []


def test_a_resynchronisation_repairs_what_is_told(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    group = cloud.member.create("security_group", name=f"group-{cloud.number}")
    port = cloud.port(network, security_groups=[group["id"]])
    refused_rule(cloud, group)
    cloud.neutron.sql(
        "UPDATE ml2_port_bindings SET vif_details = '{\"port_filter\": true}' "
        f"WHERE port_id = '{port['id']}'"
    )
    assert told(cloud, port) == []
    status, audit = resync(cloud, "--audit", "--port", port["id"])
    assert (status, audit["writes"]) == (3, 1)
    assert told(cloud, port) == []
    status, repair = resync(cloud, "--port", port["id"])
    assert (status, repair["writes"]) == (0, 1)
    assert len(told(cloud, port)) == 1
