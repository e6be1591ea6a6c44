"""Reads what the translation needs out of Neutron's database.

Each reading is one transaction of a few queries for columns, for one object as for all of them,
in a context of its own with an administrator's rights. Both matter:

* The context of the request that caused the reading may not see everything: a port may be in a
  group of another project, and a group that is not found would be taken for a deleted one.
* The session of that request may be in a transaction that began before somebody else's commit;
  what it reads may be older than what etcd holds already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.models import address_group as address_group_models
from neutron.db.models import allowed_address_pair as pair_models
from neutron.db.models import securitygroup as group_models
from neutron.db.port_security import models as port_security_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from neutron_lib import context as neutron_context
from neutron_lib.db import api as db_api

from calico_openstack.neutron.translate.endpoint import ENDPOINT_OWNERS
from calico_openstack.neutron.translate.facts import (
    AddressPair,
    Binding,
    FixedIp,
    GroupFacts,
    GroupName,
    HostRoute,
    PortFacts,
    RuleFacts,
    SubnetFacts,
)

Ids = Collection[str] | None
"""Ids of the objects to read; None reads all of them."""

# Databases limit the length of a statement; more ids are asked for in several.
_IDS_IN_A_STATEMENT = 500

_Port = models_v2.Port
_Subnet = models_v2.Subnet
_Group = group_models.SecurityGroup
_Rule = group_models.SecurityGroupRule


@db_api.retry_db_errors
def read_ports(ids: Ids) -> dict[str, PortFacts]:
    """Return ports by id; those that do not exist are missing, and so are no endpoints for None."""
    with _reader() as session:
        return _ports(session, ids)


@db_api.retry_db_errors
def read_groups(ids: Ids) -> dict[str, GroupFacts]:
    """Return security groups with their rules by id; those that do not exist are missing."""
    with _reader() as session:
        return _groups(session, ids)


@db_api.retry_db_errors
def read_subnets(ids: Ids) -> dict[str, SubnetFacts]:
    """Return subnets by id; those that do not exist are missing."""
    with _reader() as session:
        return _subnets(session, ids)


@db_api.retry_db_errors
def ports_of_network(network_id: str) -> list[str]:
    """Return the ids of the ports of a network that may have endpoints."""
    return _column(sa.select(_Port.id).where(_Port.network_id == network_id, _may_be_endpoint()))


@db_api.retry_db_errors
def ports_of_subnet(subnet_id: str) -> list[str]:
    """Return the ids of the ports with an address of a subnet that may have endpoints."""
    allocation = models_v2.IPAllocation
    statement = sa.select(allocation.port_id).join(_Port, _Port.id == allocation.port_id)
    return _column(statement.where(allocation.subnet_id == subnet_id, _may_be_endpoint()))


@db_api.retry_db_errors
def ports_of_group(group_id: str) -> list[str]:
    """Return the ids of the members of a security group that may have endpoints."""
    binding = group_models.SecurityGroupPortBinding
    statement = sa.select(binding.port_id).join(_Port, _Port.id == binding.port_id)
    return _column(statement.where(binding.security_group_id == group_id, _may_be_endpoint()))


@db_api.retry_db_errors
def groups_with_address_group(address_group_id: str) -> list[str]:
    """Return the ids of the security groups with a rule that names an address group."""
    return _column(
        sa.select(_Rule.security_group_id)
        .where(_Rule.remote_address_group_id == address_group_id)
        .distinct()
    )


def groups_with_remote_group(session: Any, group_id: str) -> list[str]:
    """Return the ids of other security groups with a rule that names a group as remote.

    Reads in the transaction of ``session``: a deletion takes these rules with it.
    """
    statement = sa.select(_Rule.security_group_id).where(
        _Rule.remote_group_id == group_id, _Rule.security_group_id != group_id
    )
    return list(session.scalars(statement.distinct()))


def _reader() -> Any:
    """Open a transaction for reading, on a fresh session with an administrator's rights."""
    return db_api.CONTEXT_READER.using(neutron_context.get_admin_context())


def _column(statement: Any) -> list[str]:
    with _reader() as session:
        return list(session.scalars(statement))


def _may_be_endpoint() -> Any:
    return sa.or_(*(_Port.device_owner.startswith(owner) for owner in ENDPOINT_OWNERS))


def _rows(session: Any, statement: Any, column: Any, ids: Ids) -> Iterator[Any]:
    """Yield the rows of a statement whose ``column`` is one of ``ids``; of all for None."""
    if ids is None:
        yield from session.execute(statement)
        return
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS_IN_A_STATEMENT):
        some = ordered[start : start + _IDS_IN_A_STATEMENT]
        yield from session.execute(statement.where(column.in_(some)))


def _of_endpoints(statement: Any, column: Any, ids: Ids) -> Any:
    """Restrict a statement about a port's parts to possible endpoints, if all are read."""
    if ids is not None:
        return statement
    return statement.join(_Port, _Port.id == column).where(_may_be_endpoint())


