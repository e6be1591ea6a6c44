"""Reads what belongs to ports, and is in other tables, by one statement; network logs too.

A statement costs its round trip, and SQLAlchemy's time, however little it returns: hence one that
unites them, with a column that tells the table of a row.
"""

from __future__ import annotations

import enum
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.extra_dhcp_opt import models as option_models
from neutron.db.models import allowed_address_pair as pair_models
from neutron.db.models import l3 as l3_models
from neutron.db.models import securitygroup as group_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants

from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.neutron.queries import Ids, may_be_endpoint, portions
from calico_openstack.neutron.reading_logs import IS_ENABLED, LOG_COLUMNS
from calico_openstack.neutron.translate.facts import (
    AddressPair,
    Binding,
    DhcpOption,
    FixedIp,
    FloatingIp,
    GroupName,
    LogFacts,
    RuleFacts,
)

_IDS = "ids"
_COLUMNS, _NUMBERS = 5, 2
_ACTIVE = constants.ACTIVE


class _Part(enum.StrEnum):
    BINDING = "binding"
    FIXED_IP = "fixed-ip"
    ADDRESS_PAIR = "address-pair"
    FLOATING_IP = "floating-ip"
    GROUP = "group"
    ODD_RULE = "odd-rule"
    DHCP_OPTION = "dhcp-option"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Parts:
    """What belongs to a port; ``odd_rules`` are those of its groups that may be refused."""

    bindings: list[Binding] = field(default_factory=list)
    inactive_bindings: list[Binding] = field(default_factory=list)
    fixed_ips: list[FixedIp] = field(default_factory=list)
    address_pairs: list[AddressPair] = field(default_factory=list)
    floating_ips: list[FloatingIp] = field(default_factory=list)
    groups: list[GroupName] = field(default_factory=list)
    odd_rules: list[RuleFacts] = field(default_factory=list)
    dhcp_options: list[DhcpOption] = field(default_factory=list)

    def add(self, part: str, row: Sequence[Any]) -> None:
        """Add a row, its columns and then its numbers."""
        match part:
            case _Part.BINDING:
                bindings = self.bindings if row[0] == _ACTIVE else self.inactive_bindings
                bindings.append(Binding(row[1], row[2], migrating_to(row[3]), row[4] or ""))
            case _Part.FIXED_IP:
                self.fixed_ips.append(FixedIp(row[0], row[1], row[2]))
            case _Part.ADDRESS_PAIR:
                self.address_pairs.append(AddressPair(row[0], row[1]))
            case _Part.FLOATING_IP:
                self.floating_ips.append(FloatingIp(row[0], row[1]))
            case _Part.GROUP:
                self.groups.append(GroupName(row[0], row[1] or ""))
            case _Part.ODD_RULE:
                rule = RuleFacts(row[0], row[1], row[2], row[3], row[5], row[6])
                self.odd_rules.append(rule)
            case _Part.DHCP_OPTION:
                self.dhcp_options.append(DhcpOption(row[0], row[1], row[5]))


def migrating_to(profile: str) -> str:
    """Return the host that a binding's profile names as a migration's target, empty for none."""
    try:
        content = msgspec.json.decode(profile or "{}")
    except UNREADABLE:
        return ""
    host = content.get("migrating_to") if isinstance(content, Mapping) else None
    return host if isinstance(host, str) else ""


def read_parts(connection: Any, ids: Ids) -> tuple[dict[str, Parts], list[LogFacts]]:
    """Return what belongs to ports, to all possible endpoints for None; and all enabled logs."""
    result: dict[str, Parts] = defaultdict(Parts)
    logs: dict[str, LogFacts] = {}
    statement = _of_endpoints() if ids is None else _of_ids()
    for some in [None] if ids is None else portions(ids):
        for row in connection.execute(statement, {} if some is None else {_IDS: some}):
            if row[0] == _Part.LOG:
                logs[row[2]] = LogFacts(*row[2 : 2 + _COLUMNS])
            else:
                result[row[1]].add(row[0], row[2:])
    return result, [logs[log_id] for log_id in sorted(logs)]


