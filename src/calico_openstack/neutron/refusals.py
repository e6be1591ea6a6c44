"""Refuses what Neutron offers and ports and subnets on a routed network cannot have.

Neutron asks nobody whether a port can have a floating IP for single ports of it, or one with limits
of its own, nor whether a subnet can have its addresses: its database takes them, and nothing would
come of it. The transaction that would store one for a routed network fails instead, with a reason
for the user.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.models import l3 as l3_models
from neutron.db.qos import models as qos_models
from neutron.plugins.ml2 import models as ml2_models
from neutron.services.portforwarding import constants as forwarding_constants
from neutron_lib import constants, exceptions
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins import constants as plugin_constants
from neutron_lib.plugins import directory
from oslo_config import cfg
from sqlalchemy import event

from calico_openstack.neutron.binding import VIF_TYPE

PORT_FORWARDING = (
    "a floating IP leads to a routed port as a whole: forwarding of single ports is not supported"
)
FLOATING_IP_LIMITS = (
    "a floating IP of a routed port has no limits of its own: give the port a QoS policy"
)
LOCAL_IP = "a routed port has no local IP: an address leads to the same port on every host"
OVERLAPPING = (
    "{} overlaps a subnet of another network: hosts route by address alone, whatever the network"
)
PREFIX_DELEGATION = (
    "prefix delegation needs a router of Neutron's: give the subnet a prefix or a subnet pool"
)

# Mechanism drivers that bind no port.
_HELPERS = frozenset({"l2population", "logger"})


class Refusals:
    """Listens to the database's classes and to callbacks."""

    def listen(self) -> None:
        """Begin to listen; once in each process."""
        event.listen(qos_models.QosFIPPolicyBinding, "before_insert", self._limits)
        event.listen(models_v2.Subnet, "before_insert", self._subnet)
        plugin = forwarding_constants.PORT_FORWARDING_PLUGIN
        registry.subscribe(self._forwarding_loaded, plugin, events.AFTER_INIT)
        registry.subscribe(self._plugins_loaded, resources.PROCESS, events.AFTER_INIT)

    def _forwarding_loaded(self, *_arguments: object, **_more: object) -> None:
        """Listen to a class that costs every reading of ports a query, where it is in use."""
        from neutron.db.models import port_forwarding  # noqa: PLC0415

        event.listen(port_forwarding.PortForwarding, "before_insert", self._forwarding)

    def _plugins_loaded(self, *_arguments: object, **_more: object) -> None:
        if directory.get_plugin(plugin_constants.LOCAL_IP) is None:
            return
        from neutron.db.models import local_ip  # noqa: PLC0415

        event.listen(local_ip.LocalIPAssociation, "before_insert", self._local_ip)

    def _local_ip(self, _mapper: object, connection: Any, association: Any) -> None:
        if is_routed(connection, association.fixed_port_id):
            raise exceptions.BadRequest(resource="local_ip_port_association", msg=LOCAL_IP)

    def _forwarding(self, _mapper: object, connection: Any, forwarding: Any) -> None:
        port_id = forwarding.internal_neutron_port_id
        if is_routed(connection, port_id):
            raise exceptions.BadRequest(resource="port_forwarding", msg=PORT_FORWARDING)

    def _limits(self, _mapper: object, connection: Any, binding: Any) -> None:
        floating = l3_models.FloatingIP
        port_id = connection.scalar(
            sa.select(floating.fixed_port_id).where(floating.id == binding.fip_id)
        )
        if is_routed(connection, port_id):
            raise exceptions.BadRequest(resource="floatingip", msg=FLOATING_IP_LIMITS)

    def _subnet(self, _mapper: object, connection: Any, subnet: Any) -> None:
        """Refuse a subnet, where all ports are routed; where others are, it may be for those.

        Of two that are created at once, both may come to be: ``calicoctl doctor`` tells of an
        address that several ports have.
        """
        if not _is_alone():
            return
        if subnet.subnetpool_id == constants.IPV6_PD_POOL_ID:
            raise exceptions.BadRequest(resource="subnets", msg=PREFIX_DELEGATION)
        other = models_v2.Subnet
        statement = sa.select(other.cidr).where(
            other.network_id != subnet.network_id, other.ip_version == subnet.ip_version
        )
        cidr, stored = ip_network(str(subnet.cidr)), connection.scalars(statement)
        if any(cidr.overlaps(ip_network(str(each))) for each in stored):
            raise exceptions.BadRequest(resource="subnets", msg=OVERLAPPING.format(cidr))


def is_routed(connection: Any, port_id: str | None) -> bool:
    """Tell whether a port is or can only become one of this driver's; None is a port to come."""
    if _is_alone():
        return True
    binding = ml2_models.PortBinding
    statement = sa.select(binding.vif_type).where(
        binding.port_id == port_id, binding.status == constants.ACTIVE
    )
    return bool(connection.scalar(statement) == VIF_TYPE)


def _is_alone() -> bool:
    """Tell whether no other driver binds ports."""
    return set(cfg.CONF.ml2.mechanism_drivers) <= _HELPERS | {"calico"}
