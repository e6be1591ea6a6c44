"""What Felix reports in etcd shows in Neutron's agents and ports."""

from __future__ import annotations

import subprocess

from calico_openstack.datamodel.keys import DhcpStatusKey, FelixStatusKey
from calico_openstack.datamodel.status import AgentStatus
from tests.neutron.conftest import AGENT_TYPE, REGION, Cloud
from tests.support.neutron import Json
from tests.support.processes import eventually


def bound_port(cloud: Cloud) -> Json:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    return cloud.port(network)


def becomes(cloud: Cloud, port: Json, status: str) -> None:
    eventually(lambda: cloud.status(port) == status, 60, f"port {status}")


def test_a_port_follows_its_host(cloud: Cloud) -> None:
    port = bound_port(cloud)
    assert port["status"] == "DOWN"
    for report, status in (
        ("up", "ACTIVE"),
        ("down", "DOWN"),
        ("up", "ACTIVE"),
        ("error", "ERROR"),
        ("up", "ACTIVE"),
        (None, "DOWN"),
    ):
        cloud.report(port, report)
        becomes(cloud, port, status)


def test_only_the_host_of_a_port_has_a_say(cloud: Cloud) -> None:
    port = bound_port(cloud)
    target = cloud.felix(f"{cloud.host}-b")
    cloud.report(port, "up")
    becomes(cloud, port, "ACTIVE")
    cloud.report(port, "down", host=target)
    witness = cloud.port({"id": port["network_id"]})
    cloud.report(witness, "up")
    becomes(cloud, witness, "ACTIVE")
    assert cloud.status(port) == "ACTIVE"

    cloud.report(port, "up", host=target)
    cloud.admin.update("port", port["id"], binding__host_id=target)
    # The report on the target is older than the endpoint there: it is about something else.
    assert cloud.status(port) == "DOWN"
    cloud.report(port, None)
    cloud.report(port, "up", host=target)
    becomes(cloud, port, "ACTIVE")


def test_a_port_that_is_bound_anew_on_its_host_is_active_again(cloud: Cloud) -> None:
    """Neutron sets it down, and Felix has nothing new to report."""
    port = bound_port(cloud)
    cloud.report(port, "up")
    becomes(cloud, port, "ACTIVE")
    cloud.nova.update("port", port["id"], binding__profile={"os_vif_delegation": True})
    assert cloud.status(port) == "ACTIVE"


def test_a_port_that_is_administratively_down_does_not_become_active(cloud: Cloud) -> None:
    port = bound_port(cloud)
    cloud.member.update("port", port["id"], admin_state_up=False)
    cloud.report(port, "up")
    witness = cloud.port({"id": port["network_id"]})
    cloud.report(witness, "up")
    becomes(cloud, witness, "ACTIVE")
    assert cloud.status(port) == "DOWN"


def test_garbage_costs_only_its_key(cloud: Cloud) -> None:
    port = bound_port(cloud)
    cloud.etcd.put(FelixStatusKey(REGION, f"{cloud.host}-x").path, b"{garbage")
    cloud.report(port, "sideways")
    cloud.report(port, "up")
    becomes(cloud, port, "ACTIVE")


def test_an_agent_is_known_by_its_first_report_and_dead_when_it_expires(cloud: Cloud) -> None:
    cloud.felix()
    (agent,) = cloud.admin.list("agent", f"host={cloud.host}")
    assert agent["agent_type"] == AGENT_TYPE
    assert agent["binary"] == "calico-felix"
    assert agent["topic"] == "N/A"
    cloud.etcd.delete(FelixStatusKey(REGION, cloud.host).path)
    eventually(lambda: not cloud.agent_alive(cloud.host), 60, "agent dead")
    cloud.felix()


def test_ports_of_a_dead_host_keep_their_status(cloud: Cloud) -> None:
    port = bound_port(cloud)
    cloud.report(port, "up")
    becomes(cloud, port, "ACTIVE")
    cloud.etcd.delete(FelixStatusKey(REGION, cloud.host).path)
    eventually(lambda: not cloud.agent_alive(cloud.host), 60, "agent dead")
    assert cloud.status(port) == "ACTIVE"


def test_two_servers_report_the_same(cloud: Cloud) -> None:
    port = bound_port(cloud)
    other = cloud.neutron.more_workers("other-workers.log")
    try:
        other.wait_until(lambda: "calico-status" in _titles(other.pid), "status worker")
        for report, status in (("up", "ACTIVE"), ("down", "DOWN"), ("up", "ACTIVE")):
            cloud.report(port, report)
            becomes(cloud, port, status)
    finally:
        other.stop()
    assert "Traceback" not in other.output()


def _titles(parent: int) -> str:
    """Return the command lines of a process's children."""
    result = subprocess.run(
        ["ps", "--ppid", str(parent), "-o", "args="], capture_output=True, text=True, check=False
    )
    return result.stdout


def test_what_was_reported_while_the_workers_were_dead(cloud: Cloud) -> None:
    port = bound_port(cloud)
    vanishing = cloud.port({"id": port["network_id"]})
    cloud.report(vanishing, "up")
    becomes(cloud, vanishing, "ACTIVE")
    workers = cloud.neutron.workers
    assert workers is not None
    workers.kill()
    cloud.report(port, "up")
    cloud.report(vanishing, None)
    cloud.neutron.start_workers()
    eventually(lambda: cloud.status(port) == "ACTIVE", 120, "port ACTIVE")
    becomes(cloud, vanishing, "DOWN")


def test_a_dhcp_agent_is_listed_and_is_given_no_network(cloud: Cloud) -> None:
    host = cloud.felix()
    key = DhcpStatusKey(REGION, host).path
    status = AgentStatus(time="2026-01-01T00:00:00Z", uptime=1.0, first_update=True)
    cloud.etcd.put(key, status.encode())

    def listed(alive: bool) -> bool:
        agents = cloud.admin.list("agent", f"host={host}&binary=calico-dhcp-agent")
        return [agent["alive"] for agent in agents] == [alive]

    eventually(lambda: listed(True), 60, what="the DHCP agent among Neutron's agents")
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.report(port, "up")
    # Neutron waits for no DHCP agent of its own, and has scheduled none.
    becomes(cloud, port, "ACTIVE")
    assert cloud.admin.request("GET", f"networks/{network['id']}/dhcp-agents")["agents"] == []
    cloud.etcd.delete(key)
    eventually(lambda: listed(False), 60, what="a dead agent")
