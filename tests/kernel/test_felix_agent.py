"""The real calico-felix against a real etcd and a real kernel. Needs root."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    PREFIX,
    FelixHost,
    allow,
    connect,
    declare_ready,
    listen,
    put,
    put_endpoint,
    put_group,
    status_path,
    wait_pings,
)
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A compute host whose Felix is not started yet; the datastore is declared ready."""
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    yield host
    host.close()


def status(etcd: EtcdClient, number: int) -> str | None:
    found = etcd.get(status_path(number))
    return json.loads(found.value)["status"] if found else None


def wait_status(etcd: EtcdClient, number: int, expected: str | None) -> None:
    eventually(
        lambda: status(etcd, number) == expected,
        what=f"status {status(etcd, number)} to become {expected}",
    )


def test_endpoint_from_put_to_removal(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    host.plug(1)
    key = put_endpoint(etcd, 1, "web")
    wait_status(etcd, 1, "up")
    assert "10.65.0.1 dev tap1" in host.routes()
    assert "fd00::1 dev tap1" in host.routes()
    assert "tap1" in host.ruleset()
    assert host.namespace.read_sysctl("net/ipv4/conf/tap1/proxy_arp") == "1"
    assert host.namespace.read_sysctl("net/ipv4/ip_forward") == "1"
    neighbours = host.namespace.ip("neigh", "show", "dev", "tap1")
    assert "10.65.0.1 lladdr fa:16:3e:00:00:01 PERMANENT" in neighbours
    etcd.delete(key)
    wait_status(etcd, 1, None)
    eventually(lambda: host.routes() == "")
    assert "tap1" not in host.ruleset()


def test_status_tells_which_floating_ips_the_kernel_has(host: FelixHost, etcd: EtcdClient) -> None:
    def floating(number: int) -> object:
        found = etcd.get(status_path(number))
        return json.loads(found.value).get("floatingIPs") if found else None

    def nat(number: int, external: str) -> dict[str, str]:
        return {"internalIP": f"10.65.0.{number}", "externalIP": external}

    def eventually_floating(first: list[str], second: list[str]) -> None:
        wanted = [first, second]
        eventually(lambda: [floating(1), floating(2)] == wanted, what=f"floating IPs {wanted}")

    host.start()
    for number in (1, 2):
        host.plug(number)
        put_endpoint(etcd, number)
    eventually_floating([], [])
    put_endpoint(etcd, 1, ipNATs=[nat(1, "192.0.2.7"), nat(1, "192.0.2.5")])
    eventually_floating(["192.0.2.5", "192.0.2.7"], [])
    assert "192.0.2.7" in host.ruleset()
    # While two claim it one of them has it, and the other one gets it in the end.
    put_endpoint(etcd, 2, ipNATs=[nat(2, "192.0.2.7"), nat(2, "192.0.2.9")])
    eventually_floating(["192.0.2.5", "192.0.2.7"], ["192.0.2.9"])
    put_endpoint(etcd, 1, ipNATs=[nat(1, "192.0.2.5")])
    eventually_floating(["192.0.2.5"], ["192.0.2.7", "192.0.2.9"])
    put_endpoint(etcd, 2)
    eventually_floating(["192.0.2.5"], [])


def test_status_follows_the_interface(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    put_endpoint(etcd, 1, "web")
    wait_status(etcd, 1, "down")
    workload = host.plug(1)
    wait_status(etcd, 1, "up")
    workload.ip("link", "set", "eth0", "down")
    wait_status(etcd, 1, "down")
    workload.ip("link", "set", "eth0", "up")
    wait_status(etcd, 1, "up")
    host.unplug(1)
    wait_status(etcd, 1, "down")


def test_host_reports_a_sign_of_life(host: FelixHost, etcd: EtcdClient) -> None:
    host.settings |= {"ReportingIntervalSecs": "1", "ReportingTTLSecs": "3"}
    host.start()
    path = f"/calico/felix/v2/no-region/host/{host.name}/"
    eventually(lambda: etcd.get(path + "status") is not None)
    first = etcd.get(path + "status")
    assert first is not None
    assert first.lease
    assert json.loads(first.value)["first_update"] is True
    eventually(lambda: (s := etcd.get(path + "status")) is not None and s.value != first.value)
    second = etcd.get(path + "last_reported_status")
    assert second is not None
    assert not second.lease
    assert json.loads(second.value)["first_update"] is False
    assert host.process is not None
    host.process.kill()
    eventually(lambda: etcd.get(path + "status") is None, 15, "the lease to expire")
    assert etcd.get(path + "last_reported_status") is not None


def test_security_groups_are_enforced(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(
        etcd, "web", [allow("ICMP", group="client"), allow("ICMPv6", group="client", version=6)]
    )
    put_group(etcd, "client", [])
    host.start()
    one, two, three = (host.plug(number) for number in (1, 2, 3))
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "client")
    put_endpoint(etcd, 3, "other")
    for number in (1, 2, 3):
        wait_status(etcd, number, "up")
    wait_pings(two, 1)
    wait_pings(two, 1, ipv6=True)
    wait_pings(one, 2, False)
    wait_pings(three, 1, False)
    # Membership, a rule, and a rule's disappearance are followed.
    put_endpoint(etcd, 3, "client")
    wait_pings(three, 1)
    put_group(etcd, "client", [allow("ICMP")])
    wait_pings(one, 2)
    put_group(etcd, "client", [], egress=False)
    wait_pings(two, 1, False)
    wait_pings(three, 1, False)


def test_spoofed_sources_are_dropped(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(etcd, "all", [allow("ICMP"), allow("ICMPv6", version=6)])
    host.start()
    one, _two = host.plug(1), host.plug(2)
    put_endpoint(etcd, 1, "all")
    put_endpoint(etcd, 2, "all")
    wait_status(etcd, 2, "up")
    wait_pings(one, 2)
    one.ip("addr", "add", "10.65.0.77/32", "dev", "eth0")
    host.namespace.ip("route", "add", "10.65.0.77", "dev", "tap1", "proto", "88")
    result = one.run("ping", "-c1", "-W1", "-I", "10.65.0.77", "10.65.0.2", check=False)
    assert result.returncode != 0


def test_established_flow_ends_with_its_permission(
    host: FelixHost, etcd: EtcdClient, tmp_path: Path
) -> None:
    put_group(etcd, "web", [allow("TCP", 80, group="client"), allow("TCP", 81)])
    put_group(etcd, "client", [])
    put_group(etcd, "more", [])
    host.start()
    one, two = host.plug(1), host.plug(2)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "client")
    wait_status(etcd, 1, "up")
    wait_status(etcd, 2, "up")
    processes = [listen(one, port, tmp_path / f"listen{port}.log") for port in (80, 81)]
    processes += [connect(two, 1, port, tmp_path / f"connect{port}.log") for port in (80, 81)]

    def established(port: int) -> bool:
        table = host.namespace.run("conntrack", "-L", "-p", "tcp", check=False).stdout
        return any(
            f"dport={port} " in line and "ESTABLISHED" in line for line in table.splitlines()
        )

    eventually(lambda: established(80) and established(81))
    put_endpoint(etcd, 2, "client", "more")
    put_endpoint(etcd, 2, "more")
    eventually(lambda: not established(80))
    assert established(81), "what is still allowed goes on"
    for process in processes:
        process.kill()


def test_restart_writes_nothing(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(etcd, "web", [allow("ICMP", group="web"), allow("TCP", 80)])
    host.start()
    one, _two = host.plug(1), host.plug(2)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "web")
    wait_status(etcd, 1, "up")
    wait_status(etcd, 2, "up")
    wait_pings(one, 2)
    before = (host.ruleset(), host.routes())
    statuses = etcd.get_prefix("/calico/felix/v2/no-region/host/compute-1/workload/").kvs
    assert host.process is not None
    host.process.kill()
    assert (host.ruleset(), host.routes()) == before
    host.start()
    assert host.wait_programmed() == 0
    assert etcd.get_prefix("/calico/felix/v2/no-region/host/compute-1/workload/").kvs == statuses


def test_what_changed_while_it_was_dead_is_made_good(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    for number in (1, 2, 3):
        host.plug(number)
        put_endpoint(etcd, number, "web")
        wait_status(etcd, number, "up")
    assert host.process is not None
    host.process.kill()
    host.namespace.ip("route", "del", "10.65.0.1", "dev", "tap1")
    host.namespace.run("nft", "flush", "chain", "ip", "calico", "filter-forward")
    etcd.delete_prefix(PREFIX + "workloadendpoints/openstack/compute--1-openstack-vm2")
    host.unplug(3)
    host.start()
    eventually(lambda: "10.65.0.1 dev tap1" in host.routes() and "10.65.0.2" not in host.routes())
    assert "tap2" not in host.ruleset()
    wait_status(etcd, 1, "up")
    wait_status(etcd, 2, None)
    wait_status(etcd, 3, "down")


def test_nothing_is_written_before_the_snapshot_is_complete(
    host: FelixHost, etcd: EtcdClient
) -> None:
    declare_ready(etcd, False)
    host.plug(1)
    put_endpoint(etcd, 1, "web")
    process = host.start(wait=False)
    process.wait_until(lambda: "Waiting for the datastore" in process.output(), "waiting")
    assert host.ruleset() == ""
    declare_ready(etcd)
    host.wait_programmed()
    wait_status(etcd, 1, "up")


def test_kernel_stays_as_it_is_while_etcd_is_away(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(etcd, "web", [allow("ICMP")])
    host.start()
    one = host.plug(1)
    host.plug(2)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "web")
    wait_status(etcd, 2, "up")
    wait_pings(one, 2)
    host.etcd_way.refuse()
    eventually(lambda: host.logged("No view of etcd"))
    host.namespace.ip("route", "del", "10.65.0.2", "dev", "tap2")
    wait_pings(one, 2)
    put_group(etcd, "web", [])
    host.etcd_way.heal()
    wait_pings(one, 2, False)


def test_garbage_costs_its_object_only(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(etcd, "web", [allow("ICMP", group="web")])
    host.start()
    one = host.plug(1)
    host.plug(2)
    put_endpoint(etcd, 1, "web")
    key = put_endpoint(etcd, 2, "web")
    wait_status(etcd, 2, "up")
    wait_pings(one, 2)
    good = etcd.get(key)
    assert good is not None
    etcd.put(PREFIX + "networkpolicies/openstack/default.bad", b"{")
    etcd.put(PREFIX + "networkpolicies/openstack/a/b/c", b"{}")
    etcd.put(PREFIX + "tiers/" + "x" * 1_000_000, b"\xff\xfe")
    etcd.put(PREFIX + "workloadendpoints/openstack/\udcff", b"[]")
    etcd.put("/calico/nonsense", b"x")
    put_group(etcd, "other", [{"action": "Perhaps"}])
    put(etcd, "felixconfigurations", "default", {"logSeverityScreen": 7, "unknown": {}})
    etcd.put(key, good.value.replace(b'"10.65.0.2/32"', b'"10.65.0.2/33"'))
    eventually(lambda: host.logged("10.65.0.2/33"), what="reason in the log")
    wait_status(etcd, 2, None)
    wait_pings(one, 2, False)
    etcd.put(key, good.value)
    wait_status(etcd, 2, "up")
    wait_pings(one, 2)
    assert host.process is not None
    assert host.process.running


def test_changed_parameters_restart_it(host: FelixHost, etcd: EtcdClient) -> None:
    process = host.start()
    put(etcd, "felixconfigurations", "default", {"defaultEndpointToHostAction": "Accept"})
    assert process.wait() == 129
    assert "DefaultEndpointToHostAction" in process.output()
    process = host.start()
    declare_ready(etcd, False)
    assert process.wait() == 129
    declare_ready(etcd)
    process = host.start()
    process.signal(signal.SIGHUP)
    assert process.wait() == 129


def test_it_ends_gracefully_and_leaves_the_kernel_alone(host: FelixHost, etcd: EtcdClient) -> None:
    process = host.start()
    host.plug(1)
    put_endpoint(etcd, 1, "web")
    wait_status(etcd, 1, "up")
    before = (host.ruleset(), host.routes())
    assert process.stop() == 0
    assert (host.ruleset(), host.routes()) == before
    assert status(etcd, 1) == "up"


def test_unusable_configuration_is_refused_with_its_name(host: FelixHost) -> None:
    host.settings["MetadataPort"] = "99999"
    process = host.start(wait=False)
    assert process.wait() == 1
    assert "MetadataPort" in process.output()


def test_health_and_metrics(host: FelixHost) -> None:
    host.settings |= {"HealthEnabled": "true", "PrometheusMetricsEnabled": "true"}
    host.start()
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"

    def get(url: str) -> str:
        return host.namespace.run("python3", "-c", fetch, url).stdout

    assert "InternalDataplaneMainLoop" in get("http://localhost:9099/readiness")
    assert "reporting live" in get("http://localhost:9099/liveness")
    metrics = get("http://localhost:9091/metrics")
    assert "felix_resync_state 3.0" in metrics
    assert 'felix_host{host="compute-1"} 1.0' in metrics


def test_a_loop_that_hangs_is_told_by_health_and_reports_no_life(
    host: FelixHost, etcd: EtcdClient
) -> None:
    host.settings |= {
        "HealthEnabled": "true",
        "DataplaneWatchdogTimeout": "2",
        "DebugSimulateDataplaneHangAfter": "8",
        "ReportingIntervalSecs": "0.5",
        "ReportingTTLSecs": "2",
    }
    host.start()
    life = "/calico/felix/v2/no-region/host/compute-1/status"
    eventually(lambda: etcd.get(life) is not None)
    fetch = (
        "import urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen('http://localhost:9099/liveness').status)\n"
        "except e.HTTPError as error: print(error.code)"
    )

    def liveness() -> str:
        return host.namespace.run("python3", "-c", fetch).stdout.strip()

    assert liveness() == "200"
    eventually(lambda: liveness() == "503", 30, "the hang to be noticed")
    eventually(lambda: etcd.get(life) is None, 30, "the sign of life to expire")
    assert host.process is not None
    host.process.kill()
