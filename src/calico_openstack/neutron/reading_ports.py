"""Reads ports with everything that their endpoints depend on."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.models import dns as dns_models
from neutron.db.models import securitygroup as group_models
from neutron.db.port_security import models as port_security_models
from neutron.db.qos import models as qos_models
from neutron_lib import constants
from oslo_config import cfg

from calico_openstack.neutron.queries import (
    Ids,
    may_be_endpoint,
    reader,
    retried,
    rows,
)
from calico_openstack.neutron.reading_parts import read_parts
from calico_openstack.neutron.reading_qos import policies
from calico_openstack.neutron.translate.dns import port_fqdn
from calico_openstack.neutron.translate.facts import (
    Binding,
    FixedIp,
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
    with reader() as connection:
        return _ports(connection, ids)


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


def _ports(connection: Any, ids: Ids) -> dict[str, PortFacts]:
    statement = _endpoint_statement() if ids is None else _port_statement()
    found = list(rows(connection, statement, _Port.id, ids))
    if not found:
        return {}
    parts, logs = read_parts(connection, ids)
    qos = policies(connection, {row[10] for row in found if row[10] is not None})
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
            binding=next(iter(parts[row[0]].bindings), Binding()),
            inactive_bindings=tuple(parts[row[0]].inactive_bindings),
            fixed_ips=tuple(parts[row[0]].fixed_ips),
            address_pairs=tuple(parts[row[0]].address_pairs),
            floating_ips=tuple(parts[row[0]].floating_ips),
            groups=tuple(parts[row[0]].groups),
            odd_rules=tuple(parts[row[0]].odd_rules),
            qos=qos.get(row[10], QosFacts()),
            dhcp_options=tuple(parts[row[0]].dhcp_options),
            logs=tuple(log for log in logs if has_label(log, row[0], row[1])),
            fqdn=_fqdn(row[11] or "", row[12] or "", parts[row[0]].fixed_ips),
            dns_name=row[11] or "",
            name=row[13] or "",
        )
        for row in found
    }


def _fqdn(name: str, domain: str, fixed_ips: list[FixedIp]) -> str | None:
    """Return a port's name, None where Neutron does not give names."""
    if not fixed_ips or not _DNS_DRIVERS.intersection(cfg.CONF.ml2.extension_drivers):
        return None
    first = min(fixed_ips, key=lambda ip: (ip.address, ip.subnet_id))
    return port_fqdn(name, domain, first.address, cfg.CONF.dns_domain)
