"""What can be looked at inside of a running DHCP agent. Pure, on what the agent knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from calico_openstack.agent.introspection.protocol import Row, Table, Tables
from calico_openstack.dhcp.inventory import Inventory
from calico_openstack.dhcp.model import Problem

PROGRAM: Final = "calico-dhcp-agent"
Processes = Iterable[tuple[str, str, int | None]]


def tables_of(
    inventory: Inventory,
    processes: Callable[[], Processes],
    problems: Callable[[], Iterable[Problem]],
) -> Tables:
    """Return the tables of an agent.

    *processes* returns network, role and process id (None: not running), *problems* all there are.
    """
    return {
        "leases": Table(
            "which instance is given which addresses (all are reserved)",
            lambda _match: _leases(inventory),
        ),
        "subnets": Table("subnets of networks with ports here", lambda _match: _subnets(inventory)),
        "processes": Table("dnsmasq by network", lambda _match: _processes(processes())),
        "problems": Table("what cannot be served", lambda _match: _problems(problems())),
    }


def _leases(inventory: Inventory) -> Iterator[Row]:
    for network in sorted(inventory.networks()):
        state = inventory.network(network)
        for port in state.ports:
            yield {
                "port": port.port_id,
                "mac": port.mac,
                "addresses": ",".join(map(str, port.addresses)),
                "interface": port.interface,
                "network": network,
            }


def _subnets(inventory: Inventory) -> Iterator[Row]:
    for network in sorted(inventory.networks()):
        for subnet in inventory.network(network).subnets:
            yield {
                "subnet": subnet.subnet_id,
                "cidr": str(subnet.cidr),
                "gateway": str(subnet.gateway or ""),
                "mode": subnet.mode.value,
                "network": network,
            }


def _processes(processes: Processes) -> Iterator[Row]:
    for network, role, pid in processes:
        yield {"network": network, "role": role, "process": str(pid or "does not run")}


def _problems(problems: Iterable[Problem]) -> Iterator[Row]:
    for problem in problems:
        yield {"problem": str(problem)}
