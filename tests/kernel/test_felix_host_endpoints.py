"""Host endpoints and staged policies with the real calico-felix. Needs root."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    FelixHost,
    allow,
    declare_ready,
    pings,
    put,
    put_endpoint,
    put_group,
    wait_pings,
)
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import eventually

pytestmark = needs_root

HOST = "198.51.100.1"


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A compute host with Felix running; the datastore is declared ready."""
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    host.start()
    yield host
    host.close()


@pytest.fixture
def peer(host: FelixHost, new_namespace: NamespaceFactory) -> NetworkNamespace:
    """A machine behind the host's interface eth7, which has the address `HOST`."""
    peer = new_namespace("peer")
    veth(host.namespace, "eth7", peer, "eth0")
    host.namespace.ip("addr", "add", f"{HOST}/24", "dev", "eth7")
    peer.ip("addr", "add", "198.51.100.2/24", "dev", "eth0")
    return peer


def wait_status(etcd: EtcdClient, name: str, expected: str | None) -> None:
    path = f"/calico/felix/v1/host/compute-1/endpoint/{name}"

    def status() -> str | None:
        found = etcd.get(path)
        return json.loads(found.value)["status"] if found else None

    eventually(lambda: status() == expected, what=f"status {status()} to become {expected}")


def put_policy(etcd: EtcdClient, protocol: str) -> None:
    rules = [{"action": "Allow", "protocol": protocol}]
    spec = {"selector": "has(host)", "types": ["Ingress"], "ingress": rules}
    put(etcd, "globalnetworkpolicies", "host-in", spec)


def reaches(peer: NetworkNamespace) -> bool:
    command = ("ping", "-4", "-c1", "-W1", HOST)
    return peer.run(*command, check=False).returncode == 0


def test_policy_of_a_host_endpoint(
    host: FelixHost, etcd: EtcdClient, peer: NetworkNamespace
) -> None:
    assert reaches(peer)
    spec = {"node": "compute-1", "expectedIPs": [HOST]}
    key = put(etcd, "hostendpoints", "uplink", spec, labels={"host": ""})
    wait_status(etcd, "uplink", "up")
    eventually(lambda: not reaches(peer), 20, "the host to be closed")
    put_policy(etcd, "ICMP")
    eventually(lambda: reaches(peer), 20, "the host to be open for pings")
    put_policy(etcd, "UDP")
    eventually(lambda: not reaches(peer), 20, "the host to be closed")
    # The endpoint is where its address is.
    host.namespace.ip("addr", "del", f"{HOST}/24", "dev", "eth7")
    wait_status(etcd, "uplink", "error")
    host.namespace.ip("addr", "add", f"{HOST}/24", "dev", "eth7")
    wait_status(etcd, "uplink", "up")
    host.namespace.ip("link", "set", "eth7", "down")
    wait_status(etcd, "uplink", "down")
    etcd.delete(key)
    wait_status(etcd, "uplink", None)
    host.namespace.ip("link", "set", "eth7", "up")
    eventually(lambda: reaches(peer), 20, "the host to be open")
    assert "host-endpoint" not in host.ruleset()


def test_staged_policies_count(host: FelixHost, etcd: EtcdClient) -> None:
    workloads = [host.plug(1), host.plug(2)]
    for number in (1, 2):
        put_endpoint(etcd, number, "web")
    put_group(etcd, "web", [allow("ICMP")])
    spec = {
        "selector": "all()",
        "types": ["Ingress"],
        "order": 1,
        "ingress": [{"action": "Deny", "protocol": "ICMP"}],
    }
    wait_pings(workloads[0], 2)
    put(etcd, "stagedglobalnetworkpolicies", "trial", spec)
    eventually(lambda: "staged-in-sgnp/trial" in host.ruleset())
    assert pings(workloads[0], 2)
    counted = re.search(r'counter packets (\d+).*"\S* ?sgnp/trial ingress\[0\]', host.ruleset())
    assert counted is not None, host.ruleset()
    assert int(counted[1]) >= 1
