"""Floating addresses, outgoing translation and what goes with them, by the real calico-felix."""

from __future__ import annotations

import json
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
    put,
    put_endpoint,
    put_group,
    wait_pings,
)
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

FLOATING = "198.51.100.7"


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A compute host with two open workloads, of which the first has a floating address."""
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    put_group(etcd, "open", [allow("ICMP")])
    put_endpoint(etcd, 1, "open", ipNATs=[nat(1)])
    put_endpoint(etcd, 2, "open")
    yield host
    host.close()


def nat(number: int) -> dict[str, str]:
    return {"internalIP": f"10.65.0.{number}", "externalIP": FLOATING}


def answers(source: NetworkNamespace, address: str = FLOATING) -> bool:
    return source.run("ping", "-n", "-c1", "-W1", address, check=False).returncode == 0


def translated(host: FelixHost) -> str:
    listed = host.namespace.run("conntrack", "-L", "--orig-dst", FLOATING, check=False)
    return str(listed.stdout)


def test_a_floating_address_moves(host: FelixHost, etcd: EtcdClient) -> None:
    one, two = host.plug(1), host.plug(2)
    host.start()
    wait_pings(two, 1)
    assert answers(two)
    assert answers(one)
    assert f"{FLOATING} dev tap1" in host.routes()
    assert "src=10.65.0.1" in translated(host)
    put_endpoint(etcd, 1, "open")
    put_endpoint(etcd, 2, "open", ipNATs=[nat(2)])
    eventually(lambda: f"{FLOATING} dev tap2" in host.routes())
    assert "src=10.65.0.1 " not in translated(host).replace("src=10.65.0.1 dst=198", "")
    eventually(lambda: answers(one), 10)
    # Nobody has it while Felix is not there to see.
    process = host.process
    assert process is not None
    process.stop()
    put_endpoint(etcd, 2, "open")
    assert translated(host)
    host.start()
    assert not translated(host)
    assert not answers(one)
    assert FLOATING not in host.ruleset()


def test_pools_are_masqueraded(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    assert "masquerade" not in host.ruleset()
    put(etcd, "ippools", "all", {"cidr": "10.65.0.0/24", "natOutgoing": True})
    eventually(lambda: "masquerade" in host.ruleset())
    put(etcd, "ippools", "all", {"cidr": "10.65.0.0/24"})
    eventually(lambda: "masquerade" not in host.ruleset())
    # Whether hosts are excluded is a setting, and then all of them are known.
    put(etcd, "nodes", "other", {"bgp": {"ipv4Address": "192.0.2.77/24"}})
    put(etcd, "ippools", "all", {"cidr": "10.65.0.0/24", "natOutgoing": True})
    process = host.process
    assert process is not None
    process.stop()
    host.settings["NATOutgoingExclusions"] = "IPPoolsAndHostIPs"
    host.start()
    listed = host.namespace.run("nft", "list", "set", "ip", "calico", "all-hosts-net").stdout
    assert "192.0.2.77" in listed
    etcd.delete("/calico/resources/v3/projectcalico.org/nodes/other")
    eventually(
        lambda: (
            "192.0.2.77"
            not in host.namespace.run("nft", "list", "set", "ip", "calico", "all-hosts-net").stdout
        )
    )


def test_status_files_follow_the_endpoints(host: FelixHost, etcd: EtcdClient) -> None:
    directory = host.directory / "run" / "endpoint-status"
    directory.mkdir(parents=True)
    (directory / "openstack openstack%2Fold port").write_text("{}")
    host.start()
    eventually(lambda: len([*directory.iterdir()]) == 2)
    said = json.loads((directory / "openstack openstack%2Fvm1 port1").read_text())
    assert said["ipv4Nets"] == ["10.65.0.1/32"]
    put_endpoint(etcd, 1, "open", host="elsewhere")
    found = etcd.get_prefix("/calico/resources/v3/projectcalico.org/workloadendpoints/").kvs
    etcd.delete(next(each.key for each in found if "vm2" in each.key))
    eventually(
        lambda: [path.name for path in directory.iterdir()] == ["openstack openstack%2Fvm1 port1"]
    )
