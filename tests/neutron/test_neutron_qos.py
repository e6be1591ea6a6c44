"""QoS policies, names and extra DHCP options are in the endpoints of their ports."""

from __future__ import annotations

import json

import pytest

from tests.neutron.conftest import Cloud
from tests.support.neutron import ApiError, Json

BURST = 4294967296


class Policy:
    """A QoS policy of the project."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.id: str = cloud.admin.request(
            "POST", "qos/policies", {"policy": {"name": "p", "project_id": cloud.project}}
        )["policy"]["id"]

    def add(self, kind: str, **attributes: object) -> str:
        path = f"qos/policies/{self.id}/{kind}_rules"
        answer = self.cloud.admin.request("POST", path, {f"{kind}_rule": attributes})
        result: str = answer[f"{kind}_rule"]["id"]
        return result

    def remove(self, kind: str, rule_id: str) -> None:
        self.cloud.admin.request("DELETE", f"qos/policies/{self.id}/{kind}_rules/{rule_id}")


def controls(cloud: Cloud, port: Json) -> object:
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    return endpoint["spec"].get("qosControls")


def test_rules_are_followed(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    policy = Policy(cloud)
    port = cloud.port(network, qos_policy_id=policy.id)
    assert controls(cloud, port) is None
    policy.add("bandwidth_limit", max_kbps=10200, max_burst_kbps=20300, direction="egress")
    expected: dict[str, object] = {
        "egressBandwidth": 10200000,
        "egressBurst": BURST,
        "egressPeakrate": 20300000,
    }
    assert controls(cloud, port) == expected
    ingress = policy.add("bandwidth_limit", max_kbps=100, direction="ingress")
    policy.add("packet_rate_limit", max_kpps=6, direction="egress")
    policy.add("dscp_marking", dscp_mark=26)
    expected |= {"egressPacketRate": 6000, "egressPacketBurst": 5, "dscp": 26}
    found = controls(cloud, port)
    assert isinstance(found, dict)
    assert {name: found[name] for name in expected} == expected
    assert found["ingressBandwidth"] == 100000
    policy.remove("bandwidth_limit", ingress)
    assert controls(cloud, port) == expected
    cloud.admin.update("port", port["id"], qos_policy_id=None)
    assert controls(cloud, port) is None


def test_a_network_s_policy_is_for_ports_without_one(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    general, special = Policy(cloud), Policy(cloud)
    general.add("dscp_marking", dscp_mark=10)
    special.add("dscp_marking", dscp_mark=20)
    plain, own = cloud.port(network), cloud.port(network, qos_policy_id=special.id)
    cloud.admin.update("network", network["id"], qos_policy_id=general.id)
    assert controls(cloud, plain) == {"dscp": 10}
    assert controls(cloud, own) == {"dscp": 20}
    cloud.admin.update("port", own["id"], qos_policy_id=None)
    assert controls(cloud, own) == {"dscp": 10}
    cloud.admin.update("network", network["id"], qos_policy_id=None)
    assert controls(cloud, plain) is None


def test_what_cannot_be_honoured_is_refused(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    policy = Policy(cloud)
    port = cloud.port(network, qos_policy_id=policy.id)
    with pytest.raises(ApiError) as error:
        policy.add("packet_rate_limit", max_kpps=11)
    assert error.value.status == 409
    with pytest.raises(ApiError):
        policy.add("minimum_bandwidth", min_kbps=1000)
    # What was there before the driver, or beside another one, keeps a port from being bound.
    other = Policy(cloud)
    late = cloud.port(network, host="", qos_policy_id=other.id)
    cloud.neutron.sql(
        "INSERT INTO qos_minimum_bandwidth_rules (id, qos_policy_id, min_kbps, direction) "
        f"VALUES (UUID(), '{other.id}', 1000, 'egress')"
    )
    bound = cloud.admin.update("port", late["id"], binding__host_id=cloud.host)
    assert bound["binding:vif_type"] == "binding_failed"
    assert "minimum_bandwidth have no counterpart" in cloud.neutron.logs()
    assert controls(cloud, port) is None


def test_names_and_dhcp_options(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    options = [{"opt_name": "tftp-server", "opt_value": "192.0.2.1"}]
    port = cloud.port(network, extra_dhcp_opts=options)
    (assignment,) = cloud.admin.show("port", port["id"])["dns_assignment"]
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    annotations = endpoint["metadata"]["annotations"]
    assert annotations["openstack.projectcalico.org/fqdn"] == assignment["fqdn"]
    assert json.loads(annotations["openstack.projectcalico.org/extra-dhcp-opts"]) == [
        {"name": "tftp-server", "value": "192.0.2.1", "ipVersion": 4}
    ]
    removed = [{"opt_name": "tftp-server", "opt_value": None}]
    cloud.admin.update("port", port["id"], extra_dhcp_opts=removed)
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    assert "openstack.projectcalico.org/extra-dhcp-opts" not in endpoint["metadata"]["annotations"]
