"""Reads security groups and subnets, and finds the objects that depend on others.

Each reading is one transaction of a few queries for columns, for one object as for all of them;
ports are read by `reading_ports`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from neutron.agent.common import utils as agent_utils
from neutron.db import models_v2
from neutron.db.models import address_group as address_group_models
from neutron.db.models import agent as agent_models
from neutron.db.models import l3 as l3_models
from neutron.db.models import securitygroup as group_models
from neutron.db.qos import models as qos_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants

from calico_openstack.neutron.queries import (
    Ids,
    column,
    grouped,
    may_be_endpoint,
    reader,
    retried,
    rows,
)
from calico_openstack.neutron.reading_logs import enabled_logs, groups_of_log
from calico_openstack.neutron.translate.facts import (
    VIF_TAP,
    GroupFacts,
    HostRoute,
    LogFacts,
    RuleFacts,
    SubnetFacts,
)
from calico_openstack.neutron.translate.refusals import KEY

_Port = models_v2.Port
_Subnet = models_v2.Subnet
_Group = group_models.SecurityGroup
_Rule = group_models.SecurityGroupRule


_AGENTS = sa.select(agent_models.Agent.host, agent_models.Agent.heartbeat_timestamp).where(
    agent_models.Agent.agent_type == sa.bindparam("wanted_type"),
    agent_models.Agent.host == sa.bindparam("wanted_host"),
)


def agents_on(database: Any, agent_type: str, host: str) -> list[dict[str, Any]]:
    """Return a host's agents of a type; the host's name may differ in letter case."""
    return [
        {
            "host": row[0],
            "heartbeat_timestamp": row[1],
            "alive": not agent_utils.is_agent_down(row[1]),
        }
        for row in database.execute(_AGENTS, {"wanted_type": agent_type, "wanted_host": host})
    ]


@retried
def read_groups(ids: Ids) -> dict[str, GroupFacts]:
    """Return security groups with their rules by id; those that do not exist are missing."""
    with reader() as connection:
        return _groups(connection, ids)


@retried
def read_subnets(ids: Ids) -> dict[str, SubnetFacts]:
    """Return subnets by id; those that do not exist are missing."""
    with reader() as connection:
        return _subnets(connection, ids)


@retried
def subnets_of_network(network_id: str) -> list[str]:
    """Return the ids of the subnets of a network."""
    return column(sa.select(_Subnet.id).where(_Subnet.network_id == network_id))


@retried
def ports_of_network(network_id: str) -> list[str]:
    """Return the ids of the ports of a network that may have endpoints."""
    return column(sa.select(_Port.id).where(_Port.network_id == network_id, may_be_endpoint()))


@retried
def ports_of_subnet(subnet_id: str) -> list[str]:
    """Return the ids of the ports with an address of a subnet that may have endpoints."""
    allocation = models_v2.IPAllocation
    statement = sa.select(allocation.port_id).join(_Port, _Port.id == allocation.port_id)
    return column(statement.where(allocation.subnet_id == subnet_id, may_be_endpoint()))


@retried
def ports_of_group(group_id: str) -> list[str]:
    """Return the ids of the members of a security group that may have endpoints."""
    binding = group_models.SecurityGroupPortBinding
    statement = sa.select(binding.port_id).join(_Port, _Port.id == binding.port_id)
    return column(statement.where(binding.security_group_id == group_id, may_be_endpoint()))


@retried
def members_to_tell(group_ids: Collection[str], refused: Collection[str]) -> list[str]:
    """Return members of security groups whose bindings may have to tell something else.

    All of groups with rules that are ``refused``, and of others those that tell something.
    """
    member, binding = group_models.SecurityGroupPortBinding, ml2_models.PortBinding
    telling = binding.vif_details.contains(f'"{KEY}"', autoescape=True)
    return column(
        sa.select(member.port_id)
        .join(binding, binding.port_id == member.port_id)
        .where(
            member.security_group_id.in_(group_ids),
            binding.status == constants.ACTIVE,
            binding.vif_type == VIF_TAP,
            sa.or_(member.security_group_id.in_(refused), telling),
        )
        .distinct()
    )


@retried
def ports_of_qos_policy(policy_id: str) -> list[str]:
    """Return the ids of the ports with a QoS policy, and of those on networks with it."""
    of_port, of_network = qos_models.QosPortPolicyBinding, qos_models.QosNetworkPolicyBinding
    ports = sa.select(of_port.port_id).where(of_port.policy_id == policy_id)
    networks = sa.select(of_network.network_id).where(of_network.policy_id == policy_id)
    return column(
        sa.select(_Port.id).where(
            may_be_endpoint(), sa.or_(_Port.id.in_(ports), _Port.network_id.in_(networks))
        )
    )


@retried
def groups_with_address_group(address_group_id: str) -> list[str]:
    """Return the ids of the security groups with a rule that names an address group."""
    return column(
        sa.select(_Rule.security_group_id)
        .where(_Rule.remote_address_group_id == address_group_id)
        .distinct()
    )


def inactive_hosts(session: Any, port_id: str) -> list[str]:
    """Return the hosts on which a port has bindings that are not active.

    Reads in the transaction of ``session``: a deletion takes these bindings with it.
    """
    binding = ml2_models.PortBinding
    statement = sa.select(binding.host).where(
        binding.port_id == port_id, binding.status == constants.INACTIVE
    )
    return list(session.scalars(statement))


def floating_ip_targets(session: Any, floating_port_id: str) -> list[str]:
    """Return the ports to which the floating IPs of an external port lead.

    Reads in the transaction of ``session``: a deletion of that port takes them with it.
    """
    floating = l3_models.FloatingIP
    statement = sa.select(floating.fixed_port_id).where(
        floating.floating_port_id == floating_port_id, floating.fixed_port_id.is_not(None)
    )
    return list(session.scalars(statement))


def groups_with_remote_group(session: Any, group_id: str) -> list[str]:
    """Return the ids of other security groups with a rule that names a group as remote.

    Reads in the transaction of ``session``: a deletion takes these rules with it.
    """
    statement = sa.select(_Rule.security_group_id).where(
        _Rule.remote_group_id == group_id, _Rule.security_group_id != group_id
    )
    return list(session.scalars(statement.distinct()))


def _groups(connection: Any, ids: Ids) -> dict[str, GroupFacts]:
    statement = sa.select(_Group.id, _Group.name, _Group.stateful)
    found = list(rows(connection, statement, _Group.id, ids))
    rules = _rules(connection, ids)
    named = {
        rule.address_group_id
        for of_group in rules.values()
        for rule in of_group
        if rule.address_group_id is not None
    }
    addresses = _addresses(connection, named)
    logs = _logs(connection)
    return {
        row[0]: GroupFacts(
            id=row[0],
            name=row[1] or "",
            stateful=bool(row[2]),
            rules=tuple(rules[row[0]]),
            address_groups={
                rule.address_group_id: addresses[rule.address_group_id]
                for rule in rules[row[0]]
                if rule.address_group_id in addresses
            },
            logs=tuple(logs[row[0]]),
        )
        for row in found
    }


def _rules(connection: Any, ids: Ids) -> dict[str, list[RuleFacts]]:
    statement = sa.select(
        _Rule.security_group_id,
        _Rule.id,
        _Rule.direction,
        _Rule.ethertype,
        _Rule.protocol,
        _Rule.port_range_min,
        _Rule.port_range_max,
        _Rule.remote_group_id,
        _Rule.remote_ip_prefix,
        _Rule.remote_address_group_id,
    )
    return grouped(
        (
            row[0],
            RuleFacts(
                id=row[1],
                direction=row[2],
                ethertype=row[3],
                protocol=row[4],
                port_min=row[5],
                port_max=row[6],
                remote_group_id=row[7],
                remote_prefix=row[8],
                address_group_id=row[9],
            ),
        )
        for row in rows(connection, statement, _Rule.security_group_id, ids)
    )


def _logs(connection: Any) -> dict[str, list[LogFacts]]:
    """Return the logs that are about what security groups accept, by group."""
    logs = enabled_logs(connection)
    return grouped(
        (group_id, log) for log in logs for group_id in sorted(groups_of_log(connection, log))
    )


def _addresses(connection: Any, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the addresses of address groups by id, also of those that have none."""
    group = address_group_models.AddressGroup
    association = address_group_models.AddressAssociation
    existing = rows(connection, sa.select(group.id), group.id, ids)
    result: dict[str, list[str]] = {row[0]: [] for row in existing}
    statement = sa.select(association.address_group_id, association.address)
    for group_id, address in rows(connection, statement, association.address_group_id, ids):
        result.setdefault(group_id, []).append(str(address))
    return {group_id: tuple(members) for group_id, members in result.items()}


