"""DHCPv4 on a real kernel: root, own namespaces."""

from __future__ import annotations

from tests.dhcp.host import Host
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

NET = "11111111-aaaa-4000-8000-000000000001"


def test_a_workload_gets_everything_that_its_subnet_says(host: Host) -> None:
    host.put_subnet(
        NET,
        "10.65.0.0/24",
        gateway_ip="10.65.0.1",
        dns_servers=["192.0.2.53", "192.0.2.54"],
        host_routes=[{"destination": "169.254.169.254/32", "nexthop": "10.65.0.1"}],
    )
    workload = host.workload(NET, "10.65.0.11")
    workload.put(fqdn="web.example.org.", allowed=["10.65.0.99"])
    host.start_agent(DhcpLeaseDuration="7200")
    host.wait_for(NET, "dhcp4")

    told = workload.dhcp()

    assert told["ip"] == "10.65.0.11"
    assert told["mask"] == "24"
    assert told["router"] == "10.65.0.1"
    assert told["routes"] == "169.254.169.254/32 10.65.0.1 0.0.0.0/0 10.65.0.1"
    assert told["dns"] == "192.0.2.53 192.0.2.54"
    assert told["mtu"] == "1500"
    assert told["lease"] == "7200"
    assert (told["hostname"], told["domain"]) == ("web", "example.org")
    assert told["server"] == "10.65.0.1"


def test_changed_options_reach_a_renewing_client_without_a_new_process(host: Host) -> None:
    subnet = {"gateway_ip": "10.65.0.1", "dns_servers": ["192.0.2.53"]}
    subnet_id = host.put_subnet(NET, "10.65.0.0/24", **subnet)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pids = host.wait_for(NET, "dhcp4")
    client = workload.dhcp_client()
    eventually(lambda: client.told.get("dns") == "192.0.2.53", what="first lease")

    host.put_subnet(NET, "10.65.0.0/24", subnet_id, **subnet | {"dns_servers": ["192.0.2.99"]})

    def told_anew() -> bool:
        client.renew()
        eventually(lambda: bool(client.told), what="an answer to the renewal")
        return client.told["dns"] == "192.0.2.99"

    eventually(told_anew, what="the new name server")
    assert client.told["event"] == "renew"
    assert host.pids(NET) == pids
