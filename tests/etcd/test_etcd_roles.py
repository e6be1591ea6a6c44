"""The roles that etc/etcd-roles.sh makes: each process may do its work, and nothing beside it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from calico_openstack.agent.introspection.protocol import answer_key, request_key
from calico_openstack.bgp.origination import affinity_prefix
from calico_openstack.datamodel.keys import (
    DHCP_PREFIX,
    DhcpStatusKey,
    DhcpSubnetKey,
    EndpointStatusKey,
    FelixStatusKey,
    HostEndpointStatusKey,
    ResourceKey,
    dhcp_subnet_prefix,
    felix_status_prefix,
    prefix_of,
    workload_endpoint_name,
    workload_endpoint_prefix,
)
from calico_openstack.etcd import EtcdAuthError, EtcdClient
from calico_openstack.neutron.compaction import compact
from calico_openstack.neutron.markers import comparison_path, order_path
from tests.support.etcd import EtcdServer
from tests.support.processes import eventually
from tests.support.view import watching

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "etc" / "etcd-roles.sh"
HOST, OTHER = "compute-1", "compute-10"
REGION = "no-region"
RESOURCES = "/calico/resources/v3/projectcalico.org/"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd with a user for each process of a host, and one for Neutron."""
    server = EtcdServer(tmp_path_factory.mktemp("roles"), options=("--bcrypt-cost=4",)).start()
    server.etcdctl("user", "add", "root:password")
    server.etcdctl("user", "grant-role", "root", "root")
    for process in ("neutron", "felix", "bgp", "dhcp"):
        host = () if process == "neutron" else (HOST,)
        make_role(server, process, *host)
        server.etcdctl("user", "add", f"{process}:password")
        server.etcdctl("user", "grant-role", process, "-".join(("calico", process, *host)))
    server.etcdctl("auth", "enable")
    yield server
    server.stop()


def make_role(server: EtcdServer, *arguments: str, region: str = "") -> None:
    environment = {**os.environ, "ETCDCTL_ENDPOINTS": server.endpoint, "REGION": region}
    for _ in range(2):  # the second time changes nothing
        subprocess.run([SCRIPT, *arguments], env=environment, check=True, capture_output=True)


def login(server: EtcdServer, user: str) -> EtcdClient:
    return EtcdClient(replace(server.config(), username=user, password="password"))


def endpoint(host: str) -> str:
    name = workload_endpoint_name(host, "openstack", "vm", "port")
    return ResourceKey("WorkloadEndpoint", name, "openstack").path


def endpoint_status(host: str) -> str:
    return EndpointStatusKey(REGION, host, "openstack", "openstack/vm", "port").path


POLICY = ResourceKey("NetworkPolicy", "ossg.default.g", "openstack").path
SUBNET = DhcpSubnetKey(REGION, "subnet").path
CLUSTER = ResourceKey("ClusterInformation", "default").path


@pytest.mark.parametrize(
    ("user", "written", "refused"),
    [
        (
            "neutron",
            [
                endpoint(HOST),
                POLICY,
                ResourceKey("LiveMigration", "m", "openstack").path,
                SUBNET,
                order_path(REGION),
                comparison_path(REGION),
                CLUSTER,
                ResourceKey("FelixConfiguration", "default").path,
                ResourceKey("Tier", "default").path,
            ],
            [
                FelixStatusKey(REGION, HOST).path,
                ResourceKey("GlobalNetworkPolicy", "g").path,
                ResourceKey("NetworkPolicy", "p", "another").path,
                ResourceKey("Node", HOST).path,
            ],
        ),
        (
            "felix",
            [
                FelixStatusKey(REGION, HOST).path,
                endpoint_status(HOST),
                HostEndpointStatusKey(HOST, "e").path,
                request_key(HOST, "q"),
                answer_key("q"),
            ],
            [
                endpoint(HOST),
                POLICY,
                CLUSTER,
                SUBNET,
                FelixStatusKey(REGION, OTHER).path,
                endpoint_status(OTHER),
            ],
        ),
        (
            "bgp",
            [ResourceKey("Node", HOST).path, ResourceKey("CalicoNodeStatus", HOST).path],
            [ResourceKey("Node", OTHER).path, ResourceKey("BGPPeer", "p").path, endpoint(HOST)],
        ),
        (
            "dhcp",
            [DhcpStatusKey(REGION, HOST).path],
            [DhcpStatusKey(REGION, OTHER).path, SUBNET, endpoint(HOST)],
        ),
    ],
)
def test_what_a_process_may_write(
    guarded: EtcdServer, user: str, written: list[str], refused: list[str]
) -> None:
    with login(guarded, user) as client:
        for key in written:
            client.put(key, b"{}", client.lease_grant(60))
            client.delete(key)
        for key in refused:
            with pytest.raises(EtcdAuthError):
                client.put(key, b"{}")


@pytest.mark.parametrize(
    ("user", "prefixes", "refused"),
    [
        (
            "neutron",
            [
                prefix_of("WorkloadEndpoint", "openstack"),
                prefix_of("NetworkPolicy", "openstack"),
                felix_status_prefix(REGION),
                dhcp_subnet_prefix(REGION),
            ],
            prefix_of("BGPPeer"),
        ),
        ("felix", [prefix_of("WorkloadEndpoint"), prefix_of("Node")], dhcp_subnet_prefix(REGION)),
        (
            "bgp",
            [prefix_of("BGPPeer"), DHCP_PREFIX, affinity_prefix(HOST)],
            felix_status_prefix(REGION),
        ),
        (
            "dhcp",
            [workload_endpoint_prefix("openstack", HOST), dhcp_subnet_prefix(REGION)],
            workload_endpoint_prefix("openstack", OTHER),
        ),
    ],
)
def test_what_a_process_may_watch(
    guarded: EtcdServer, user: str, prefixes: list[str], refused: str
) -> None:
    with login(guarded, user) as client:
        with pytest.raises(EtcdAuthError):
            client.get_prefix(refused)
        with watching(client, prefixes) as view:
            view.wait_connected()
            eventually(lambda: view.in_sync, what="the snapshot")


def test_the_manual_names_every_right() -> None:
    """In the script's order, and nothing else."""
    kinds = ("workloadendpoints", "networkpolicies", "livemigrations")
    names = ("tiers", "clusterinformations", "felixconfigurations")
    script = SCRIPT.read_text()
    for loop, values in (("$kind", kinds), ("$name", names)):
        (line,) = re.findall(rf".*{re.escape(loop)}/.*\n", script)
        script = script.replace(line, "".join(line.replace(loop, value) for value in values))
    # Dashes of a host's name are doubled within the name of an endpoint.
    script = script.replace("${host//-/--}", "$host")
    granted = re.findall(r'^ +grant \w+ "?([^" \n]+)', script, re.MULTILINE)
    documented = (ROOT / "docs" / "operations.md").read_text().partition("## Rights in etcd")[2]
    rows = re.findall(r"^\|[^|]*\|([^|]*/[^|]*)\|", documented.partition("\n## ")[0], re.MULTILINE)
    keys = [key for row in rows for key in re.findall(r"`([^`]*)`", row)]
    named = {re.sub(r"\$(\w+)", lambda match: match[1].upper(), key) for key in granted}
    assert set(keys) == named


def test_neutron_may_let_history_go(guarded: EtcdServer) -> None:
    with login(guarded, "neutron") as client:
        client.compact(client.status().revision)
        compact(client, 60, 0)
        assert client.get("/calico/compaction/v1/last") is not None
