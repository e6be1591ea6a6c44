"""Reads and writes the status of agents and ports in Neutron's database, many at once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from neutron.agent.common import utils as agent_utils
from neutron.db import models_v2
from neutron.db.models import agent as agent_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from neutron_lib import context as neutron_context
from neutron_lib.api.definitions import portbindings
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_config import cfg
from oslo_utils import timeutils

from calico_openstack.neutron.binding import AGENT_BINARY, AGENT_TYPE, VIF_TYPE
from calico_openstack.neutron.status import PortState

_Agent = agent_models.Agent
_IDS_IN_A_STATEMENT = 500


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
        )
        .join(binding, binding.port_id == port.id)
        .where(binding.status == constants.ACTIVE, binding.vif_type == VIF_TYPE)
    )
    with db_api.CONTEXT_READER.using(neutron_context.get_admin_context()) as session:
        if ids is None:
            return [PortState(*row) for row in session.execute(statement)]
        ordered = sorted(ids)
        portions = (
            ordered[start : start + _IDS_IN_A_STATEMENT]
            for start in range(0, len(ordered), _IDS_IN_A_STATEMENT)
        )
        return [
            PortState(*row)
            for some in portions
            for row in session.execute(statement.where(port.id.in_(some)))
        ]


def set_port_status(port_id: str, status: str, host: str) -> None:
    """Give a port a status other than ACTIVE, for which see `provisioning`."""
    plugin = directory.get_plugin()
    plugin.update_port_status(neutron_context.get_admin_context(), port_id, status, host=host)


def register_agent(host: str, started: bool) -> None:
    """Record a sign of life of Felix on a host; what waits for that agent is told of it."""
    state: dict[str, Any] = {
        "agent_type": AGENT_TYPE,
        "binary": AGENT_BINARY,
        "host": host,
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
    with db_api.CONTEXT_READER.using(neutron_context.get_admin_context()) as session:
        return list(session.scalars(statement))


def bind_port(port_id: str) -> None:
    """Let ML2 bind a port again."""
    plugin = directory.get_plugin()
    plugin.get_bound_port_context(neutron_context.get_admin_context(), port_id)


@db_api.retry_db_errors
def dead_or_unknown(hosts: Collection[str]) -> set[str]:
    """Return those hosts whose agent Neutron takes for dead or does not know."""
    with db_api.CONTEXT_READER.using(neutron_context.get_admin_context()) as session:
        statement = sa.select(_Agent.host, _Agent.heartbeat_timestamp).where(
            _Agent.agent_type == AGENT_TYPE
        )
        alive = {
            row[0] for row in session.execute(statement) if not agent_utils.is_agent_down(row[1])
        }
    return set(hosts) - alive


@db_api.retry_db_errors
def refresh_agents(hosts: Collection[str]) -> None:
    """Record a sign of life of agents that Neutron knows, without telling anybody."""
    _set_heartbeat(hosts, timeutils.utcnow())


@db_api.retry_db_errors
def expire_agents(hosts: Collection[str]) -> None:
    """Let agents count as dead from now on."""
    _set_heartbeat(hosts, timeutils.utcnow() - timedelta(seconds=cfg.CONF.agent_down_time + 1))


def _set_heartbeat(hosts: Collection[str], time: Any) -> None:
    ordered = sorted(hosts)
    with db_api.CONTEXT_WRITER.using(neutron_context.get_admin_context()) as session:
        for start in range(0, len(ordered), _IDS_IN_A_STATEMENT):
            session.execute(
                sa.update(_Agent)
                .where(
                    _Agent.agent_type == AGENT_TYPE,
                    _Agent.host.in_(ordered[start : start + _IDS_IN_A_STATEMENT]),
                )
                .values(heartbeat_timestamp=time)
                .execution_options(synchronize_session=False)
            )
