"""Refuses what other service plugins offer and ports of this driver cannot have.

Neutron asks nobody whether a port can have a floating IP for single ports of it, or one with limits
of its own: its database takes them, and nothing would come of it. The transaction that would store
one for a port on a routed network fails instead, with a reason for the user.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from neutron.db.models import l3 as l3_models
from neutron.db.qos import models as qos_models
from neutron.plugins.ml2 import models as ml2_models
from neutron.services.portforwarding import constants as forwarding_constants
from neutron_lib import constants, exceptions
from neutron_lib.callbacks import events, registry
from oslo_config import cfg
from sqlalchemy import event

from calico_openstack.neutron.binding import VIF_TYPE

PORT_FORWARDING = (
    "a floating IP leads to a routed port as a whole: forwarding of single ports is not supported"
)
FLOATING_IP_LIMITS = (
    "a floating IP of a routed port has no limits of its own: give the port a QoS policy"
)

# Mechanism drivers that bind no port.
_HELPERS = frozenset({"l2population", "logger"})


class Refusals:
    """Listens to the database's classes and to callbacks."""

    def listen(self) -> None:
        """Begin to listen; once in each process."""
        event.listen(qos_models.QosFIPPolicyBinding, "before_insert", self._limits)
        plugin = forwarding_constants.PORT_FORWARDING_PLUGIN
        registry.subscribe(self._forwarding_loaded, plugin, events.AFTER_INIT)

    def _forwarding_loaded(self, *_arguments: object, **_more: object) -> None:
        """Listen to a class that costs every reading of ports a query, where it is in use."""
        from neutron.db.models import port_forwarding  # noqa: PLC0415

        event.listen(port_forwarding.PortForwarding, "before_insert", self._forwarding)

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


def is_routed(connection: Any, port_id: str | None) -> bool:
    """Tell whether a port is or can only become one of this driver's; None is a port to come."""
    if set(cfg.CONF.ml2.mechanism_drivers) <= _HELPERS | {"calico"}:
        return True
    binding = ml2_models.PortBinding
    statement = sa.select(binding.vif_type).where(
        binding.port_id == port_id, binding.status == constants.ACTIVE
    )
    return bool(connection.scalar(statement) == VIF_TYPE)
