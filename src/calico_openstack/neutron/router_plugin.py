"""The service plugin ``calico_router``: floating IPs for ports on a routed network.

Every host routes between all networks, so routers do nothing here: they exist because a floating
IP of the Networking API is reached through one. Extensions that would promise more (extra
routes, gateway modes, agents, high availability, floating IPs with QoS) are not offered, and
Neutron refuses their attributes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from neutron.db import dns_db, l3_db, l3_fip_pools_db, l3_fip_port_details
from neutron.db.models import l3 as l3_models
from neutron.quota import resource_registry
from neutron_lib import constants
from neutron_lib.api.definitions import (
    fip_port_details,
    floatingip_pools,
    l2_adjacency,
    l3,
    network,
)
from neutron_lib.db import resource_extend
from neutron_lib.plugins import constants as plugin_constants
from neutron_lib.services import base as service_base


@resource_extend.has_resource_extenders
class CalicoRouterPlugin(
    service_base.ServicePluginBase,
    l3_db.L3_NAT_dbonly_mixin,
    dns_db.DNSDbMixin,
    l3_fip_port_details.Fip_port_details_db_mixin,
    l3_fip_pools_db.FloatingIPPoolsMixin,
):
    """Neutron's own database of routers and floating IPs, without any agent.

    What changes in it reaches etcd through `FloatingIpNotifications`.
    """

    supported_extension_aliases: ClassVar[list[str]] = [
        l3.ALIAS,
        fip_port_details.ALIAS,
        floatingip_pools.ALIAS,
        l2_adjacency.ALIAS,
    ]

    @resource_registry.tracked_resources(router=l3_models.Router, floatingip=l3_models.FloatingIP)
    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def get_plugin_type(cls) -> str:
        """Return the service that this plugin provides."""
        return str(plugin_constants.L3)

    def get_plugin_description(self) -> str:
        """Return what users see of the plugin."""
        return "Floating IPs on routed networks (Calico)"

    def create_floatingip(
        self,
        context: Any,
        floatingip: Any,
        initial_status: str = constants.FLOATINGIP_STATUS_DOWN,
    ) -> Any:
        """Create a floating IP; it is ACTIVE when a host has it in its kernel."""
        return super().create_floatingip(context, floatingip, initial_status)

    @staticmethod
    @resource_extend.extends([network.COLLECTION_NAME])
    def _extend_network(result: dict[str, Any], _network: object) -> None:
        """Ports of a network reach each other by routing, wherever they are."""
        result[l2_adjacency.L2_ADJACENCY] = False
