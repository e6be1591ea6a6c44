"""Hosts with the real agent and BIRD in a full mesh, and what befalls them. Needs root."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from tests.bgp.fabric import PREFIX, Fabric, Host
from tests.bgp.workload import Workload
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root


def mesh(*others: Host) -> list[str]:
    """Return the names of the sessions with other hosts."""
    names = [f"Mesh_{host.ipv4}".replace(".", "_") for host in others]
    return names + [f"Mesh_{host.ipv6}".replace(":", "_") for host in others]


def start_mesh(fabric: Fabric, count: int) -> list[Host]:
    hosts = fabric.add_hosts(count)
    for host in hosts:
        host.start_agent()
    for host in hosts:
        host.wait_for_sessions(*mesh(*(other for other in hosts if other is not host)))
    return hosts


def pair(fabric: Fabric) -> tuple[Host, Host, Workload, Workload]:
    """Return two hosts with a workload each that reach each other."""
    one, other = start_mesh(fabric, 2)
    here, there = fabric.workload(one, 1), fabric.workload(other, 2)
    for host, workload in ((one, there), (other, here)):
        host.wait_for_route(workload.ipv4, workload.host.ipv4)
        eventually(lambda h=host, w=workload: w.ipv6 in h.routes("-6"), 10)
    # The first packets wait for neighbours to be resolved.
    assert here.ping(there.ipv4).returncode == 0
    assert here.ping(there.ipv6).returncode == 0
    return one, other, here, there


def test_three_hosts_exchange_routes_of_both_families(fabric: Fabric) -> None:
    hosts = start_mesh(fabric, 3)
    workloads = [
        fabric.workload(hosts[0], 1),
        fabric.workload(hosts[1], 2, protocol="80"),
        fabric.workload(hosts[2], 3),
    ]
    for host in hosts:
        for workload in workloads:
            if workload.host is not host:
                host.wait_for_route(workload.ipv4, workload.host.ipv4)
                host.wait_for_route(workload.ipv6, workload.host.ipv6)
    for workload in workloads[1:]:
        for address in (workload.ipv4, workload.ipv6):
            assert workloads[0].ping(address).returncode == 0
    workloads[2].delete_routes()
    hosts[0].wait_for_route(workloads[2].ipv4)
    hosts[0].wait_for_route(workloads[2].ipv6)
    status = hosts[0].status()
    assert status["inSync"]
    assert status["alarm"] == ""
    assert {s["name"] for s in status["sessions"]} == set(mesh(*hosts[1:]))


def test_only_workload_routes_leave_a_host(fabric: Fabric) -> None:
    one, other = start_mesh(fabric, 2)
    one.namespace.ip("link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
    one.namespace.ip("link", "set", "eth7", "up")
    one.namespace.ip("address", "add", "10.88.0.1/24", "dev", "eth7")
    one.namespace.ip("route", "add", "10.99.0.0/16", "via", "10.77.0.250")
    one.namespace.ip("route", "add", "default", "via", "10.77.0.250")
    workload = fabric.workload(one, 1)
    one.namespace.ip("route", "add", "10.65.9.9", "dev", workload.interface, "proto", "static")
    other.wait_for_route(workload.ipv4, one.ipv4)
    assert set(other.routes()) == {workload.ipv4}


def test_a_moving_workload_is_followed(fabric: Fabric) -> None:
    source, target, observer = start_mesh(fabric, 3)
    before = fabric.workload(source, 1)
    observer.wait_for_route(before.ipv4, source.ipv4)
    # The target's route is elevated while the source's is still there.
    target.namespace.ip("link", "add", "tap1", "type", "veth", "peer", "name", "peer1")
    target.namespace.ip("link", "set", "tap1", "up")
    target.namespace.ip("route", "add", before.ipv4, "dev", "tap1", "metric", "512")
    observer.wait_for_route(before.ipv4, target.ipv4)
    source.wait_for_route(before.ipv4, target.ipv4)
    before.delete_routes()
    target.namespace.ip("route", "add", before.ipv4, "dev", "tap1", "metric", "1024")
    target.namespace.ip("route", "del", before.ipv4, "dev", "tap1", "metric", "512")
    eventually(
        lambda: "metric: 1024" in target.birdc("show", "route", "for", before.ipv4, "all"), 10
    )
    observer.wait_for_route(before.ipv4, target.ipv4)
    source.wait_for_route(before.ipv4, target.ipv4)
    assert before.ipv4 not in target.routes()


def test_another_host_bounces_no_session(fabric: Fabric) -> None:
    one, other = start_mesh(fabric, 2)
    since = one.established()
    (third,) = fabric.add_hosts(1)
    third.start_agent()
    one.wait_for_sessions(*mesh(other, third))
    after = one.established()
    assert {name: after[name] for name in since} == since
    # A change of filters only refreshes routes.
    workload = fabric.workload(other, 2)
    one.wait_for_route(workload.ipv4, other.ipv4)
    fabric.put(
        "bgpconfigurations",
        "default",
        {"prefixAdvertisements": [{"cidr": "10.65.0.0/16", "communities": ["64512:7"]}]},
    )
    eventually(lambda: "(64512,7)" in one.birdc("show", "route", "for", workload.ipv4, "all"), 20)
    assert one.established() == after
    fabric.delete("nodes", third.name)
    assert third.agent is not None
    third.stop()
    one.wait_for_sessions(*mesh(other))
    assert one.established() == since


def test_an_unusable_configuration_keeps_the_old_one(fabric: Fabric) -> None:
    one, other, here, there = pair(fabric)
    since = one.established()
    fabric.put_raw(f"{PREFIX}/bgpconfigurations/default", "{nonsense")
    eventually(lambda: "bgpconfigurations/default" in one.status()["alarm"], 20)
    assert one.established() == since
    assert here.ping(there.ipv4).returncode == 0
    fabric.delete("bgpconfigurations", "default")
    eventually(lambda: one.status()["alarm"] == "", 20)
    assert one.established() == since
    assert other.established()


def test_invalid_objects_cost_only_themselves(fabric: Fabric) -> None:
    one, other, here, there = pair(fabric)
    since = one.established()
    fabric.put_raw(f"{PREFIX}/bgppeers/bad", '{"spec": {"peerIP": 7}}')
    fabric.put_raw(f"{PREFIX}/nodes/bad", "[]")
    fabric.put_raw(f"{PREFIX}/bgppeers/{'x' * 10000}", "{}")
    fabric.put("bgppeers", "closed", {"peerIP": "10.77.0.77", "asNumber": 1, "filters": ["none"]})
    eventually(
        lambda: {"BGPPeer bad", "Node bad"} <= {p["resource"] for p in one.status()["problems"]}, 20
    )
    eventually(lambda: "Global_10_77_0_77" in one.birdc("show", "protocols"), 20)

    def found() -> list[dict[str, Any]]:
        return [s for s in one.status()["sessions"] if s["name"] == "Global_10_77_0_77"]

    eventually(lambda: found() != [], 20)
    closed = found()
    assert "does not exist" in closed[0]["disabled"]
    assert re.search(r"Global_10_77_0_77\s+BGP\s+\S+\s+down", one.birdc("show", "protocols"))
    assert one.established() == since
    assert other.established()
    assert here.ping(there.ipv6).returncode == 0


def test_bird_killed_loses_no_packet(fabric: Fabric, tmp_path: Path) -> None:
    one, other, here, there = pair(fabric)
    streams = [here.ping_stream(address, 400, tmp_path) for address in (there.ipv4, there.ipv6)]
    before = one.bird_pid
    one.kill_bird()
    eventually(lambda: one.bird_pid != before and one.bird_runs, 10)
    late = fabric.workload(other, 3)
    for stream in streams:
        stream.wait(60)
        assert " 0% packet loss" in stream.output()
    one.wait_for_sessions(*mesh(other))
    one.wait_for_route(there.ipv4, other.ipv4)
    one.wait_for_route(late.ipv4, other.ipv4)
    one.wait_for_route(late.ipv6, other.ipv6)
    other.wait_for_route(here.ipv4, one.ipv4)


def test_bird_that_hangs_is_restarted(fabric: Fabric) -> None:
    one, other, _here, there = pair(fabric)
    before = one.bird_pid
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: one.bird_pid != before and one.bird_runs, 60)
    one.wait_for_sessions(*mesh(other))
    one.wait_for_route(there.ipv4, other.ipv4)


def test_the_agent_killed_leaves_bird_and_adopts_it(fabric: Fabric) -> None:
    one, other, here, there = pair(fabric)
    bird, since = one.bird_pid, one.established()
    assert one.agent is not None
    one.agent.kill()
    assert here.ping(there.ipv4).returncode == 0
    (third,) = fabric.add_hosts(1)
    third.start_agent()
    other.wait_for_sessions(*mesh(one, third))
    one.start_agent()
    one.wait_for_sessions(*mesh(other, third))
    assert one.bird_pid == bird
    after = one.established()
    assert {name: after[name] for name in since} == since
    one.agent.signal(signal.SIGTERM)
    assert one.agent.wait() == 0
    assert one.established() == after


def test_etcd_away_changes_nothing(fabric: Fabric) -> None:
    one, other, here, there = pair(fabric)
    fabric.etcd.kill()
    eventually(lambda: not one.status()["etcdConnected"], 30)
    one.kill_bird()
    one.wait_for_sessions(*mesh(other))
    other.wait_for_sessions(*mesh(one))
    assert here.ping(there.ipv4).returncode == 0
    # Even the agent may start anew: the file that BIRD reads is still there.
    assert one.agent is not None
    one.agent.kill()
    one.kill_bird()
    one.start_agent()
    one.wait_for_sessions(*mesh(other))
    one.wait_for_route(there.ipv4, other.ipv4)
