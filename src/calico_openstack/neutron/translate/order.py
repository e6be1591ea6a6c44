"""In which order an object's keys are written, so that readers see no wrong picture. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey, parse_key
from calico_openstack.datamodel.migration import LiveMigration


def writing_order(paths: Iterable[str], removed: Collection[str]) -> list[list[str]]:
    """Return keys in the order in which they are written; those in ``removed`` vanish.

    Those of one list belong into one transaction, and each list into a later one: upstream's Felix
    watches each kind by itself, so of one revision it may see the endpoint before the migration.

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
            return 0 if kind == LiveMigration.KIND else 2 if kind == WorkloadEndpoint.KIND else 1
        if kind == LiveMigration.KIND:
            return 4
        return 3 if migration_path(path) in ending else 5

    ranked = sorted((rank(path), path) for path in paths)
    beginning = [path for number, path in ranked if number == 0]
    others = [path for number, path in ranked if number > 0]
    return [some for some in (beginning, others) if some]


def migration_path(path: str) -> str | None:
    """Return the key of the migration to an endpoint, None for what is no endpoint's key."""
    key = parse_key(path)
    if not isinstance(key, ResourceKey) or key.kind != WorkloadEndpoint.KIND:
        return None
    return ResourceKey(LiveMigration.KIND, key.name, key.namespace).path
