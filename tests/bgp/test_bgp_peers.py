"""Route reflectors, a top-of-rack router, passwords, and BIRD's own objections. Needs root."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from tests.bgp.fabric import BIRD, Fabric, Host
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

TOR_IPV4 = "10.77.0.254"
TOR_IPV6 = "fd77::fe"
OUTSIDE_IPV4 = "203.0.113"
OUTSIDE_IPV6 = "2001:db8:13"
TOR_SESSIONS = ("Global_10_77_0_254", "Global_fd77__fe")


def start(*hosts: Host) -> None:
    for host in hosts:
        host.start_agent()


def tor(fabric: Fabric, *neighbors: Neighbors, **more: Any) -> NetworkNamespace:
    """Run a top-of-rack router with a network behind it; return its namespace."""
    router = fabric.attach("tor", TOR_IPV4, TOR_IPV6)
    outside = fabric.attach_beyond(router, OUTSIDE_IPV4, OUTSIDE_IPV6)
    text = render_tor(
        TorRouter(
            router_id=IPv4Address(TOR_IPV4),
            as_number=64513,
            neighbors=neighbors,
            advertised=(ip_network("0.0.0.0/0"), ip_network("::/0")),
            log_file=str(fabric.directory / "tor.log"),
            **more,
        ),
        BIRD,
    )
    fabric.bird(router, "tor", text)
    return outside


def use_tor(fabric: Fabric, **more: object) -> None:
    for name, address in (("tor4", TOR_IPV4), ("tor6", TOR_IPV6)):
        fabric.put("bgppeers", name, {"peerIP": address, "asNumber": 64513, **more})


@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "listed"])
def test_the_outside_behind_a_router(fabric: Fabric, dynamic: bool, tmp_path: Path) -> None:
    hosts = fabric.add_hosts(2)
    if dynamic:
        networks = (ip_network("10.77.0.0/24"), ip_network("fd77::/64"))
        neighbors = [Neighbors(network, 64512) for network in networks]
    else:
        addresses = [ip_address(text) for host in hosts for text in (host.ipv4, host.ipv6)]
        neighbors = [Neighbors(address, 64512) for address in addresses]
    outside = tor(fabric, *neighbors)
    use_tor(fabric)
    start(*hosts)
    workload = fabric.workload(hosts[0], 1)
    for host in hosts:
        eventually(lambda h=host: set(TOR_SESSIONS) <= set(h.established()), 30)
        host.wait_for_route("default", TOR_IPV4)
        eventually(lambda h=host: "default" in h.routes("-6"), 10)
    for address in (f"{OUTSIDE_IPV4}.2", f"{OUTSIDE_IPV6}::2"):
        eventually(lambda a=address: workload.ping(a).returncode == 0, 15)
    hosts[1].wait_for_route(workload.ipv4, hosts[0].ipv4)
    # Hosts never pass routes on between the router and each other.
    assert set(hosts[1].routes()) == {"default", workload.ipv4}
    assert hosts[1].routes()[workload.ipv4] == [hosts[0].ipv4]
    # BIRD's death is not felt outside either: the router keeps the routes for the while.
    stream = workload.ping_stream(f"{OUTSIDE_IPV4}.2", 300, tmp_path)
    before = hosts[0].bird_pid
    hosts[0].kill_bird()
    eventually(lambda: hosts[0].bird_pid != before and hosts[0].bird_runs, 10)
    stream.wait(60)
    assert " 0% packet loss" in stream.output()
    eventually(lambda: set(TOR_SESSIONS) <= set(hosts[0].established()), 30)
    assert outside.run("ping", "-c", "2", "-W", "2", workload.ipv4, check=False).returncode == 0


def test_adding_the_router_bounces_nothing(fabric: Fabric) -> None:
    hosts = fabric.add_hosts(2)
    start(*hosts)
    hosts[0].wait_for_sessions("Mesh_10_77_0_2", "Mesh_fd77__2")
    since = hosts[0].established()
    tor(fabric, Neighbors(ip_network("10.77.0.0/24"), 64512))
    use_tor(fabric)
    eventually(lambda: TOR_SESSIONS[0] in hosts[0].established(), 30)
    after = hosts[0].established()
    assert {name: after[name] for name in since} == since
    fabric.delete("bgppeers", "tor4")
    fabric.delete("bgppeers", "tor6")
    hosts[0].wait_for_sessions(*since)
    assert hosts[0].established() == since


def test_hosts_of_a_rack_with_their_own_as(fabric: Fabric) -> None:
    hosts = fabric.add_hosts(1)
    hosts[0].settings |= {"AS": "65101", "NodeLabels": "rack=r1"}
    tor(fabric, Neighbors(ip_address("10.77.0.1"), 65101), password="s3 cr#t", ttl_security=True)
    secret = Path(hosts[0].settings["SecretsDirectory"]) / "tor"
    fabric.put("bgpconfigurations", "default", {"nodeToNodeMeshEnabled": False})
    use_tor(
        fabric,
        nodeSelector="rack == 'r1'",
        ttlSecurity=1,
        password={"secretKeyRef": {"name": "tor", "key": "bgp"}},
    )
    start(*hosts)
    name = "Node_10_77_0_254"
    # Without its password the session stays closed, and says why.
    eventually(lambda: name in hosts[0].birdc("show", "protocols"), 30)
    eventually(lambda: any("tor/bgp" in s["disabled"] for s in hosts[0].status()["sessions"]), 10)
    assert hosts[0].established() == {}
    secret.mkdir(parents=True)
    (secret / "bgp").write_text("wrong\n")
    eventually(lambda: "start" in hosts[0].birdc("show", "protocols", name), 30)
    assert hosts[0].established() == {}
    (secret / "bgp").write_text("s3 cr#t\n")
    eventually(lambda: name in hosts[0].established(), 40)
    node = fabric.get("nodes", "host1")
    assert node["metadata"]["labels"] == {"rack": "r1"}
    assert node["spec"]["bgp"]["asNumber"] == 65101


def test_route_reflectors(fabric: Fabric) -> None:
    hosts = fabric.add_hosts(5)
    start(*hosts)
    hosts[0].wait_for_sessions(
        *(f"Mesh_10_77_0_{i}" for i in (2, 3, 4, 5)), *(f"Mesh_fd77__{i}" for i in (2, 3, 4, 5))
    )
    one = fabric.workload(hosts[0], 1)
    two = fabric.workload(hosts[1], 2)
    reflectors, clients = hosts[2:4], [*hosts[:2], hosts[4]]
    fabric.put(
        "bgppeers",
        "clients",
        {"nodeSelector": "!has(route-reflector)", "peerSelector": "has(route-reflector)"},
    )
    fabric.put(
        "bgppeers",
        "reflectors",
        {"nodeSelector": "has(route-reflector)", "peerSelector": "has(route-reflector)"},
    )
    for host in reflectors:
        fabric.change_node(
            host.name, labels={"route-reflector": "true"}, routeReflectorClusterID="10.0.0.1"
        )
    fabric.put("bgpconfigurations", "default", {"nodeToNodeMeshEnabled": False})
    to_reflectors = [f"Node_{a}" for i in (3, 4) for a in (f"10_77_0_{i}", f"fd77__{i}")]
    for host in clients:
        host.wait_for_sessions(*to_reflectors)
    to_clients = [f"Node_{a}" for i in (1, 2, 5) for a in (f"10_77_0_{i}", f"fd77__{i}")]
    reflectors[0].wait_for_sessions(*to_clients, "Node_10_77_0_4", "Node_fd77__4")
    hosts[0].wait_for_route(two.ipv4, hosts[1].ipv4)
    hosts[0].wait_for_route(two.ipv6, hosts[1].ipv6)
    eventually(lambda: one.ping(two.ipv4).returncode == 0, 15)
    # An address that several workloads have: all paths pass the reflectors (add-path).
    several = [fabric.workload(host, 7) for host in clients[1:]]
    hosts[0].wait_for_ways(several[0].ipv4, *(host.ipv4 for host in clients[1:]))
    hosts[0].wait_for_ways(several[0].ipv6, *(host.ipv6 for host in clients[1:]))
    # One reflector is enough.
    reflectors[0].stop()
    assert one.ping(two.ipv6).returncode == 0
    three = fabric.workload(hosts[1], 3)
    hosts[0].wait_for_route(three.ipv4, hosts[1].ipv4)


def test_what_only_bird_refuses_costs_its_own_session(fabric: Fabric) -> None:
    hosts = fabric.add_hosts(2)
    wrapper = fabric.directory / "bird-with-an-opinion"
    wrapper.write_text(
        "#!/bin/sh\n"
        'for argument; do file="$argument"; done\n'
        'if [ "$1" = -p ]; then\n'
        '  line=$(grep -n "neighbor 10.77.0.66 " "$file" | cut -d: -f1)\n'
        '  [ -n "$line" ] && echo "bird: $file:$line:1 No sixes" >&2 && exit 1\n'
        '  grep -qF "add((6, 6))" "$file" && echo "No community of sixes" >&2 && exit 1\n'
        "fi\n"
        'exec bird "$@"\n'
    )
    wrapper.chmod(0o755)
    hosts[0].settings["BirdBinary"] = str(wrapper)
    start(*hosts)
    mesh = ("Mesh_10_77_0_2", "Mesh_fd77__2")
    hosts[0].wait_for_sessions(*mesh)
    since = hosts[0].established()
    fabric.put("bgppeers", "six", {"peerIP": "10.77.0.66", "asNumber": 1})
    fabric.put("bgppeers", "seven", {"peerIP": "10.77.0.77", "asNumber": 1})
    eventually(lambda: "Global_10_77_0_77" in hosts[0].birdc("show", "protocols"), 20)
    assert "10_77_0_66" not in hosts[0].birdc("show", "protocols")
    eventually(lambda: any("No sixes" in s["disabled"] for s in hosts[0].status()["sessions"]), 10)
    assert hosts[0].status()["alarm"] == ""
    # An objection to the whole text keeps the old one.
    advertisement = {"cidr": "10.0.0.0/8", "communities": ["6:6"]}
    fabric.put("bgpconfigurations", "default", {"prefixAdvertisements": [advertisement]})
    fabric.delete("bgppeers", "seven")
    eventually(lambda: "No community of sixes" in hosts[0].status()["alarm"], 20)
    assert "Global_10_77_0_77" in hosts[0].birdc("show", "protocols")
    fabric.delete("bgpconfigurations", "default")
    eventually(lambda: "Global_10_77_0_77" not in hosts[0].birdc("show", "protocols"), 20)
    eventually(lambda: hosts[0].status()["alarm"] == "", 10)
    assert hosts[0].established() == since


def test_two_hosts_with_one_address(fabric: Fabric) -> None:
    hosts = fabric.add_hosts(2)
    start(hosts[0])
    eventually(lambda: fabric.get("nodes", "host1") != {}, 20)
    hosts[1].settings |= {"IP": hosts[0].ipv4, "IP6": "none"}
    start(hosts[1])
    eventually(lambda: fabric.get("nodes", "host2") != {}, 20)
    assert "bgp" not in fabric.get("nodes", "host2")["spec"]
    eventually(lambda: "Node host1" in json.dumps(hosts[1].status()["registrationFaults"]), 10)
    assert fabric.get("nodes", "host1")["spec"]["bgp"]["ipv4Address"] == f"{hosts[0].ipv4}/24"
    stored = fabric.etcdctl("get", "--prefix", "--keys-only", "/calico").split()
    assert [key.rsplit("/", 1)[1] for key in stored] == ["host1", "host2"], "Nodes only"


def test_the_node_is_left_as_others_made_it(fabric: Fabric) -> None:
    (host,) = fabric.add_hosts(1)
    host.settings["AUTODETECT_POLL_INTERVAL"] = "1"
    start(host)
    eventually(lambda: fabric.get("nodes", "host1") != {}, 20)
    fabric.change_node("host1", labels={"mine": "x"}, asNumber=65000, ipv4Address="10.77.0.99/24")
    eventually(
        lambda: fabric.get("nodes", "host1")["spec"]["bgp"]["ipv4Address"] == "10.77.0.1/24", 20
    )
    node = fabric.get("nodes", "host1")
    assert node["metadata"]["labels"] == {"mine": "x"}
    assert node["spec"]["bgp"]["asNumber"] == 65000
    fabric.put_raw("/calico/resources/v3/projectcalico.org/nodes/host1", "{garbage")
    eventually(lambda: "not readable" in json.dumps(host.status()["registrationFaults"]), 20)
    eventually(lambda: "host1" in host.status()["alarm"], 20)
