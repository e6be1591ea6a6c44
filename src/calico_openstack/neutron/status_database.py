"""Reads and writes the status of agents and ports in Neutron's database, many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from neutron.agent.common import utils as agent_utils
from neutron.db import models_v2
from neutron.db.models import agent as agent_models
from neutron.db.models import l3 as l3_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from neutron_lib import context as neutron_context
from neutron_lib.api.definitions import portbindings
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_config import cfg
from oslo_utils import timeutils

from calico_openstack.neutron.binding import VIF_TYPE
from calico_openstack.neutron.queries import Ids, grouped, part_rows, portions, reader, rows, writer
from calico_openstack.neutron.reading_parts import migrating_to
from calico_openstack.neutron.status import Agent, AgentKind, PortState
from calico_openstack.neutron.translate.facts import VIF_UNBOUND, Binding
from calico_openstack.neutron.translate.places import migration_targets

_Agent = agent_models.Agent


@db_api.retry_db_errors
def port_states(ids: Collection[str] | None) -> list[PortState]:
    """Return the state of ports that are bound by this driver; of all such ports for None."""
    port, binding = models_v2.Port, ml2_models.PortBinding
    statement = (
        sa.select(
            port.id,
            port.status,
            port.admin_state_up,
            port.device_id,
            binding.host,
            binding.vif_type,
            binding.profile,
        )
        .join(binding, binding.port_id == port.id)
        .where(binding.status == constants.ACTIVE, binding.vif_type == VIF_TYPE)
    )
    inactive = sa.select(binding.port_id, binding.host, binding.vif_type).where(
        binding.status == constants.INACTIVE
    )
    with reader() as connection:
        others = grouped(
            (row[0], Binding(row[1], row[2]))
            for row in rows(connection, inactive, binding.port_id, ids)
        )
        return [
            PortState(
                id=row[0],
                status=row[1],
                admin_state_up=row[2],
                device_id=row[3],
                host=row[4],
                vif_type=row[5],
                targets=_targets(row, others[row[0]]),
            )
            for row in rows(connection, statement, port.id, ids)
        ]


@dataclass(frozen=True, slots=True)
class FloatingIpState:
    """A floating IP's status and address, and the port that it leads to, empty for none."""

    id: str
    status: str
    address: str
    port_id: str


_FLOATING_IP_COLUMNS = (
    l3_models.FloatingIP.id,
    l3_models.FloatingIP.status,
    l3_models.FloatingIP.floating_ip_address,
    l3_models.FloatingIP.fixed_port_id,
)


@db_api.retry_db_errors
def floating_ips(ids: Collection[str]) -> list[FloatingIpState]:
    """Return floating IPs; those that do not exist are missing."""
    statement = sa.select(*_FLOATING_IP_COLUMNS)
    with reader() as connection:
        found = rows(connection, statement, l3_models.FloatingIP.id, ids)
        return [FloatingIpState(row[0], row[1], row[2], row[3] or "") for row in found]


@db_api.retry_db_errors
def floating_ips_of_ports(ids: Ids) -> list[FloatingIpState]:
    """Return the floating IPs that lead to ports; for None to all of this driver's.

    Those of ports that other drivers have bound are missing.
    """
    floating, binding = l3_models.FloatingIP, ml2_models.PortBinding
    elsewhere = sa.exists().where(
        binding.port_id == floating.fixed_port_id,
        binding.status == constants.ACTIVE,
        binding.vif_type.not_in((VIF_TYPE, VIF_UNBOUND, portbindings.VIF_TYPE_BINDING_FAILED)),
    )
    statement = sa.select(*_FLOATING_IP_COLUMNS).where(
        floating.fixed_port_id.is_not(None), sa.not_(elsewhere)
    )
    with reader() as connection:
        found = part_rows(connection, statement, floating.fixed_port_id, ids)
        return [FloatingIpState(*row) for row in found]


@db_api.retry_db_errors
def set_floating_ip_status(floating_ip_id: str, status: str) -> None:
    """Give a floating IP a status."""
    floating = l3_models.FloatingIP
    with writer() as connection:
        connection.execute(
            sa.update(floating).where(floating.id == floating_ip_id).values(status=status)
        )


def _targets(row: Any, inactive: list[Binding]) -> tuple[str, ...]:
    active = Binding(row[4], row[5], migrating_to(row[6]))
    return migration_targets(active, tuple(inactive))


def set_port_status(port_id: str, status: str, host: str) -> None:
    """Give a port a status other than ACTIVE, for which see `provisioning`."""
    plugin = directory.get_plugin()
    plugin.update_port_status(neutron_context.get_admin_context(), port_id, status, host=host)


def register_agent(agent: Agent, started: bool) -> None:
    """Record a sign of life of an agent; what waits for that agent is told of it."""
    agent_type, binary = agent.kind.value
    state: dict[str, Any] = {
        "agent_type": agent_type,
        "binary": binary,
        "host": agent.host,
        "topic": "N/A",
        "configurations": {},
    }
    if started:
        state["start_flag"] = True
    plugin = directory.get_plugin()
    plugin.create_or_update_agent(neutron_context.get_admin_context(), state, timeutils.utcnow())


@db_api.retry_db_errors
def ports_not_bound(host: str) -> list[str]:
    """Return the ids of the ports whose binding to a host failed."""
    binding = ml2_models.PortBinding
    statement = sa.select(binding.port_id).where(
        binding.host == host,
        binding.status == constants.ACTIVE,
        binding.vif_type == portbindings.VIF_TYPE_BINDING_FAILED,
    )
    with reader() as connection:
        return list(connection.scalars(statement))


def bind_port(port_id: str) -> None:
    """Let ML2 bind a port again."""
    plugin = directory.get_plugin()
    plugin.get_bound_port_context(neutron_context.get_admin_context(), port_id)


@db_api.retry_db_errors
def dead_or_unknown(agents: Collection[Agent]) -> set[Agent]:
    """Return those agents that Neutron takes for dead or does not know."""
    statement = sa.select(_Agent.agent_type, _Agent.host, _Agent.heartbeat_timestamp).where(
        _Agent.agent_type.in_([kind.value[0] for kind in AgentKind])
    )
    kinds = {kind.value[0]: kind for kind in AgentKind}
    with reader() as connection:
        alive = {
            Agent(kinds[row[0]], row[1])
            for row in connection.execute(statement)
            if not agent_utils.is_agent_down(row[2])
        }
    return set(agents) - alive


@db_api.retry_db_errors
def refresh_agents(agents: Collection[Agent]) -> None:
    """Record a sign of life of agents that Neutron knows, without telling anybody."""
    _set_heartbeat(agents, timeutils.utcnow())


@db_api.retry_db_errors
def expire_agents(agents: Collection[Agent]) -> None:
    """Let agents count as dead from now on."""
    _set_heartbeat(agents, timeutils.utcnow() - timedelta(seconds=cfg.CONF.agent_down_time + 1))


def _set_heartbeat(agents: Collection[Agent], time: Any) -> None:
    with writer() as connection:
        for agent_type, hosts in _by_type(agents):
            connection.execute(
                sa.update(_Agent)
                .where(_Agent.agent_type == agent_type, _Agent.host.in_(hosts))
                .values(heartbeat_timestamp=time)
            )


def _by_type(agents: Collection[Agent]) -> Iterator[tuple[str, list[str]]]:
    """Yield types and hosts, as many as one statement may name."""
    for kind in AgentKind:
        for some in portions(agent.host for agent in agents if agent.kind is kind):
            yield kind.value[0], some
