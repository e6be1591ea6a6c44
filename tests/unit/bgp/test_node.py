"""What the agent writes into its Node, and what it leaves alone."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import Any

import pytest

from calico_openstack.bgp.detection import (
    DetectionError,
    Family,
    FirstFound,
    HostAddress,
    HostInterface,
    parse_method,
)
from calico_openstack.bgp.node import (
    LAST_APPLIED,
    Identity,
    Wanted,
    address_of,
    conflicting_node,
    merged,
)
from calico_openstack.bgp.registration import AddressSource, detect
from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.nodes import Node

IDENTITY = Identity("11111111-2222-3333-4444-555555555555", "2026-01-02T03:04:05Z")
IPV4 = ip_interface("192.0.2.1/24")
IPV6 = ip_interface("2001:db8::1/64")
HOST = [HostInterface("eth0", (IPV4, IPV6))]


def wanted(addresses: dict[Family, HostAddress | None] | None = None, **more: Any) -> Wanted:
    if addresses is None:
        addresses = {4: IPV4, 6: IPV6}
    return Wanted(name="h1", host_id="h1.example", addresses=addresses, **more)


def test_a_new_node_is_valid() -> None:
    node = merged(None, wanted(labels={"rack": "r1"}, as_number=65001), IDENTITY)
    value = json.dumps(node).encode()
    resource = decode("/calico/resources/v3/projectcalico.org/nodes/h1", value)
    assert isinstance(resource, Node), resource
    assert resource.spec.bgp is not None
    assert resource.spec.bgp.ipv4_address == "192.0.2.1/24"
    assert resource.spec.bgp.ipv6_address == "2001:db8::1/64"
    assert resource.spec.bgp.as_number == 65001
    assert resource.spec.orch_refs[0].node_name == "h1.example"
    assert resource.metadata.labels == {"rack": "r1"}
    assert resource.metadata.uid == IDENTITY.uid


def test_a_second_time_changes_nothing() -> None:
    for choice in (wanted(), wanted(labels={"a": "b"}, as_number=65001), wanted({})):
        once = merged(None, choice, IDENTITY)
        assert merged(once, choice, Identity("other", "other")) == once


def test_what_others_set_stays() -> None:
    stored = {
        "kind": "Node",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": "h1",
            "uid": "theirs",
            "labels": {"rack": "theirs", "route-reflector": "true"},
            "annotations": {"a": "b"},
            "somethingNew": 1,
        },
        "spec": {
            "bgp": {
                "ipv4Address": "192.0.2.99/24",
                "asNumber": 65099,
                "routeReflectorClusterID": "1.2.3.4",
            },
            "orchRefs": [{"nodeName": "x", "orchestrator": "k8s"}],
            "wireguard": {"interfaceIPv4Address": "192.0.2.7"},
            "somethingNew": {"x": [1.5]},
        },
        "status": {"wireguardPublicKey": "key"},
    }
    before = json.dumps(stored)
    result = merged(stored, wanted({4: IPV4}, labels={"rack": "r1"}, as_number=65001), IDENTITY)
    assert json.dumps(stored) == before, "the argument is not changed"
    stored["spec"]["bgp"]["ipv4Address"] = "192.0.2.1/24"  # type: ignore[index]
    stored["spec"]["orchRefs"].append(  # type: ignore[index]
        {"nodeName": "h1.example", "orchestrator": "openstack"}
    )
    record = {"asNumber": 65001, "labels": {"rack": "r1"}}
    assert json.loads(result["metadata"]["annotations"].pop(LAST_APPLIED)) == record
    assert result == stored


def test_labels_and_as_number_go_with_the_configuration() -> None:
    first = merged(None, wanted(labels={"rack": "r1", "zone": "z"}, as_number=65001), IDENTITY)
    first["metadata"]["labels"]["zone"] = "changed by the operator"
    second = merged(first, wanted(labels={"rack": "r2"}), IDENTITY)
    assert second["metadata"]["labels"] == {"rack": "r2", "zone": "changed by the operator"}
    assert "asNumber" not in second["spec"]["bgp"]
    third = merged(second, wanted(), IDENTITY)
    assert third["metadata"]["labels"] == {"zone": "changed by the operator"}
    assert "annotations" not in third["metadata"]


def test_an_address_is_cleared_only_where_that_is_wanted() -> None:
    first = merged(None, wanted(), IDENTITY)
    assert address_of(merged(first, wanted({}), IDENTITY), 4) == "192.0.2.1/24"
    cleared = merged(first, wanted({4: None, 6: None}), IDENTITY)
    assert "bgp" not in cleared["spec"], "an empty object is not allowed there"


@pytest.mark.parametrize("spec", [None, 7, [], {"bgp": 1, "orchRefs": "x"}])
def test_members_of_another_type_do_no_harm(spec: Any) -> None:
    node = merged({"metadata": {"labels": 3, "annotations": []}, "spec": spec}, wanted(), IDENTITY)
    assert address_of(node, 4) == "192.0.2.1/24"


def test_conflicts() -> None:
    other = merged(None, wanted(), IDENTITY)
    assert conflicting_node(IPV4, "h2", [("h3", {}), ("h1", other)]) == "h1"
    assert conflicting_node(IPV4, "h1", [("h1", other)]) is None
    assert conflicting_node(ip_interface("192.0.2.2/24"), "h2", [("h1", other)]) is None


class TestDetection:
    def test_settings(self) -> None:
        def chosen(setting: str, family: Family = 4, stored: str = "") -> HostAddress | None:
            return detect(AddressSource(setting, FirstFound()), family, stored, HOST)

        assert chosen("autodetect") == IPV4
        assert chosen("autodetect", 6) == IPV6
        assert chosen("none") is None
        assert chosen("192.0.2.1") == IPV4
        assert chosen("192.0.2.1/32") == ip_interface("192.0.2.1/32")
        assert chosen("") == IPV4
        with pytest.raises(LookupError):
            chosen("", 6)
        with pytest.raises(LookupError):
            chosen("", 4, "192.0.2.7/24")

    def test_reach(self) -> None:
        source = AddressSource("autodetect", parse_method("can-reach=192.0.2.9"))
        assert detect(source, 4, "", HOST, lambda *_: IPV4.ip) == IPV4
        with pytest.raises(DetectionError):
            detect(source, 4, "", HOST, lambda *_: None)
