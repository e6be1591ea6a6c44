"""Reads ports with everything that their endpoints depend on."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.extra_dhcp_opt import models as option_models
from neutron.db.models import allowed_address_pair as pair_models
from neutron.db.models import dns as dns_models
from neutron.db.models import l3 as l3_models
from neutron.db.models import securitygroup as group_models
from neutron.db.port_security import models as port_security_models
from neutron.db.qos import models as qos_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from oslo_config import cfg

from calico_openstack.neutron.queries import (
    Ids,
    grouped,
    may_be_endpoint,
    part_rows,
    reader,
    retried,
    rows,
)
from calico_openstack.neutron.reading_logs import enabled_logs
from calico_openstack.neutron.reading_qos import policies
from calico_openstack.neutron.translate.dns import port_fqdn
from calico_openstack.neutron.translate.facts import (
    AddressPair,
    Binding,
    DhcpOption,
    FixedIp,
    FloatingIp,
    GroupName,
    PortFacts,
    QosFacts,
)
from calico_openstack.neutron.translate.logs import has_label

_Port = models_v2.Port
_Subnet = models_v2.Subnet
_Group = group_models.SecurityGroup
_ACTIVE = constants.ACTIVE
# ML2's extension drivers with which ports have names.
_DNS_DRIVERS = frozenset(
    {"dns", "dns_domain_ports", "subnet_dns_publish_fixed_ip", "dns_domain_keywords"}
)


@retried
def read_ports(ids: Ids) -> dict[str, PortFacts]:
    """Return ports by id; those that do not exist are missing, and so are no endpoints for None."""
    with reader() as session:
        return _ports(session, ids)


def migrating_to(profile: str) -> str:
    """Return the host that a binding's profile names as a migration's target, empty for none."""
    try:
        content = msgspec.json.decode(profile or "{}")
    except msgspec.DecodeError:
        return ""
    host = content.get("migrating_to") if isinstance(content, Mapping) else None
    return host if isinstance(host, str) else ""


@functools.cache
def _port_statement() -> Any:
    security = port_security_models.PortSecurityBinding
    network = models_v2.Network
    own_policy, network_policy = qos_models.QosPortPolicyBinding, qos_models.QosNetworkPolicyBinding
    dns = dns_models.PortDNS
    return (
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
            sa.func.coalesce(own_policy.policy_id, network_policy.policy_id),
            dns.dns_name,
            dns.current_dns_domain,
            _Port.name,
        )
        .join(network, network.id == _Port.network_id)
        .outerjoin(security, security.port_id == _Port.id)
        .outerjoin(own_policy, own_policy.port_id == _Port.id)
        .outerjoin(network_policy, network_policy.network_id == _Port.network_id)
        .outerjoin(dns, dns.port_id == _Port.id)
    )


@functools.cache
def _endpoint_statement() -> Any:
    return _port_statement().where(may_be_endpoint())


def _ports(session: Any, ids: Ids) -> dict[str, PortFacts]:
    statement = _endpoint_statement() if ids is None else _port_statement()
    found = list(rows(session, statement, _Port.id, ids))
    if not found:
        return {}
    bindings = _bindings(session, ids)
    fixed_ips = _fixed_ips(session, ids)
    pairs = _address_pairs(session, ids)
    floating = _floating_ips(session, ids)
    groups = _group_names(session, ids)
    options = _dhcp_options(session, ids)
    logs = enabled_logs(session)
    qos = policies(session, {row[10] for row in found if row[10] is not None})
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
            binding=next((b for status, b in bindings[row[0]] if status == _ACTIVE), Binding()),
            inactive_bindings=tuple(b for status, b in bindings[row[0]] if status != _ACTIVE),
            fixed_ips=tuple(fixed_ips[row[0]]),
            address_pairs=tuple(pairs[row[0]]),
            floating_ips=tuple(floating[row[0]]),
            groups=tuple(groups[row[0]]),
            qos=qos.get(row[10], QosFacts()),
            dhcp_options=tuple(options[row[0]]),
            logs=tuple(log for log in logs if has_label(log, row[0], row[1])),
            fqdn=_fqdn(row[11] or "", row[12] or "", fixed_ips[row[0]]),
            dns_name=row[11] or "",
            name=row[13] or "",
        )
        for row in found
    }


@functools.cache
def _binding_statement() -> Any:
    binding = ml2_models.PortBinding
    return sa.select(
        binding.port_id, binding.status, binding.host, binding.vif_type, binding.profile
    )


def _bindings(session: Any, ids: Ids) -> dict[str, list[tuple[str, Binding]]]:
    """Return the status and content of ports' bindings."""
    found = part_rows(session, _binding_statement(), ml2_models.PortBinding.port_id, ids)
    return grouped(
        (row[0], (row[1], Binding(row[2], row[3], migrating_to(row[4])))) for row in found
    )


