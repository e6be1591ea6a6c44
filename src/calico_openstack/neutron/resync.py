"""Compares all of etcd with all of Neutron's database, and repairs what differs.

The comparison only says which objects to look at. Each of them is then synchronised like one
that just changed (:mod:`calico_openstack.neutron.sync`), with etcd and the database read again:
hence a comparison may be as old as it likes, run beside requests and beside other
resynchronisations, and never undoes what they do. It writes nothing where nothing differs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from oslo_log import log

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import (
    ResourceKey,
    dhcp_subnet_prefix,
    parse_workload_endpoint_name,
    prefix_of,
)
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.etcd import EtcdClient, KeyValue
from calico_openstack.neutron import reading
from calico_openstack.neutron.reading_ports import read_ports
from calico_openstack.neutron.sync import (
    ATTEMPTS,
    Outcome,
    Synchroniser,
    new_birth,
    new_value,
    tally,
)
from calico_openstack.neutron.translate import cluster
from calico_openstack.neutron.translate.envelope import renewed_document, stored_spec
from calico_openstack.neutron.translate.labels import ORCHESTRATOR
from calico_openstack.neutron.translate.policy import POLICY_PREFIX
from calico_openstack.neutron.translate.wanted import (
    Wanted,
    wanted_endpoints,
    wanted_policies,
    wanted_subnets,
)

LOG = log.getLogger(__name__)

_AT_ONCE = 100


@dataclass(slots=True)
class Phase:
    """One kind of object: how many there were on both sides, what was done, in how many seconds.

    ``outcomes`` counts keys by `Outcome`; those that were right are not in it. ``problems`` are
    what cannot be honoured.
    """

    name: str
    stored: int = 0
    wanted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def writes(self) -> int:
        """The number of keys that were written or removed."""
        return sum(self.outcomes.get(o.value, 0) for o in _WRITES)


_WRITES = (Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED)


@dataclass(slots=True)
class Report:
    """What a resynchronisation found and did; times are UTC in ISO 8601."""

    started_at: str
    phases: list[Phase] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def writes(self) -> int:
        """The number of keys that were written or removed."""
        return sum(phase.writes for phase in self.phases)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as data for JSON."""
        return asdict(self) | {"writes": self.writes}


