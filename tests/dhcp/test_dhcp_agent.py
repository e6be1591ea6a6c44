"""The agent as a process: crashes, outages, order of events. Root, own namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.dhcp.host import AGENT, ENDPOINTS, SUBNETS, Host, dnsmasq_below
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

NET = "11111111-aaaa-4000-8000-000000000001"
OTHER = "22222222-bbbb-4000-8000-000000000002"
SUBNET: dict[str, Any] = {"gateway_ip": "10.65.0.1", "dns_servers": ["192.0.2.53"]}


def test_a_port_waits_for_its_subnet_and_its_interface(host: Host) -> None:
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    eventually(lambda: "no subnet with DHCP is known for 10.65.0.11" in host.log, what="warning")

    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    host.wait_for(NET, "dhcp4")
    assert workload.dhcp()["ip"] == "10.65.0.11"

    workload.unplug()
    host.wait_for(NET)
    workload.plug()
    host.wait_for(NET, "dhcp4")
    assert workload.dhcp()["ip"] == "10.65.0.11"


def test_killed_processes_come_back_and_the_others_do_not_notice(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    host.put_subnet(OTHER, "10.66.0.0/24", gateway_ip="10.66.0.1", dns_servers=["192.0.2.53"])
    first = host.workload(NET, "10.65.0.11")
    host.workload(OTHER, "10.66.0.12")
    host.start_agent()
    pid = host.wait_for(NET, "dhcp4")["dhcp4"]
    other = host.wait_for(OTHER, "dhcp4")
    assert host.agent is not None

    # Without its agent, dnsmasq goes on.
    host.agent.kill()
    assert first.dhcp()["ip"] == "10.65.0.11"

    # The next agent takes over what runs, and touches nothing.
    host.start_agent()
    eventually(lambda: host.log.count("Everything is read from etcd") == 2, what="second start")
    eventually(lambda: host.log.count("Adopted a running process") == 2, what="adoption")
    assert host.pids(NET) == {"dhcp4": pid}
    assert host.pids(OTHER) == other

    # What it adopted it watches over.
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: host.pids(NET).get("dhcp4", pid) != pid, what="a new process")
    assert host.pids(OTHER) == other
    assert first.dhcp()["ip"] == "10.65.0.11"


def test_a_process_that_cannot_be_started_is_reported_and_its_configuration_restored(
    host: Host,
) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pid = host.wait_for(NET, "dhcp4")["dhcp4"]
    (configuration,) = (host.run_folder / NET).glob("dhcp4-*.conf")
    # The agent has seen it start.
    assert workload.dhcp()["ip"] == "10.65.0.11"

    configuration.write_text("there-is-no-such-option\n")
    os.kill(pid, signal.SIGKILL)

    eventually(lambda: f"dhcp4 of network {NET}: dnsmasq ended: " in host.log, what="a report")
    eventually(lambda: host.pids(NET).get("dhcp4", pid) != pid, what="a new process")
    assert workload.dhcp()["ip"] == "10.65.0.11"
    eventually(lambda: f"Over: dhcp4 of network {NET}" in host.log, what="the end of it")


def test_what_nobody_remembers_is_ended_by_the_next_agent(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4", "dns")
    assert workload.dhcp()["ip"] == "10.65.0.11"
    before = set(dnsmasq_below(host.folder))
    assert host.agent is not None
    host.agent.stop()

    shutil.rmtree(host.run_folder / NET)
    host.start_agent()

    host.wait_for(NET, "dhcp4", "dns")
    eventually(lambda: before.isdisjoint(dnsmasq_below(host.folder)), what="the end of the old")
    assert workload.dhcp()["ip"] == "10.65.0.11"


def test_a_hanging_process_is_replaced(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pid = host.wait_for(NET, "dhcp4")["dhcp4"]

    os.kill(pid, signal.SIGSTOP)
    # Asking fills its sockets; the answer comes from the next process.
    eventually(lambda: workload.dhcp(timeout=1).get("ip") == "10.65.0.11", 40, "an answer")
    assert host.pids(NET)["dhcp4"] != pid


def test_no_answer_is_lost_while_a_process_is_replaced(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    seen = {host.wait_for(NET, "dhcp4")["dhcp4"]}
    client = workload.dhcp_client()
    eventually(lambda: client.told.get("ip") == "10.65.0.11", what="lease")

    for number in range(5):
        other = host.workload(NET, f"10.65.0.{20 + number}")
        # One request falls before the change, one after, and some into it.
        for _ in range(10):
            client.renew()
            eventually(lambda: bool(client.told), 2, "an answer to the only request")
        eventually(lambda o=other: o.dhcp(timeout=1).get("ip") == o.addresses[0], 15, "new port")
        seen.add(host.pids(NET)["dhcp4"])
    assert len(seen) == 6
    assert client.told["event"] == "renew"


def test_what_changed_while_the_agent_was_away_is_made_up_for(host: Host) -> None:
    subnet_id = host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    host.put_subnet(OTHER, "10.66.0.0/24", gateway_ip="10.66.0.1", dns_servers=["192.0.2.53"])
    kept, gone = host.workload(NET, "10.65.0.11"), host.workload(OTHER, "10.66.0.12")
    host.start_agent()
    pids = host.wait_for(NET, "dhcp4")
    host.wait_for(OTHER, "dhcp4")
    assert host.agent is not None
    assert host.agent.stop() == 0

    gone.delete()
    host.put_subnet(NET, "10.65.0.0/24", subnet_id, **SUBNET | {"dns_servers": ["192.0.2.99"]})
    host.start_agent()
    host.wait_for(OTHER)
    eventually(lambda: kept.dhcp(timeout=2).get("dns") == "192.0.2.99", what="the new server")
    assert host.pids(NET) == pids
    eventually(lambda: not (host.run_folder / OTHER).exists(), what="no files")
    eventually(lambda: "ns-22222222-bb" not in host.namespace.ip("link"), what="no interface")


def test_all_goes_on_while_etcd_is_away(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pid = host.wait_for(NET, "dhcp4")["dhcp4"]
    host.etcd.kill()
    assert host.agent is not None

    assert workload.dhcp()["ip"] == "10.65.0.11"
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: host.pids(NET).get("dhcp4", pid) != pid, what="a new process")
    assert workload.dhcp()["ip"] == "10.65.0.11"

    # Started without etcd, the agent keeps what there is, and keeps it running.
    host.agent.kill()
    host.start_agent()
    eventually(lambda: "Adopted a running process" in host.log, what="adoption")
    pid = host.pids(NET)["dhcp4"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: host.pids(NET).get("dhcp4", pid) != pid, what="a new process")
    assert workload.dhcp()["ip"] == "10.65.0.11"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (SUBNETS + "bad", "{"),
        (SUBNETS + "bad", json.dumps({"network_id": NET, "cidr": 5, "gateway_ip": None})),
        (SUBNETS + "bad", json.dumps({"network_id": "../../x", "cidr": "10.1.0.0/24"})),
        (SUBNETS + "n" * 100_000, json.dumps({"network_id": NET, "cidr": "10.1.0.0/24"})),
        (f"{ENDPOINTS}compute--1-openstack-a-b", '{"kind": "WorkloadEndpoint", "spec": []}'),
        (f"{ENDPOINTS}compute--1-openstack-x", "\0"),
    ],
)
def test_garbage_costs_only_itself(host: Host, key: str, value: str) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    host.etcd_run("put", "--", key, value.replace("\0", "nonsense"))
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")

    assert workload.dhcp()["ip"] == "10.65.0.11"
    eventually(lambda: "[WARNING]" in host.log, what="a warning")
    assert key[:60] in host.log
    assert host.agent is not None
    assert host.agent.running


def test_an_address_range_can_be_used_again_in_another_network_at_once(host: Host) -> None:
    subnet_id = host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    first = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4", "dns")
    assert first.dhcp()["ip"] == "10.65.0.11"

    first.delete()
    host.etcd_run("del", SUBNETS + subnet_id)
    host.put_subnet(OTHER, "10.65.0.0/24", gateway_ip="10.65.0.1")
    second = host.workload(OTHER, "10.65.0.11")
    host.wait_for(OTHER, "dhcp4", "dns")

    told = second.dhcp()
    assert (told["ip"], told["dns"]) == ("10.65.0.11", "10.65.0.1")
    host.wait_for(NET)


def test_interfaces_that_were_tampered_with_are_mended(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", **SUBNET)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")
    device = "ns-11111111-aa"

    host.namespace.ip("address", "flush", "dev", device)
    host.namespace.ip("address", "add", "10.65.0.2/24", "dev", device)
    eventually(lambda: addresses(host, device) == {"10.65.0.1/24"}, what="the wanted address only")
    host.namespace.ip("link", "del", device)
    eventually(lambda: device in host.namespace.ip("link"), what="the interface")
    eventually(lambda: workload.dhcp(timeout=1).get("ip") == "10.65.0.11", 15, "an answer")
    # The gateway's prefix never becomes a route: it would hide the hosts' routes.
    assert "10.65.0.0/24" not in host.namespace.ip("route")


def test_cleaning_up_leaves_nothing(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    host.put_subnet(NET, "fd65::/64", gateway_ip="fd65::1")
    host.workload(NET, "10.65.0.11", "fd65::11")
    host.start_agent()
    host.wait_for(NET, "dhcp4", "dhcp6", "dns")
    assert host.agent is not None
    host.agent.stop()

    host.namespace.run(str(AGENT), "-c", str(host.folder / "dhcp-agent.cfg"), "--clean-up")

    assert not host.pids(NET)
    assert list(Path(host.run_folder).iterdir()) == []
    assert "ns-" not in host.namespace.ip("link")
    assert host.namespace.run("nft", "list", "ruleset").stdout == ""


def addresses(host: Host, device: str) -> set[str]:
    found = json.loads(host.namespace.ip("-j", "-4", "address", "show"))
    return {
        f"{entry['local']}/{entry['prefixlen']}"
        for link in found
        if link.get("ifname") == device
        for entry in link["addr_info"]
    }


def test_the_agent_says_that_it_lives_and_counts_what_it_does(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent(PrometheusMetricsPort="9999")
    host.wait_for(NET, "dhcp4")
    key = "/calico/dhcp/v2/no-region/host/compute-1/status"
    eventually(lambda: '"uptime"' in host.etcd_run("get", key), what="a sign of life")

    def shows(line: str) -> bool:
        url = "http://localhost:9999/metrics"
        page = host.namespace.run("busybox", "wget", "-q", "-O", "-", url).stdout
        return line in page.splitlines()

    eventually(lambda: shows('calico_dhcp_processes{role="dhcp4"} 1.0'), what="a process")
    assert shows("calico_dhcp_networks 1.0")
    starts = 'calico_dhcp_process_starts_total{reason="change",role="dhcp4"} '
    assert shows(starts + "1.0")
    workload.put(fqdn="web.example.org.", options=[("67", "file", 4)])
    reloads = 'calico_dhcp_process_reloads_total{role="dhcp4"} '
    eventually(lambda: shows(reloads + "1.0"), what="files that are read again")
    assert shows(starts + "1.0")
    workload.put(mac="fa:16:3e:00:00:99")
    eventually(lambda: shows(starts + "2.0"), what="another generation")