def _ports(session: Any, ids: Ids) -> dict[str, PortFacts]:
    binding = ml2_models.PortBinding
    security = port_security_models.PortSecurityBinding
    network = models_v2.Network
    statement = (
        sa.select(
            _Port.id,
            _Port.project_id,
            _Port.network_id,
            _Port.mac_address,
            _Port.admin_state_up,
            _Port.device_owner,
            _Port.device_id,
            network.name,
            network.admin_state_up,
            security.port_security_enabled,
            binding.host,
            binding.vif_type,
        )
        .join(network, network.id == _Port.network_id)
        .outerjoin(security, security.port_id == _Port.id)
        .outerjoin(
            binding,
            sa.and_(binding.port_id == _Port.id, binding.status == constants.ACTIVE),
        )
    )
    if ids is None:
        statement = statement.where(_may_be_endpoint())
    rows = list(_rows(session, statement, _Port.id, ids))
    fixed_ips = _fixed_ips(session, ids)
    pairs = _address_pairs(session, ids)
    groups = _group_names(session, ids)
    return {
        row[0]: PortFacts(
            id=row[0],
            project_id=row[1],
            network_id=row[2],
            mac=row[3],
            admin_state_up=bool(row[4]),
            device_owner=row[5],
            device_id=row[6],
            network_name=row[7] or "",
            network_admin_state_up=bool(row[8]),
            # Without the port security extension there is no row, and security is on.
            port_security_enabled=row[9] is None or bool(row[9]),
            binding=Binding() if row[11] is None else Binding(row[10], row[11]),
            fixed_ips=tuple(fixed_ips[row[0]]),
            address_pairs=tuple(pairs[row[0]]),
            groups=tuple(groups[row[0]]),
        )
        for row in rows
    }


def _fixed_ips(session: Any, ids: Ids) -> dict[str, list[FixedIp]]:
    allocation = models_v2.IPAllocation
    statement = sa.select(
        allocation.port_id, allocation.ip_address, allocation.subnet_id, _Subnet.gateway_ip
    ).join(_Subnet, _Subnet.id == allocation.subnet_id)
    statement = _of_endpoints(statement, allocation.port_id, ids)
    rows = _rows(session, statement, allocation.port_id, ids)
    return _grouped((row[0], FixedIp(row[1], row[2], row[3])) for row in rows)


def _address_pairs(session: Any, ids: Ids) -> dict[str, list[AddressPair]]:
    pair = pair_models.AllowedAddressPair
    statement = sa.select(pair.port_id, pair.ip_address, pair.mac_address)
    statement = _of_endpoints(statement, pair.port_id, ids)
    rows = _rows(session, statement, pair.port_id, ids)
    return _grouped((row[0], AddressPair(row[1], row[2])) for row in rows)


def _group_names(session: Any, ids: Ids) -> dict[str, list[GroupName]]:
    binding = group_models.SecurityGroupPortBinding
    statement = sa.select(binding.port_id, _Group.id, _Group.name).join(
        _Group, _Group.id == binding.security_group_id
    )
    statement = _of_endpoints(statement, binding.port_id, ids)
    rows = _rows(session, statement, binding.port_id, ids)
    return _grouped((row[0], GroupName(row[1], row[2] or "")) for row in rows)


def _groups(session: Any, ids: Ids) -> dict[str, GroupFacts]:
    statement = sa.select(_Group.id, _Group.name, _Group.stateful)
    rows = list(_rows(session, statement, _Group.id, ids))
    rules = _rules(session, ids)
    named = {
        rule.address_group_id
        for of_group in rules.values()
        for rule in of_group
        if rule.address_group_id is not None
    }
    addresses = _addresses(session, named)
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
        )
        for row in rows
    }


def _rules(session: Any, ids: Ids) -> dict[str, list[RuleFacts]]:
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
    return _grouped(
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
        for row in _rows(session, statement, _Rule.security_group_id, ids)
    )


def _addresses(session: Any, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the addresses of address groups by id, also of those that have none."""
    group = address_group_models.AddressGroup
    association = address_group_models.AddressAssociation
    existing = _rows(session, sa.select(group.id), group.id, ids)
    result: dict[str, list[str]] = {row[0]: [] for row in existing}
    statement = sa.select(association.address_group_id, association.address)
    for group_id, address in _rows(session, statement, association.address_group_id, ids):
        result.setdefault(group_id, []).append(str(address))
    return {group_id: tuple(members) for group_id, members in result.items()}


def _subnets(session: Any, ids: Ids) -> dict[str, SubnetFacts]:
    statement = sa.select(
        _Subnet.id,
        _Subnet.network_id,
        _Subnet.cidr,
        _Subnet.gateway_ip,
        _Subnet.enable_dhcp,
        _Subnet.ipv6_ra_mode,
        _Subnet.ipv6_address_mode,
    )
    rows = list(_rows(session, statement, _Subnet.id, ids))
    server, route = models_v2.DNSNameServer, models_v2.SubnetRoute
    statement = sa.select(server.subnet_id, server.address).order_by(server.order)
    servers = _grouped(_rows(session, statement, server.subnet_id, ids))
    statement = sa.select(route.subnet_id, route.destination, route.nexthop)
    routes = _grouped(
        (row[0], HostRoute(row[1], row[2]))
        for row in _rows(session, statement, route.subnet_id, ids)
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
        for row in rows
    }


def _grouped(pairs: Iterable[Any]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        result[key].append(value)
    return result
