"""Locking, backing up and restoring the datastore, and deleting nodes, against a real etcd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calico_openstack.datamodel import (
    Metadata,
    ResourceKey,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
    as_written,
    encode,
    workload_endpoint_name,
)
from calico_openstack.datamodel.keys import RESOURCE_PREFIX
from calico_openstack.etcd import EtcdClient
from tests.support.calicoctl import Calicoctl, calicoctl_with

RESOURCES = """
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: compute-1}
spec: {bgp: {ipv4Address: 192.0.2.1/24}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: one}
spec: {node: compute-1, peerIP: 192.0.2.9, asNumber: 64512}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: everybody}
spec: {peerIP: 192.0.2.10, asNumber: 64512}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.compute-1}
spec: {logSeverityScreen: Debug, notKnownHere: [1]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: openstack, labels: {team: a}}
spec: {selector: all(), ingress: [{action: Allow}]}
"""
ENDPOINT = ResourceKey(
    "WorkloadEndpoint",
    workload_endpoint_name("compute-1", "openstack", "vm", "port"),
    "openstack",
)


@pytest.fixture
def calicoctl(etcd: EtcdClient) -> Calicoctl:
    run = calicoctl_with(etcd)
    assert run("create", "-f", "-", text=RESOURCES).exit_code == 0
    spec = WorkloadEndpointSpec(
        orchestrator="openstack",
        workload="vm",
        node="compute-1",
        endpoint="port",
        interface_name="tap1",
        ip_networks=("10.0.0.1/32",),
    )
    metadata = Metadata(name=ENDPOINT.name, namespace="openstack")
    etcd.put(ENDPOINT.path, encode(as_written(WorkloadEndpoint(metadata=metadata, spec=spec))))
    return run


def _content(etcd: EtcdClient) -> dict[str, object]:
    return {kv.key: json.loads(kv.value) for kv in etcd.get_prefix(RESOURCE_PREFIX).kvs}


def test_the_datastore_is_locked_and_unlocked(calicoctl: Calicoctl) -> None:
    for word, ready, said in (("lock", "false", "locked"), ("unlock", "true", "unlocked")):
        assert calicoctl("datastore", "migrate", word).output == f"Datastore {said}.\n"
        shown = calicoctl("get", "clusterinfo", "-o", "custom-columns=DATASTOREREADY")
        assert shown.output.split() == ["DATASTOREREADY", ready]


def test_what_was_backed_up_comes_back_as_it_was(
    calicoctl: Calicoctl, etcd: EtcdClient, tmp_path: Path
) -> None:
    before = _content(etcd)
    saved = calicoctl("datastore", "backup", "--with-workloads")
    assert saved.exit_code == 0
    file = tmp_path / "backup"
    file.write_text(saved.output)
    etcd.delete_prefix(RESOURCE_PREFIX)
    restored = calicoctl("datastore", "restore", "-f", str(file))
    assert restored.output == f"Successfully restored {len(before)} resource(s)\n"
    assert _content(etcd) == before
    assert "left as they are" in calicoctl("datastore", "restore", "-f", str(file)).output
    assert calicoctl("datastore", "restore", "--overwrite", "-f", str(file)).exit_code == 0


def test_endpoints_are_neutrons_to_write(calicoctl: Calicoctl) -> None:
    assert "WorkloadEndpoint" not in calicoctl("datastore", "backup").output


def test_a_backup_says_what_it_lacks(calicoctl: Calicoctl, etcd: EtcdClient) -> None:
    etcd.put(ResourceKey("Tier", "broken").path, b"{")
    result = calicoctl("datastore", "backup")
    assert result.exit_code == 1
    assert "tiers/broken" in result.stderr
    assert "1 object(s) are not in the backup" in result.stderr


def test_half_a_backup_is_not_restored(calicoctl: Calicoctl, etcd: EtcdClient) -> None:
    saved = calicoctl("datastore", "backup").output
    before = _content(etcd)
    half = saved[: saved.index("===")]
    assert "not a whole backup" in calicoctl("datastore", "restore", "-f", "-", text=half).output
    assert _content(etcd) == before


def test_a_node_with_instances_is_not_deleted_by_mistake(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    refused = calicoctl("delete", "node", "compute-1")
    assert refused.exit_code == 1
    assert "1 workload endpoint(s) of OpenStack" in refused.output
    assert calicoctl("delete", "node", "compute-1", "--force").exit_code == 0
    left = set(_content(etcd))
    assert ENDPOINT.path in left
    assert ResourceKey("BGPPeer", "everybody").path in left
    assert ResourceKey("FelixConfiguration", "node.compute-1").path in left
    assert ResourceKey("BGPPeer", "one").path not in left


def test_all_that_a_node_has_goes_with_it_if_told_so(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    assert calicoctl("delete", "node", "compute-1", "--force", "--cascade=all").exit_code == 0
    assert not [path for path in _content(etcd) if "compute" in path]
