"""What calicoctl refuses to write because of what else is in a real etcd."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from calico_openstack.etcd import EtcdClient
from tests.support.calicoctl import Calicoctl, calicoctl_with


@pytest.fixture
def calicoctl(etcd: EtcdClient) -> Calicoctl:
    return calicoctl_with(etcd)


def document(kind: str, name: str, **spec: Any) -> str:
    metadata = {"name": name}
    if kind in ("NetworkPolicy", "StagedNetworkPolicy"):
        metadata["namespace"] = "openstack"
    api = "projectcalico.org/v3"
    return yaml.safe_dump({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})


@pytest.mark.parametrize(
    "kind",
    [
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
    ],
)
def test_a_policy_and_its_tier(calicoctl: Calicoctl, kind: str) -> None:
    policy = document(kind, "p", tier="gold", selector="all()")
    refused = calicoctl("apply", "-f", "-", text=policy)
    assert refused.exit_code == 1
    assert "error with field Tier = 'gold' (there is no such tier)" in refused.stderr
    calicoctl("apply", "-f", "-", text=document("Tier", "gold", order=10))
    for _ in range(2):
        assert calicoctl("apply", "-f", "-", text=policy).exit_code == 0
    moved = document(kind, "p", tier="silver", selector="all()")
    assert calicoctl("apply", "-f", "-", text=moved).exit_code == 1
    kept = calicoctl("delete", "tier", "gold")
    assert kept.exit_code == 1
    assert "operation delete is not supported on Tier(gold): it has policies: " in kept.stderr
    assert f"{kind}(" in kept.stderr
    calicoctl("delete", "-f", "-", text=policy)
    assert calicoctl("delete", "tier", "gold").exit_code == 0


@pytest.mark.parametrize("name", ["default", "kube-admin", "kube-baseline"])
def test_built_in_tiers_stay(calicoctl: Calicoctl, name: str) -> None:
    calicoctl("apply", "-f", "-", text=document("Tier", "gold"))
    result = calicoctl("delete", "tier", name)
    assert result.exit_code == 1
    assert f"operation delete is not supported on Tier({name}): it is built in" in result.stderr


def test_tiers_of_kubernetes_keep_their_place(calicoctl: Calicoctl) -> None:
    same = document("Tier", "kube-admin", order=1000, defaultAction="Pass")
    assert calicoctl("apply", "-f", "-", text=same).exit_code == 0
    for changed in ({"order": 1}, {"order": 1000}, {"order": 1000, "defaultAction": "Deny"}):
        result = calicoctl("apply", "-f", "-", text=document("Tier", "kube-admin", **changed))
        assert "order 1000 and defaultAction Pass of this tier cannot be changed" in result.stderr
    other = document("Tier", "default", order=5, defaultAction="Pass")
    assert calicoctl("apply", "-f", "-", text=other).exit_code == 0


def test_filters_of_a_peer_exist(calicoctl: Calicoctl) -> None:
    peer = document("BGPPeer", "p", peerIP="192.0.2.1", asNumber=64512, filters=["f", "g"])
    calicoctl("apply", "-f", "-", text=document("BGPFilter", "f"))
    result = calicoctl("apply", "-f", "-", text=peer)
    assert "BGPPeer(p): error with field Filters = ['g'] (no such BGPFilter)" in result.stderr
    calicoctl("apply", "-f", "-", text=document("BGPFilter", "g"))
    assert calicoctl("apply", "-f", "-", text=peer).exit_code == 0


def test_pools_neither_overlap_nor_change_their_network(calicoctl: Calicoctl) -> None:
    def apply(name: str, **spec: Any) -> str:
        return calicoctl("apply", "-f", "-", text=document("IPPool", name, **spec)).stderr

    assert apply("a", cidr="10.0.0.0/16") == ""
    assert "IPPool(a) overlaps it" in apply("b", cidr="10.0.1.0/24")
    assert apply("b", cidr="10.1.0.0/16", blockSize=28) == ""
    assert apply("a", cidr="10.0.0.0/16", blockSize=26, natOutgoing=True) == ""
    assert "field CIDR = '10.2.0.0/16' (it cannot be changed)" in apply("a", cidr="10.2.0.0/16")
    assert "field BlockSize" in apply("b", cidr="10.1.0.0/16")
