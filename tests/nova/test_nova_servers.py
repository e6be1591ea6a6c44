"""The life of a server, from the real Nova to packets."""

from __future__ import annotations

from calico_openstack.lab.nova import guest, stock
from tests.nova.servers import KEY, NETWORK, Servers, eventually

USER_DATA = "#!/bin/sh\necho told-by-user-data on $(hostname)\n"


def test_the_client_creates_a_server(servers: Servers) -> None:
    servers.openstack(
        *("server", "create", "--image", stock.IMAGE, "--flavor", stock.FLAVOR),
        *("--network", NETWORK, "--key-name", KEY, "--wait", "web"),
    )
    server = servers.named("web")
    address = servers.address(server["id"])
    # Nova went on when it had heard that the port is plugged: then the kernel is programmed.
    assert server["status"] == "ACTIVE"
    (port,) = servers.ports(server["id"])
    assert port["status"] == "ACTIVE"
    host = server["OS-EXT-SRV-ATTR:host"]
    assert f"{address} dev tap{port['id'][:11]} " in servers.routes(host)
    servers.await_console(server["id"], f"{guest.ADDRESS_LINE} eth0 {address}")
    servers.await_metadata(server["id"])
    # The name and the key came as metadata; the way in is from outside, over BGP.
    assert servers.ssh(address, "hostname") == "web\n"
    servers.openstack("server", "delete", "--wait", "web")
    eventually(lambda: not servers.pings(address), "the server is gone")
    assert not servers.ports(server["id"])
    assert not servers.endpoints()
    for one in servers.hosts:
        assert "tap" not in servers.links(one)
        assert address not in servers.routes(one)


def test_servers_reach_each_other_and_user_data_runs(servers: Servers) -> None:
    first, second = (
        servers.create(f"vm{number}", host, user_data=USER_DATA)
        for number, host in enumerate(servers.hosts, start=1)
    )
    servers.await_console(first, "told-by-user-data on vm1")
    servers.await_console(second, "told-by-user-data on vm2")
    answer = servers.ssh(servers.address(first), f"ping -c 3 -W 5 {servers.address(second)}")
    assert " 0% packet loss" in answer


def test_stop_start_and_rebuild(servers: Servers) -> None:
    server = servers.create("vm", servers.hosts[0])
    address = servers.address(server)
    servers.await_metadata(server)
    servers.act(server, "os-stop")
    servers.await_status(server, "SHUTOFF")
    assert not servers.pings(address)
    servers.act(server, "os-start")
    servers.await_status(server, "ACTIVE")
    eventually(lambda: servers.pings(address), "it answers after stop and start")
    servers.await_metadata(server)
    servers.ssh(address, "touch /run/before")
    servers.act(server, "rebuild", {"imageRef": servers.show(server)["image"]["id"]})
    servers.await_status(server, "ACTIVE")
    servers.await_metadata(server)
    assert servers.address(server) == address
    assert servers.ssh(address, "hostname; ls /run/before 2> /dev/null; true") == "vm\n"


def test_an_interface_is_attached_and_detached(servers: Servers) -> None:
    server = servers.create("vm", servers.hosts[0])
    servers.await_metadata(server)
    (first,) = servers.ports(server)
    path = f"/v2.1/servers/{server}/os-interface"
    body = {"interfaceAttachment": {"net_id": servers.network_id}}
    attached = servers.nova.request("POST", path, body)["interfaceAttachment"]
    second = attached["fixed_ips"][0]["ip_address"]
    eventually(lambda: servers.pings(second), "the second address answers")
    eventually(
        lambda: servers.neutron.get("ports", attached["port_id"])["status"] == "ACTIVE",
        "the second port is ACTIVE",
    )
    servers.nova.request("DELETE", f"{path}/{attached['port_id']}")
    eventually(lambda: len(servers.ports(server)) == 1, "the second port is gone")
    eventually(lambda: second not in servers.routes(servers.hosts[0]), "and its route")
    assert servers.pings(first["fixed_ips"][0]["ip_address"])


def test_a_floating_ip_leads_to_the_server(servers: Servers) -> None:
    outside = servers.neutron.create("networks", name="public", router__external=True)
    servers.neutron.create(
        "subnets",
        network_id=outside["id"],
        cidr="198.51.100.0/24",
        ip_version=4,
        enable_dhcp=False,
    )
    router = servers.neutron.create(
        "routers", name="router", external_gateway_info={"network_id": outside["id"]}
    )
    server = servers.create("vm", servers.hosts[1])
    servers.await_metadata(server)
    (port,) = servers.ports(server)
    with servers.connected(router["id"]):
        floating = servers.neutron.create(
            "floatingips", floating_network_id=outside["id"], port_id=port["id"]
        )
        address = floating["floating_ip_address"]
        eventually(lambda: servers.pings(address), "the floating IP answers")
        assert servers.ssh(address, "hostname") == "vm\n"
        servers.neutron.delete("floatingips", floating["id"])
        eventually(lambda: not servers.pings(address), "the floating IP is gone")
    servers.neutron.delete("routers", router["id"])
    servers.neutron.delete("networks", outside["id"])


def test_shelve_and_unshelve(servers: Servers) -> None:
    server = servers.create("vm", servers.hosts[0])
    address = servers.address(server)
    servers.await_metadata(server)
    servers.act(server, "shelve")
    servers.await_status(server, "SHELVED_OFFLOADED")
    assert not servers.pings(address)
    # It is on no host, and keeps its address.
    for host in servers.hosts:
        assert "tap" not in servers.links(host)
    assert servers.address(server) == address
    servers.act(server, "unshelve")
    servers.await_status(server, "ACTIVE")
    eventually(lambda: servers.pings(address), "it answers after it was unshelved")
    servers.await_metadata(server)
    assert servers.ssh(address, "hostname") == "vm\n"
    (port,) = servers.ports(server)
    assert port["binding:host_id"] == servers.host_of(server)
    assert len(servers.endpoints()) == 1
