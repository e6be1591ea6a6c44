"""Random requests about a few objects, by Neutron's own plugin."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from neutron_lib import context as neutron_context

from calico_openstack.neutron import status_database
from calico_openstack.neutron.status import Agent, AgentKind
from tests.convergence.openings import OUTSIDE, PORTS
from tests.support.inner_neutron import body

_PROJECT = "project"
_HOSTS = ("h1", "h2")
_MOST_PORTS = 5


class Tenant:
    """A network with a few ports, and security groups that they are in."""

    def __init__(self, plugin: Any, rng: random.Random) -> None:
        self._plugin = plugin
        self._rng = rng
        for host in _HOSTS:
            status_database.register_agent(Agent(AgentKind.FELIX, host), True)
        network = self._create("network", name="n")
        self._network = network["id"]
        self._subnet = self._create(
            "subnet", network_id=self._network, ip_version=4, cidr="10.0.0.0/28"
        )["id"]
        self._groups = [self._create("security_group", name=f"g{n}")["id"] for n in range(3)]
        self._rules: list[str] = []
        self._ports: list[str] = []
        self._devices = 0
        for _ in range(3):
            self.new_port()

    def act(self) -> None:
        """Do one thing."""
        self._rng.choice(self._actions())()

    def close(self) -> None:
        """Delete everything, also what was made for those who were killed before they knew."""
        for port in self._plugin.get_ports(_context(), {"network_id": [self._network]}):
            self._plugin.delete_port(_context(), port["id"])
        self._plugin.delete_network(_context(), self._network)
        for group in self._groups:
            self._plugin.delete_security_group(_context(), group)

    def _actions(self) -> list[Callable[[], None]]:
        return [
            self.new_port,
            self.delete_port,
            self.change_groups,
            self.change_groups,
            self.change_groups,
            self.add_rule,
            self.add_rule,
            self.delete_rule,
            self.delete_rule,
            self.move,
            self.switch,
            self.switch_security,
            self.pair,
            self.rename,
            self.change_subnet,
        ]

    def new_port(self) -> None:
        if len(self._ports) < _MOST_PORTS:
            self._devices += 1
            port = self._create(
                "port",
                network_id=self._network,
                device_owner="compute:nova",
                device_id=f"vm{self._devices}",
                security_groups=self._some_groups(),
                **{"binding:host_id": self._rng.choice(_HOSTS)},
            )
            self._ports.append(port["id"])

    def delete_port(self) -> None:
        if len(self._ports) > 2:
            port_id = self._ports.pop(self._rng.randrange(len(self._ports)))
            self._plugin.delete_port(_context(), port_id)

    def change_groups(self) -> None:
        self._update_port(security_groups=self._some_groups())

    def add_rule(self) -> None:
        port = self._rng.choice(PORTS)
        remote = self._rng.choice(
            [
                {"remote_group_id": self._rng.choice(self._groups)},
                {"remote_ip_prefix": f"{self._rng.choice(OUTSIDE)}/32"},
            ]
        )
        rule = self._create(
            "security_group_rule",
            security_group_id=self._rng.choice(self._groups),
            direction="ingress",
            ethertype="IPv4",
            protocol="tcp",
            port_range_min=port,
            port_range_max=port,
            **remote,
        )
        self._rules.append(rule["id"])

    def delete_rule(self) -> None:
        if self._rules:
            rule = self._rules.pop(self._rng.randrange(len(self._rules)))
            self._plugin.delete_security_group_rule(_context(), rule)

    def move(self) -> None:
        self._update_port(**{"binding:host_id": self._rng.choice([*_HOSTS, "nowhere"])})

    def switch(self) -> None:
        self._update_port(admin_state_up=self._rng.random() < 0.7)

    def switch_security(self) -> None:
        if self._rng.random() < 0.3:
            self._update_port(security_groups=[], port_security_enabled=False)
        else:
            self._update_port(port_security_enabled=True, security_groups=self._some_groups())

    def pair(self) -> None:
        addresses = [f"10.0.9.{self._rng.randrange(1, 4)}"] * (self._rng.random() < 0.6)
        self._update_port(allowed_address_pairs=[{"ip_address": each} for each in addresses])

    def rename(self) -> None:
        name = {"name": f"name-{self._rng.randrange(99)}"}
        self._plugin.update_security_group(
            _context(), self._rng.choice(self._groups), {"security_group": name}
        )

    def change_subnet(self) -> None:
        values = {"enable_dhcp": self._rng.random() < 0.7}
        self._plugin.update_subnet(_context(), self._subnet, {"subnet": values})

    def _some_groups(self) -> list[str]:
        return [group for group in self._groups if self._rng.random() < 0.4]

    def _update_port(self, **values: Any) -> None:
        port_id = self._rng.choice(self._ports)
        self._plugin.update_port(_context(), port_id, {"port": values})

    def _create(self, kind: str, **values: Any) -> Any:
        project = {"project_id": _PROJECT, "tenant_id": _PROJECT}
        return getattr(self._plugin, f"create_{kind}")(_context(), body(kind, values | project))


def _context() -> Any:
    return neutron_context.Context("user", _PROJECT, is_admin=True)