class Resync:
    """A resynchronisation of everything in one region."""

    def __init__(self, synchroniser: Synchroniser) -> None:
        self._synchroniser = synchroniser
        self._client: EtcdClient = synchroniser.client
        self._namespace = synchroniser.namespace
        self._region = synchroniser.region

    def run(self, stopping: Callable[[], bool] = lambda: False) -> Report:
        """Compare and repair; raise `EtcdError` where etcd fails.

        Ends early, with what was done by then, when ``stopping`` says so. That Felix may start
        is said last, when there is something for it to start with.
        """
        began = time.monotonic()
        report = Report(datetime.now(UTC).isoformat(timespec="seconds"))
        for phase, run in (
            (Phase("subnets"), self._subnets),
            (Phase("policies"), self._policies),
            (Phase("endpoints"), self._endpoints),
            (Phase("cluster"), self._cluster),
        ):
            if stopping():
                break
            phase_began = time.monotonic()
            phase.outcomes = tally(run(phase))
            phase.seconds = time.monotonic() - phase_began
            report.phases.append(phase)
        report.seconds = time.monotonic() - began
        level = log.INFO if report.writes else log.DEBUG
        LOG.log(level, "Resynchronised: %s", report.as_dict())
        return report

    def is_cluster_provided(self) -> bool:
        """Tell whether a resynchronisation has ever run through here."""
        return self._client.get(ResourceKey("ClusterInformation", "default").path) is not None

    def provide_cluster(self) -> None:
        """Provide what exists once for the cluster."""
        for _ in self._cluster(Phase("cluster")):
            pass

    def _subnets(self, phase: Phase) -> Iterator[Outcome]:
        prefix = dhcp_subnet_prefix(self._region)
        wanted = wanted_subnets(reading.read_subnets(None).values(), self._region)
        differing, strange = self._compare(phase, prefix, wanted, lambda name: True)
        yield from self._synchronised(self._synchroniser.sync_subnets, differing | strange)

    def _policies(self, phase: Phase) -> Iterator[Outcome]:
        prefix = prefix_of("NetworkPolicy", self._namespace)
        wanted = wanted_policies(reading.read_groups(None).values(), self._namespace)
        differing, strange = self._compare(
            phase, prefix, wanted, lambda name: name.startswith(POLICY_PREFIX)
        )
        ids = {name.removeprefix(POLICY_PREFIX) for name in differing | strange}
        yield from self._synchronised(self._synchroniser.sync_groups, ids)

    def _endpoints(self, phase: Phase) -> Iterator[Outcome]:
        """Compare endpoints together with the migrations between them, which share their names."""
        wanted = wanted_endpoints(read_ports(None).values(), self._namespace)
        names: set[str] = set()
        for kind in (LiveMigration.KIND, WorkloadEndpoint.KIND):
            prefix = prefix_of(kind, self._namespace)
            for differing in self._compare(phase, prefix, wanted, _is_own_endpoint):
                names |= differing
        yield from self._synchronised(
            lambda some: self._synchroniser.sync_ports([], left=some), names
        )

    def _compare(
        self, phase: Phase, prefix: str, wanted: Wanted, is_own: Callable[[str], bool]
    ) -> tuple[set[str], set[str]]:
        """Return names (keys without ``prefix``) that differ, and own ones that nobody wants."""
        contents = {path: c for path, c in wanted.contents.items() if path.startswith(prefix)}
        phase.wanted += len(contents)
        phase.problems = [
            str(problem)
            for problems in (*wanted.problems.values(), wanted.elsewhere)
            for problem in problems
        ]
        differing, strange = set(), set()
        for kv in self._stored(prefix):
            name = kv.key.removeprefix(prefix)
            if not is_own(name):
                continue
            phase.stored += 1
            content = contents.pop(kv.key, None)
            if content is None:
                strange.add(name)
            elif new_value(kv.value, content) is not None:
                differing.add(name)
        differing.update(
            path.removeprefix(prefix) for path in contents if wanted.content(path, is_stored=False)
        )
        return differing, strange

    def _stored(self, prefix: str) -> Iterator[KeyValue]:
        for page in self._client.iterate_prefix(prefix):
            yield from page.kvs

    def _synchronised(
        self, sync: Callable[[Collection[str]], dict[str, Outcome]], items: Collection[str]
    ) -> Iterator[Outcome]:
        ordered = sorted(items)
        for start in range(0, len(ordered), _AT_ONCE):
            outcomes = sync(ordered[start : start + _AT_ONCE])
            for path, outcome in outcomes.items():
                if outcome is not Outcome.UNCHANGED:
                    LOG.info("Resynchronisation: %s %s", path, outcome.value)
            yield from outcomes.values()

    # --- what exists once for the cluster -----------------------------------------------------

    def _cluster(self, phase: Phase) -> Iterator[Outcome]:
        guid = uuid.uuid4().hex
        for kind, name, complete in (
            ("Tier", cluster.TIER_NAME, cluster.default_tier),
            ("FelixConfiguration", "default", lambda s: cluster.felix_configuration(s or {})),
            (
                "ClusterInformation",
                "default",
                lambda s: cluster.cluster_information(s or {}, guid),
            ),
        ):
            phase.wanted += 1
            outcome = self._provide(kind, name, complete)
            phase.stored += outcome is not Outcome.CREATED
            yield outcome

    def _provide(
        self, kind: str, name: str, complete: Callable[[dict[str, Any] | None], dict[str, Any]]
    ) -> Outcome:
        """Complete a resource that others write too, in a loop of reading and comparing."""
        path = ResourceKey(kind, name).path
        identity = {"kind": kind, "name": name, "namespace": ""}
        for _ in range(ATTEMPTS):
            stored = self._client.get(path)
            value = stored.value if stored else None
            spec = complete(stored_spec(value))
            if value is not None and stored_spec(value) == spec:
                return Outcome.UNCHANGED
            document = renewed_document(value, identity, spec=spec, birth=new_birth())
            assert document is not None
            revision = stored.mod_revision if stored else 0
            if self._client.put_if_unchanged(path, document, revision) is not None:
                return Outcome.UPDATED if stored else Outcome.CREATED
        return Outcome.CONTESTED


def _is_own_endpoint(name: str) -> bool:
    """Tell whether a name is one of ours; one that cannot be taken apart is if it looks so."""
    parsed = parse_workload_endpoint_name(name)
    if parsed is None:
        return f"-{ORCHESTRATOR}-" in name
    return parsed[1] == ORCHESTRATOR
