"""In which order an object's keys are written, so that readers see no wrong picture. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey, parse_key
from calico_openstack.datamodel.migration import LiveMigration


def writing_order(paths: Iterable[str], removed: Collection[str]) -> list[str]:
    """Return keys in the order in which they are written; those in ``removed`` vanish.

    An endpoint at a migration's target is never there without the migration, which keeps its
    routes back: the migration comes before it, and where both vanish after it. Where the
    migration has succeeded it ends first, which brings the target's routes to the front, and
    then the endpoint vanishes that the workload has left.
    """
    ending = {migration_path(path) for path in removed}.intersection(removed)

    def rank(path: str) -> int:
        key = parse_key(path)
        kind = key.kind if isinstance(key, ResourceKey) else ""
        if path not in removed:
            return 1 if kind == WorkloadEndpoint.KIND else 0
        if kind == LiveMigration.KIND:
            return 3
        return 2 if migration_path(path) in ending else 4

    return sorted(paths, key=lambda path: (rank(path), path))


def migration_path(path: str) -> str | None:
    """Return the key of the migration to an endpoint, None for what is no endpoint's key."""
    key = parse_key(path)
    if not isinstance(key, ResourceKey) or key.kind != WorkloadEndpoint.KIND:
        return None
    return ResourceKey(LiveMigration.KIND, key.name, key.namespace).path
