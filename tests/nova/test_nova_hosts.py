"""Servers that change their hosts: live, when it is given up, and when a host has died."""

from __future__ import annotations

from pathlib import Path

from tests.nova.faults import narrow_migrations, taps, without_power
from tests.nova.servers import Servers, eventually


def of_host(host: str, names: list[str]) -> list[str]:
    """Those names of endpoints that belong to a host."""
    return [name for name in names if name.startswith(host.replace("-", "--") + "-")]


def test_live_migration_to_and_fro(servers: Servers, tmp_path: Path) -> None:
    here, there = servers.hosts
    server = servers.create("vm", here)
    address = servers.address(server)
    servers.await_metadata(server)
    (port,) = servers.ports(server)
    tap = f"tap{port['id'][:11]}"
    with servers.session(address, tmp_path / "session") as counted:
        for source, target in ((here, there), (there, here)):
            assert servers.migrate(server, target) == "completed"
            assert servers.host_of(server) == target
            eventually(lambda t=target: f"{address} dev {tap}" in servers.routes(t), "its route")
            eventually(lambda s=source: tap not in servers.links(s), "the source is unplugged")
            before = counted()
            eventually(lambda b=before: counted() > b, "the session goes on")
            assert servers.neutron.get("ports", port["id"])["binding:host_id"] == target
    eventually(
        lambda: servers.neutron.get("ports", port["id"])["status"] == "ACTIVE", "port ACTIVE"
    )


def test_live_migration_given_up_and_repeated(servers: Servers, tmp_path: Path) -> None:
    here, there = servers.hosts
    server = servers.create("vm", here)
    address = servers.address(server)
    servers.await_metadata(server)
    (port,) = servers.ports(server)
    with servers.session(address, tmp_path / "session") as counted:
        with narrow_migrations(servers.lab, here, "4mbit"):
            servers.begin_migration(server, there)
            eventually(lambda: servers.migration(server)["status"] == "running", "it runs")
            # Both hosts have the endpoint, and the target says what it waits for.
            assert of_host(there, servers.endpoints()) == servers.live_migrations()
            told = servers.command("calicoctl", "show", "endpoints", "--node", there)
            assert "waits for the migration" in told
            servers.abort_migration(server)
        assert servers.host_of(server) == here
        assert servers.neutron.get("ports", port["id"])["binding:host_id"] == here
        eventually(lambda: not servers.live_migrations(), "the migration is forgotten")
        eventually(lambda: not of_host(there, servers.endpoints()), "and the target's endpoint")
        eventually(lambda: not taps(servers.lab, there), "and its link")
        before = counted()
        eventually(lambda: counted() > before, "the session goes on")
        assert servers.migrate(server, there) == "completed"
        assert servers.host_of(server) == there
        before = counted()
        eventually(lambda: counted() > before, "the session goes on there")
    eventually(lambda: not of_host(here, servers.endpoints()), "the source's endpoint is gone")


def test_a_server_is_evacuated_from_a_dead_host(servers: Servers) -> None:
    safe, dead = servers.hosts
    server = servers.create("vm", dead)
    address = servers.address(server)
    servers.await_metadata(server)
    with without_power(servers.lab, dead):
        servers.force_down(dead)
        servers.act(server, "evacuate", {"host": safe})
        eventually(lambda: servers.host_of(server) == safe, "it was evacuated")
        servers.await_status(server, "ACTIVE")
        (port,) = servers.ports(server)
        assert port["binding:host_id"] == safe
        assert servers.address(server) == address
        eventually(lambda: servers.pings(address), "it answers where it is now")
        servers.await_metadata(server)
        assert not of_host(dead, servers.endpoints())
    # The host comes back, with the server on its disk. Nova uses it when that is removed.
    eventually(lambda: servers.has_no_guests(dead), "what was evacuated is removed")
    eventually(lambda: servers.force_up(dead), "Nova takes it back")
    eventually(lambda: servers.is_up(dead), "the host is back")
    assert not of_host(dead, servers.endpoints())
    assert not taps(servers.lab, dead)
    assert len(of_host(safe, servers.endpoints())) == 1
    eventually(lambda: servers.pings(address), "it still answers")
    assert f"{address} dev tap{port['id'][:11]} " in servers.routes(safe)
    eventually(
        lambda: servers.neutron.get("ports", port["id"])["status"] == "ACTIVE", "port ACTIVE"
    )
