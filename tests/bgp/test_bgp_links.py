"""Neighbours on the host's own links: routers without addresses, and workloads. Needs root."""

from __future__ import annotations

import json

from calico_openstack.bgp.extras import DOMAIN
from calico_openstack.datamodel.keys import openstack_namespace, workload_endpoint_prefix
from tests.bgp.fabric import Fabric, Host
from tests.bgp.test_bgp_mesh import start_mesh
from tests.bgp.workload import Workload
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

_ROUTER = """
router id 10.9.9.9;
protocol device { scan time 2; }
protocol static behind4 { ipv4; route 203.0.113.0/24 unreachable; }
protocol static behind6 { ipv6; route 2001:db8:13::/64 unreachable; }
protocol kernel kernel4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp host {
  local as 65001;
  neighbor HOST%'eth0' as 64512;
  direct;
  ipv4 { extended next hop on; import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; };
}
"""
_WORKLOAD = """
router id 10.65.0.5;
protocol device { }
protocol static pods4 { ipv4; route 10.200.1.0/24 unreachable; route 10.201.0.0/16 unreachable; }
protocol bgp host {
  local 10.65.0.5 as 64999;
  neighbor 198.51.100.7 as 64512;
  multihop;
  ipv4 { import all; export where source = RTS_STATIC; };
}
"""


def link_local(namespace: NetworkNamespace) -> str:
    """Return the link-local address of ``eth0``; empty before it is usable."""
    shown = json.loads(namespace.ip("-json", "-6", "address", "show", "dev", "eth0"))
    usable = [
        str(entry["local"])
        for entry in shown[0]["addr_info"]
        if entry["scope"] == "link" and not entry.get("tentative")
    ]
    return next(iter(usable), "")


def test_a_router_without_addresses(fabric: Fabric) -> None:
    (host,) = fabric.add_hosts(1)
    router = fabric.attach("tor", "10.88.0.1", "fd88::1")
    for address in ("203.0.113.1/32", "2001:db8:13::1/128"):
        router.ip("address", "add", address, "dev", "lo")
    router.ip("link", "set", "lo", "up")
    eventually(lambda: bool(link_local(host.namespace) and link_local(router)), 10)
    fabric.put(
        "bgppeers",
        "uplink",
        {"peerIP": link_local(router), "asNumber": 65001},
        annotations={DOMAIN + "interface": "eth0"},
    )
    fabric.bird(router, "tor", _ROUTER.replace("HOST", link_local(host.namespace)))
    host.start_agent()
    name = "Global_" + link_local(router).replace(":", "_") + "_eth0"
    host.wait_for_sessions(name)
    workload = fabric.workload(host, 5)
    for address in ("203.0.113.1", "2001:db8:13::1"):
        eventually(lambda a=address: workload.ping(a, 1).returncode == 0, 20, address)
    assert not [p for p in host.status()["problems"] if not p["resource"].startswith("BIRD 3")]
    host.kill_bird()
    host.wait_for_sessions(name)
    eventually(lambda: workload.ping("203.0.113.1", 1).returncode == 0, 20)


def store_endpoint(fabric: Fabric, host: Host, workload: Workload, labels: dict[str, str]) -> None:
    prefix = workload_endpoint_prefix(openstack_namespace(None), host.name)
    name = f"{host.name}-openstack-vm{workload.interface}-port"
    endpoint = {
        "kind": "WorkloadEndpoint",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "namespace": openstack_namespace(None), "labels": labels},
        "spec": {
            "orchestrator": "openstack",
            "node": host.name,
            "workload": f"vm{workload.interface}",
            "endpoint": "port",
            "interfaceName": workload.interface,
            "mac": "02:00:00:00:00:05",
            "ipNetworks": [f"{workload.ipv4}/32", f"{workload.ipv6}/128"],
        },
    }
    fabric.put_raw(f"{prefix}vm{workload.interface}-port", json.dumps(endpoint))


def test_a_workload_announces_what_a_filter_accepts(fabric: Fabric) -> None:
    fabric.put("bgpconfigurations", "default", {"localWorkloadPeeringIPV4": "198.51.100.7"})
    one, other = start_mesh(fabric, 2)
    guest, asking = fabric.workload(one, 5), fabric.workload(other, 6)
    guest.namespace.ip("address", "add", "10.200.1.1/32", "dev", "eth0")
    fabric.bird(guest.namespace, "guest", _WORKLOAD)
    pods = {"action": "Accept", "cidr": "10.200.0.0/16", "matchOperator": "In"}
    fabric.put("bgpfilters", "pods", {"importV4": [pods]})
    fabric.put(
        "bgppeers",
        "routers",
        {"localWorkloadSelector": "role == 'router'", "asNumber": 64999, "filters": ["pods"]},
    )
    store_endpoint(fabric, one, guest, {"role": "router"})
    other.wait_for_route("10.200.1.0/24", one.ipv4)
    assert asking.ping("10.200.1.1").returncode == 0
    assert "10.201.0.0/16" not in other.routes()
    store_endpoint(fabric, one, guest, {"role": "plain"})
    other.wait_for_route("10.200.1.0/24")
    eventually(lambda: "bgp-peering" not in one.namespace.ip("link"), 10)
    assert other.established()
