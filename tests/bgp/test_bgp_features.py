"""Draining, aggregates, anycast, services, loss of hosts, status and metrics. Needs root."""

from __future__ import annotations

import json
import re
import sys
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from calico_openstack.bgp.extras import DOMAIN
from calico_openstack.bgp.nodestatus import REASONS_ANNOTATION
from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from tests.bgp.fabric import BIRD, Fabric, Host, bird_3, birdc
from tests.bgp.test_bgp_mesh import mesh, pair, start_mesh
from tests.support.netns import needs_root, veth
from tests.support.processes import eventually

pytestmark = needs_root

TOR_IPV4, TOR_IPV6 = "10.77.0.254", "fd77::fe"


def test_draining_leaves_a_host_without_traffic_that_others_can_take(fabric: Fabric) -> None:
    one, two, observer = start_mesh(fabric, 3)
    shared = [fabric.workload(host, 5) for host in (one, two)]
    only = fabric.workload(one, 6)
    observer.wait_for_ways(shared[0].ipv4, one.ipv4, two.ipv4)
    observer.wait_for_ways(shared[0].ipv6, one.ipv6, two.ipv6)
    observer.wait_for_route(only.ipv4, one.ipv4)
    # On its own host a workload is reached directly, whatever the others announce.
    assert shared[0].ipv4 not in one.routes()
    since = observer.established()
    fabric.annotate_node(one.name, drain="true")
    observer.wait_for_route(shared[0].ipv4, two.ipv4)
    observer.wait_for_route(shared[0].ipv6, two.ipv6)
    assert observer.routes()[only.ipv4] == [one.ipv4], "the only way stays"
    told = observer.birdc("show", "route", "for", only.ipv4, "all")
    # BIRD 3 writes bgp_local_pref.
    assert re.search(r"local_pref: 0$", told, re.MULTILINE)
    eventually(lambda: one.status()["draining"], 10)
    fabric.annotate_node(one.name, drain=None)
    observer.wait_for_ways(shared[0].ipv4, one.ipv4, two.ipv4)
    observer.wait_for_ways(shared[0].ipv6, one.ipv6, two.ipv6)
    assert observer.established() == since, "only filters changed"


def tor_routes(control: Path, destination: str, *which: str) -> list[str]:
    """Return a router's gateways to a network, in order; *which* routes: ``primary``, or all."""
    text = birdc(control, "show", "route", destination, *which)
    return sorted(re.findall(r"via (\S+) on", text))


def test_aggregates_for_a_router(fabric: Fabric) -> None:
    one, two = start_mesh(fabric, 2)
    router = fabric.attach("tor", TOR_IPV4, TOR_IPV6)
    outside = fabric.attach_beyond(router, "203.0.113", "2001:db8:13")
    everybody = [Neighbors(ip_network(n), 64512) for n in ("10.77.0.0/24", "fd77::/64")]
    default = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    text = render_tor(TorRouter(IPv4Address(TOR_IPV4), 64513, tuple(everybody), default), BIRD)
    control = fabric.bird(router, "tor", text)
    workload = fabric.workload(one, 1)
    for number, cidr in enumerate(("10.65.0.0/24", "fd65::/64")):
        value = {"network_id": "n", "cidr": cidr, "host_routes": [], "gateway_ip": None}
        fabric.put_raw(f"/calico/dhcp/v2/no-region/subnet/{number}", json.dumps(value))
    for name, address in (("tor4", TOR_IPV4), ("tor6", TOR_IPV6)):
        fabric.put(
            "bgppeers",
            name,
            {"peerIP": address, "asNumber": 64513},
            annotations={DOMAIN + "aggregates": "subnets"},
        )
    eventually(lambda: tor_routes(control, "10.65.0.0/24") == [one.ipv4, two.ipv4], 40)
    eventually(lambda: len(tor_routes(control, "fd65::/64")) == 2, 20)
    assert tor_routes(control, f"{workload.ipv4}/32") == []
    assert tor_routes(control, f"{workload.ipv6}/128") == []
    for address in (workload.ipv4, workload.ipv6):
        eventually(
            lambda a=address: outside.run("ping", "-c1", "-W1", a, check=False).returncode == 0, 20
        )
    # What nobody has does not wander between the host and the router.
    assert (
        "Time to live exceeded"
        not in outside.run("ping", "-c2", "-W1", "10.65.0.99", check=False).stdout
    )
    # A workload that moves is announced by itself.
    workload.delete_routes()
    workload.add_routes(metric=512)
    wide, wide6 = f"{workload.ipv4}/32", f"{workload.ipv6}/128"
    eventually(lambda: tor_routes(control, wide, "primary") == [one.ipv4], 20)
    eventually(lambda: len(tor_routes(control, wide6, "primary")) == 1, 20)
    # Others announce it too for the while, as a second choice.
    eventually(lambda: tor_routes(control, wide) == [one.ipv4, two.ipv4], 20)
    workload.add_routes(metric=1024)
    workload.delete_routes(metric=512)
    eventually(lambda: tor_routes(control, f"{workload.ipv4}/32") == [], 20)
    # A host that hears from no other one announces what it has itself.
    two.stop()
    eventually(lambda: tor_routes(control, f"{workload.ipv4}/32") == [one.ipv4], 60)
    eventually(lambda: tor_routes(control, "10.65.0.0/24") in ([], [two.ipv4]), 10)
    assert one.status()["isolated"] == [4, 6]


