"""The cluster's own resources are completed, never taken over."""

from __future__ import annotations

import pytest

from calico_openstack.neutron.translate.cluster import (
    cluster_information,
    default_tier,
    felix_configuration,
)


def test_a_new_cluster() -> None:
    assert cluster_information({}, "3f0c") == {
        "clusterGUID": "3f0c",
        "clusterType": "openstack",
        "datastoreReady": True,
    }
    assert felix_configuration({}) == {
        "endpointReportingEnabled": True,
        "interfacePrefix": "tap",
        "workloadSourceSpoofing": "Any",
    }
    assert default_tier(None) == {"order": 1_000_000, "defaultAction": "Deny"}


@pytest.mark.parametrize(
    ("stored", "completed"),
    [
        ("k8s", "k8s,openstack"),
        ("k8s,openstack,bgp", "k8s,openstack,bgp"),
        ("", "openstack"),
    ],
)
def test_the_cluster_type_names_openstack(stored: str, completed: str) -> None:
    assert cluster_information({"clusterType": stored}, "x")["clusterType"] == completed


def test_an_operator_s_word_stays() -> None:
    stored = {"clusterGUID": "a", "clusterType": "openstack", "datastoreReady": False, "x": 1}
    assert cluster_information(stored, "b") == stored
    configuration = {"interfacePrefix": "cali", "workloadSourceSpoofing": "Disabled", "x": 1}
    assert felix_configuration(configuration) == {
        "interfacePrefix": "cali,tap",
        "workloadSourceSpoofing": "Disabled",
        "x": 1,
        "endpointReportingEnabled": True,
    }
    assert default_tier({"order": 5}) == {"order": 5}
