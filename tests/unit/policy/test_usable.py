"""What of stored objects is used where a part of them is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.policy import host_interfaces, usable


def invalid(kind: str, spec: dict[str, Any], namespace: str = "", **metadata: Any) -> Invalid:
    body = json.dumps({"metadata": metadata, "spec": spec}).encode()
    found = decode(ResourceKey(kind, "x", namespace).path, body)
    assert isinstance(found, Invalid)
    return found


@pytest.mark.parametrize(("kind", "namespace"), [("NetworkSet", "n"), ("GlobalNetworkSet", "")])
def test_a_network_set_is_used_without_what_is_no_network(kind: str, namespace: str) -> None:
    spec = {"nets": ["10.0.0.0/8", "x", "fd00::1", "10.0.0.0/33"]}
    found = usable.network_set(invalid(kind, spec, namespace, labels={"a": "b"}))
    assert found is not None
    assert found.spec.nets == ("10.0.0.0/8", "fd00::1")
    assert found.metadata.labels == {"a": "b"}


def test_a_network_set_with_wrong_labels_is_not_used() -> None:
    spec = {"nets": ["10.0.0.0/8", "x"]}
    assert usable.network_set(invalid("GlobalNetworkSet", spec, labels={"a b": ""})) is None
    assert usable.network_set(invalid("GlobalNetworkSet", {"nets": "10.0.0.0/8"})) is None
    assert usable.network_set(None) is None


def test_a_host_endpoint_is_used_without_what_is_no_address() -> None:
    spec = {"node": "h", "expectedIPs": ["192.0.2.1", "192.0.2.300"], "profiles": ["p"]}
    stored = invalid("HostEndpoint", spec, labels={"a": "b"})
    found = usable.host_endpoint(stored)
    assert found is not None
    assert found.spec.expected_ips == ("192.0.2.1",)
    assert host_interfaces.enforced(stored) == found


@pytest.mark.parametrize(
    "wrong", [{"profiles": ["a b"]}, {"profiles": "p"}, {"ports": [{"port": "x"}]}]
)
def test_a_host_endpoint_that_cannot_be_used_closes_its_interfaces(wrong: dict[str, Any]) -> None:
    stored = invalid(
        "HostEndpoint", {"node": "h", "interfaceName": "eth0", **wrong}, labels={"a": ""}
    )
    assert usable.host_endpoint(stored) is None
    closed = host_interfaces.enforced(stored)
    assert closed is not None
    assert (closed.spec.node, closed.spec.interface_name) == ("h", "eth0")
    assert not closed.metadata.labels
    assert not closed.spec.profiles


@pytest.mark.parametrize("spec", [{"node": 1}, {"node": "h", "profiles": "p"}, "x"])
def test_a_host_endpoint_that_says_nothing_closes_nothing(spec: Any) -> None:
    assert host_interfaces.enforced(invalid("HostEndpoint", spec)) is None


def test_a_tier_with_a_wrong_action_keeps_its_place_and_denies() -> None:
    found = usable.tier(invalid("Tier", {"order": 5, "defaultAction": "Allow"}))
    assert found is not None
    assert (found.order, found.default_action) == (5, "Deny")
    assert usable.tier(invalid("Tier", {"order": "first"})) is None