def test_services_of_hosts(fabric: Fabric) -> None:
    communities = {
        "communities": [{"name": "services", "value": "64512:1:7"}],
        "prefixAdvertisements": [
            {"cidr": "10.66.0.0/16", "communities": ["services", "64512:6"]},
            {"cidr": "fd66::/64", "communities": ["services"]},
        ],
    }
    kinds = {DOMAIN + "communities": "floating=64512:2, service=64512:3"}
    fabric.put("bgpconfigurations", "default", communities, annotations=kinds)
    one, other = start_mesh(fabric, 2)
    workload = fabric.workload(one, 1)
    for host, name in ((one, "dummy1"), (one, "dummy2")):
        veth(host.namespace, name, host.namespace, f"{name}-peer")
    for name, number in (("dummy1", 1), ("dummy2", 2)):
        one.namespace.ip("address", "add", f"10.66.0.{number}/32", "dev", name)
        one.namespace.ip("address", "add", f"fd66::{number}/128", "dev", name, "nodad")
    other.wait_for_route("10.66.0.1", one.ipv4)
    eventually(lambda: "fd66::1" in other.routes("-6"), 10)
    other.wait_for_route(workload.ipv4, one.ipv4)
    eventually(lambda: workload.ipv6 in other.routes("-6"), 10)
    assert set(other.routes()) == {"10.66.0.1", workload.ipv4}
    assert set(other.routes("-6")) == {"fd66::1", workload.ipv6}
    for address, expected in (
        ("10.66.0.1", {"(64512,3)", "(64512,6)", "(64512,1,7)"}),
        ("fd66::1", {"(64512,3)", "(64512,1,7)"}),
        (workload.ipv4, {"(64512,2)"}),
        (workload.ipv6, {"(64512,2)"}),
    ):
        told = other.birdc("show", "route", "for", address, "all").replace(", ", ",")
        lines = [line for line in told.splitlines() if "community" in line]
        assert set(re.findall(r"\([\d,]+\)", " ".join(lines))) == expected


@pytest.mark.parametrize("by", [{"bfd": "100ms/100ms/3"}, {"hold-time": "3s"}], ids=["bfd", "hold"])
def test_a_host_that_falls_silent_is_given_up(fabric: Fabric, by: dict[str, str]) -> None:
    annotations = {DOMAIN + name: text for name, text in by.items()}
    fabric.put("bgpconfigurations", "default", {}, annotations=annotations)
    one, two, observer = start_mesh(fabric, 3)
    shared = [fabric.workload(host, 5) for host in (one, two)]
    observer.wait_for_ways(shared[0].ipv4, one.ipv4, two.ipv4)
    observer.wait_for_ways(shared[0].ipv6, one.ipv6, two.ipv6)
    if "bfd" in by:
        eventually(lambda: {s["bfd"] for s in observer.status()["sessions"]} == {"Up"}, 20)
    fabric.cut(one)
    observer.wait_for_route(shared[0].ipv4, two.ipv4)
    observer.wait_for_route(shared[0].ipv6, two.ipv6)
    fabric.mend(one)
    observer.wait_for_sessions(*mesh(one, two))
    observer.wait_for_ways(shared[0].ipv4, one.ipv4, two.ipv4)