def _subnets(connection: Any, ids: Ids) -> dict[str, SubnetFacts]:
    statement = sa.select(
        _Subnet.id,
        _Subnet.network_id,
        _Subnet.cidr,
        _Subnet.gateway_ip,
        _Subnet.enable_dhcp,
        _Subnet.ipv6_ra_mode,
        _Subnet.ipv6_address_mode,
    )
    found = list(rows(connection, statement, _Subnet.id, ids))
    server, route = models_v2.DNSNameServer, models_v2.SubnetRoute
    statement = sa.select(server.subnet_id, server.address).order_by(server.order)
    servers = grouped(rows(connection, statement, server.subnet_id, ids))
    statement = sa.select(route.subnet_id, route.destination, route.nexthop)
    routes = grouped(
        (row[0], HostRoute(row[1], row[2]))
        for row in rows(connection, statement, route.subnet_id, ids)
    )
    return {
        row[0]: SubnetFacts(
            id=row[0],
            network_id=row[1],
            cidr=row[2],
            gateway_ip=row[3],
            enable_dhcp=bool(row[4]),
            ipv6_ra_mode=row[5],
            ipv6_address_mode=row[6],
            dns_servers=tuple(servers[row[0]]),
            host_routes=tuple(routes[row[0]]),
        )
        for row in found
    }
