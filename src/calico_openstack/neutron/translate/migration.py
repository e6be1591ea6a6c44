"""A migrating port becomes a live migration for each host that it may move to. Pure.

Felix reads from it which of two endpoints with the same addresses the workload is at: it keeps
the target's routes back until the guest is heard there, or the migration is over.
"""

from __future__ import annotations

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.migration import (
    LiveMigration,
    LiveMigrationSource,
    LiveMigrationSpec,
    LiveMigrationTarget,
    WorkloadEndpointRef,
)
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.neutron.translate.labels import ORCHESTRATOR


def translate_migration(source_host: str, target: WorkloadEndpoint) -> LiveMigration:
    """Return the migration from a host to the endpoint ``target``, whose name it shares."""
    spec = target.spec
    workload = f"{target.metadata.namespace}/{spec.workload}"

    def at(host: str) -> WorkloadEndpointRef:
        return WorkloadEndpointRef(
            hostname=host,
            orchestrator_id=ORCHESTRATOR,
            workload_id=workload,
            endpoint_id=spec.endpoint,
        )

    return LiveMigration(
        metadata=Metadata(name=target.metadata.name, namespace=target.metadata.namespace),
        spec=LiveMigrationSpec(
            source=LiveMigrationSource(workload_endpoint=at(source_host)),
            target=LiveMigrationTarget(workload_endpoint=at(spec.node)),
        ),
    )
