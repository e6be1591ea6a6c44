"""Tells Neutron that a port is programmed on its host.

ML2 puts a provisioning block on a port when it is created for, or moved to, a host with an
agent of the driver; the port becomes ACTIVE when all blocks are gone. Where a binding changes
and the host stays, there is no block, but the port is DOWN all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neutron.db import provisioning_blocks
from neutron_lib import context as neutron_context
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import resources

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.keys import EndpointStatusKey, ResourceKey
from calico_openstack.datamodel.status import EndpointStatus
from calico_openstack.neutron.sync import Synchroniser, get_many
from calico_openstack.neutron.translate.endpoint import endpoint_name
from calico_openstack.neutron.translate.labels import ORCHESTRATOR


def provisioned(port_id: str) -> None:
    """Complete the provisioning of a bound port, which makes it ACTIVE; must not be repeated
    within a transaction."""
    provisioning_blocks.provisioning_complete(
        neutron_context.get_admin_context(),
        port_id,
        resources.PORT,
        provisioning_blocks.L2_AGENT_ENTITY,
    )


def confirm_provisioned(synchroniser: Synchroniser, port: Mapping[str, Any]) -> None:
    """Complete the provisioning of a port that was bound anew where it is programmed already.

    Felix does not report again what has not changed for it. Its report counts if it is younger
    than the endpoint: an older one is about an endpoint that was here before.
    """
    host, device_id = port[portbindings.HOST_ID], port["device_id"]
    name = endpoint_name(host, device_id, port["id"])
    if name is None:
        return
    endpoint_path = ResourceKey("WorkloadEndpoint", name, synchroniser.namespace).path
    status_path = EndpointStatusKey(
        synchroniser.region, host, ORCHESTRATOR, f"{synchroniser.namespace}/{device_id}", port["id"]
    ).path
    stored = get_many(synchroniser.client, (endpoint_path, status_path))
    endpoint, status = stored[endpoint_path], stored[status_path]
    if endpoint is None or status is None or status.mod_revision < endpoint.create_revision:
        return
    if decode(status_path, status.value) == EndpointStatus(status="up"):
        provisioned(port["id"])