@functools.cache
def _fixed_ip_statement() -> Any:
    allocation = models_v2.IPAllocation
    return sa.select(
        allocation.port_id, allocation.ip_address, allocation.subnet_id, _Subnet.gateway_ip
    ).join(_Subnet, _Subnet.id == allocation.subnet_id)


def _fixed_ips(session: Any, ids: Ids) -> dict[str, list[FixedIp]]:
    found = part_rows(session, _fixed_ip_statement(), models_v2.IPAllocation.port_id, ids)
    return grouped((row[0], FixedIp(row[1], row[2], row[3])) for row in found)


@functools.cache
def _address_pair_statement() -> Any:
    pair = pair_models.AllowedAddressPair
    return sa.select(pair.port_id, pair.ip_address, pair.mac_address)


def _address_pairs(session: Any, ids: Ids) -> dict[str, list[AddressPair]]:
    found = part_rows(
        session, _address_pair_statement(), pair_models.AllowedAddressPair.port_id, ids
    )
    return grouped((row[0], AddressPair(row[1], row[2])) for row in found)


@functools.cache
def _floating_ip_statement() -> Any:
    floating = l3_models.FloatingIP
    return sa.select(
        floating.fixed_port_id, floating.fixed_ip_address, floating.floating_ip_address
    ).where(floating.fixed_ip_address.is_not(None))


def _floating_ips(session: Any, ids: Ids) -> dict[str, list[FloatingIp]]:
    found = part_rows(session, _floating_ip_statement(), l3_models.FloatingIP.fixed_port_id, ids)
    return grouped((row[0], FloatingIp(row[1], row[2])) for row in found)


@functools.cache
def _dhcp_option_statement() -> Any:
    option = option_models.ExtraDhcpOpt
    return sa.select(option.port_id, option.opt_name, option.opt_value, option.ip_version)


def _dhcp_options(session: Any, ids: Ids) -> dict[str, list[DhcpOption]]:
    found = part_rows(session, _dhcp_option_statement(), option_models.ExtraDhcpOpt.port_id, ids)
    return grouped((row[0], DhcpOption(row[1], row[2], row[3])) for row in found)


def _fqdn(name: str, domain: str, fixed_ips: list[FixedIp]) -> str | None:
    """Return a port's name, None where Neutron does not give names."""
    if not fixed_ips or not _DNS_DRIVERS.intersection(cfg.CONF.ml2.extension_drivers):
        return None
    first = min(fixed_ips, key=lambda ip: (ip.address, ip.subnet_id))
    return port_fqdn(name, domain, first.address, cfg.CONF.dns_domain)


@functools.cache
def _group_name_statement() -> Any:
    binding = group_models.SecurityGroupPortBinding
    return sa.select(binding.port_id, _Group.id, _Group.name).join(
        _Group, _Group.id == binding.security_group_id
    )


def _group_names(session: Any, ids: Ids) -> dict[str, list[GroupName]]:
    found = part_rows(
        session, _group_name_statement(), group_models.SecurityGroupPortBinding.port_id, ids
    )
    return grouped((row[0], GroupName(row[1], row[2] or "")) for row in found)