def scrape(host: Host, port: str) -> str:
    program = f"import urllib.request as u; print(u.urlopen('http://localhost:{port}/metrics').read().decode())"
    return host.namespace.run(sys.executable, "-c", program).stdout


def test_status_in_the_datastore_and_metrics(fabric: Fabric) -> None:
    one, other = fabric.add_hosts(2)
    one.settings |= {"PrometheusMetricsPort": "9099", "NodeStatusPeriod": "1"}
    spec = {"node": "host2", "classes": ["Agent", "BGP", "Routes"], "updatePeriodSeconds": 1}
    fabric.put("caliconodestatuses", "asked", spec, annotations={"mine": "x"})
    spec = {"node": "host2", "classes": ["BGP"], "updatePeriodSeconds": 0}
    fabric.put("caliconodestatuses", "idle", spec)
    for host in (one, other):
        host.start_agent()
    one.wait_for_sessions(*mesh(other))
    workload = fabric.workload(other, 7)
    one.wait_for_route(workload.ipv4, other.ipv4)

    def status(name: str) -> dict[str, dict[str, object]]:
        found = fabric.get("caliconodestatuses", name).get("status", {})
        return {"agent": {}, "bgp": {}, "routes": {}} | found

    for name in ("asked", "host1"):
        for family in (4, 6):
            member = f"numberEstablishedV{family}"
            eventually(lambda n=name, m=member: status(n)["bgp"].get(m) == 1, 40)
    eventually(lambda: workload.ipv4 in json.dumps(status("asked")["routes"]), 20)
    assert status("host1")["routes"] == {}
    # Sessions that were not up yet were among the reasons; what belongs to others stays.
    always = 1 if bird_3() else 0

    def settled() -> bool:
        found = dict(fabric.get("caliconodestatuses", "asked")["metadata"]["annotations"])
        reasons = json.loads(found.pop(REASONS_ANNOTATION, "[]"))
        return found == {"mine": "x"} and len(reasons) == always

    eventually(settled, 20)
    assert "status" not in fabric.get("caliconodestatuses", "idle")
    eventually(
        lambda: 'calico_bgp_sessions{family="4",state="Established"} 1.0' in scrape(one, "9099"), 20
    )
    assert "calico_bgp_config_refused 0.0" in scrape(one, "9099")
    # Reasons are told too, and everything goes on when BIRD and the agent die.
    fabric.put("bgppeers", "closed", {"peerIP": "10.77.0.77", "asNumber": 1, "filters": ["none"]})
    eventually(
        lambda: "does not exist" in fabric.get("caliconodestatuses", "host1")["metadata"]
        .get("annotations", {}).get(REASONS_ANNOTATION, ""),
        20,
    )  # fmt: skip
    one.kill_bird()
    eventually(lambda: "calico_bgp_bird_starts 2.0" in scrape(one, "9099"), 20)
    eventually(lambda: status("host1")["bgp"].get("numberEstablishedV4") == 1, 40)


def test_other_arguments_of_bird_lose_no_packet(fabric: Fabric, tmp_path: Path) -> None:
    one, other, here, there = pair(fabric)
    streams = [here.ping_stream(address, 400, tmp_path) for address in (there.ipv4, there.ipv6)]
    streams += [there.ping_stream(address, 400, tmp_path) for address in (here.ipv4, here.ipv6)]
    before = one.bird_pid
    assert one.agent is not None
    one.agent.kill()
    one.settings["BirdConfigFile"] = str(one.directory / "moved.conf")
    one.start_agent()
    eventually(lambda: one.bird_pid != before and one.bird_runs, 20)
    for stream in streams:
        stream.wait(60)
        assert " 0% packet loss" in stream.output()
    one.wait_for_sessions(*mesh(other))
    other.wait_for_route(here.ipv4, one.ipv4)