@functools.cache
def _of_ids() -> Any:
    ids = sa.bindparam(_IDS, expanding=True)
    parts = (statement.where(key.in_(ids)) for key, statement in _branches())
    return sa.union_all(*parts, _logs())


@functools.cache
def _of_endpoints() -> Any:
    port = models_v2.Port
    parts = (
        statement.join(port, port.id == key).where(may_be_endpoint())
        for key, statement in _branches()
    )
    return sa.union_all(*parts, _logs())


def _branches() -> list[tuple[Any, Any]]:
    """Return the columns with ports' ids, and the statements for parts of them."""
    binding = ml2_models.PortBinding
    allocation, subnet = models_v2.IPAllocation, models_v2.Subnet
    pair, floating = pair_models.AllowedAddressPair, l3_models.FloatingIP
    member, group = group_models.SecurityGroupPortBinding, group_models.SecurityGroup
    rule = group_models.SecurityGroupRule
    option = option_models.ExtraDhcpOpt
    details = (binding.status, binding.host, binding.vif_type, binding.profile, binding.vif_details)
    # The first statement decides the types of the columns.
    return [
        (binding.port_id, _part(_Part.BINDING, binding.port_id, *details)),
        (
            allocation.port_id,
            _part(
                _Part.FIXED_IP,
                allocation.port_id,
                allocation.ip_address,
                allocation.subnet_id,
                subnet.gateway_ip,
            ).join(subnet, subnet.id == allocation.subnet_id),
        ),
        (pair.port_id, _part(_Part.ADDRESS_PAIR, pair.port_id, pair.ip_address, pair.mac_address)),
        (
            floating.fixed_port_id,
            _part(
                _Part.FLOATING_IP,
                floating.fixed_port_id,
                floating.fixed_ip_address,
                floating.floating_ip_address,
            ).where(floating.fixed_ip_address.is_not(None)),
        ),
        (
            member.port_id,
            _part(_Part.GROUP, member.port_id, group.id, group.name).join(
                group, group.id == member.security_group_id
            ),
        ),
        (
            member.port_id,
            _part(
                _Part.ODD_RULE,
                member.port_id,
                rule.id,
                rule.direction,
                rule.ethertype,
                rule.protocol,
                numbers=(rule.port_range_min, rule.port_range_max),
            )
            .join(rule, rule.security_group_id == member.security_group_id)
            .where(is_odd_rule()),
        ),
        (
            option.port_id,
            _part(
                _Part.DHCP_OPTION,
                option.port_id,
                option.opt_name,
                option.opt_value,
                numbers=(option.ip_version,),
            ),
        ),
    ]


def _logs() -> Any:
    """Return the statement for logs, which belong to no port: they may be about a project's."""
    return _part(_Part.LOG, sa.null(), *LOG_COLUMNS).where(IS_ENABLED)


def is_odd_rule() -> Any:
    """Return the condition that a rule may have no counterpart; it holds for all that have none."""
    rule = group_models.SecurityGroupRule
    first, last = rule.port_range_min, rule.port_range_max
    without_ports = sa.and_(first.is_(None), last.is_(None))
    a_range = sa.and_(first >= 1, first <= last, last <= 65535)
    plain = sa.or_(
        sa.and_(rule.protocol.is_(None), without_ports),
        sa.and_(
            rule.protocol.in_(("tcp", "udp", "6", "17")), sa.or_(without_ports, a_range.is_(True))
        ),
        sa.and_(rule.protocol.in_(("icmp", "1")), without_ports),
    )
    return sa.or_(plain.is_not(True), rule.ethertype.not_in(("IPv4", "IPv6")))


def _part(part: _Part, port_id: Any, *columns: Any, numbers: Sequence[Any] = ()) -> Any:
    """Return a statement for a table's rows, with as many columns as all others.

    Text and numbers are apart, since databases have no common type for them.
    """
    return sa.select(
        sa.literal(part.value, literal_execute=True),
        port_id,
        *_padded(columns, _COLUMNS),
        *_padded(numbers, _NUMBERS),
    )


def _padded(columns: Sequence[Any], number: int) -> list[Any]:
    return [*columns, *[sa.null()] * (number - len(columns))]
