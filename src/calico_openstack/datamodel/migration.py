"""Live migration: which endpoint a workload leaves and which one it goes to."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from calico_openstack.datamodel.resource import JsonObject, Resource


class WorkloadRef(JsonObject, frozen=True, kw_only=True):
    """A workload; ``workload_id`` has the form ``<namespace>/<workload>``."""

    hostname: str = ""
    orchestrator_id: str = msgspec.field(default="", name="orchestratorID")
    workload_id: str = msgspec.field(default="", name="workloadID")


class WorkloadEndpointRef(JsonObject, frozen=True, kw_only=True):
    """One endpoint of a workload; ``workload_id`` has the form ``<namespace>/<workload>``."""

    hostname: str = ""
    orchestrator_id: str = msgspec.field(default="", name="orchestratorID")
    workload_id: str = msgspec.field(default="", name="workloadID")
    endpoint_id: str = msgspec.field(default="", name="endpointID")


class LiveMigrationSource(JsonObject, frozen=True, kw_only=True):
    """Exactly one of the two."""

    workload: WorkloadRef | None = None
    workload_endpoint: WorkloadEndpointRef | None = None


class LiveMigrationTarget(JsonObject, frozen=True, kw_only=True):
    """Exactly one of the two."""

    selector: str | None = None
    workload_endpoint: WorkloadEndpointRef | None = None


class LiveMigrationSpec(JsonObject, frozen=True, kw_only=True):
    """Both ends of a migration."""

    source: LiveMigrationSource | None = None
    target: LiveMigrationTarget | None = None


class LiveMigration(Resource, frozen=True, kw_only=True):
    """A migration under way. OpenStack names it like the destination's endpoint."""

    KIND: ClassVar[str] = "LiveMigration"
    PLURAL: ClassVar[str] = "livemigrations"
    NAMESPACED: ClassVar[bool] = True

    kind: str = KIND
    spec: LiveMigrationSpec = LiveMigrationSpec()
