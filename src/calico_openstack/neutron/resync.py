"""Compares etcd with Neutron's database, all of it or a part, and repairs what differs.

The comparison only says which objects to look at. Each of them is then synchronised like one
that just changed (:mod:`calico_openstack.neutron.sync`), with etcd and the database read again:
hence a comparison may be as old as it likes, run beside requests and beside other
resynchronisations, and never undoes what they do. It writes nothing where nothing differs.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
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
from calico_openstack.datamodel.openstack import GROUP_POLICY
from calico_openstack.etcd import EtcdClient, KeyValue
from calico_openstack.neutron import reading
from calico_openstack.neutron.log_driver import is_logging_offered
from calico_openstack.neutron.reading_logs import read_logs
from calico_openstack.neutron.reading_ports import read_ports
from calico_openstack.neutron.resync_report import ALL, Phase, Report, Scope, merged
from calico_openstack.neutron.sync import (
    ATTEMPTS,
    Outcome,
    Synchroniser,
    new_birth,
    new_value,
)
from calico_openstack.neutron.translate import cluster
from calico_openstack.neutron.translate.envelope import renewed_document, stored_spec
from calico_openstack.neutron.translate.labels import ORCHESTRATOR
from calico_openstack.neutron.translate.wanted import (
    Wanted,
    wanted_policies,
    wanted_subnets,
)

LOG = log.getLogger(__name__)

_AT_ONCE = 100

Progress = Callable[[str, int, int], None]
"""Told of a phase's name, how many objects are done, and how many differ."""

Ids = frozenset[str] | None
"""Ids in scope; None for all."""


class Resync:
    """Resynchronisations of one region; an ``audit`` only says what one would do."""

    def __init__(
        self,
        synchroniser: Synchroniser,
        *,
        audit: bool = False,
        progress: Progress = lambda phase, done, total: None,
    ) -> None:
        self._synchroniser = synchroniser
        self._client: EtcdClient = synchroniser.client
        self._namespace = synchroniser.namespace
        self._region = synchroniser.region
        self._audit = audit
        self._progress = progress

    def run(self, scope: Scope = ALL, stopping: Callable[[], bool] = lambda: False) -> Report:
        """Compare and repair; the report tells the error that ended it, if any.

        Ends early, with what was done by then, when ``stopping`` says so. That Felix may start
        is said last, when there is something for it to start with.
        """
        began = time.monotonic()
        report = Report(scope, self._audit)
        error = None
        try:
            self._run(scope, report, stopping)
        except Exception as failure:
            # etcd or the database failed, or an object was too strange to be compared. What was
            # done is reported all the same, and nothing was made worse.
            LOG.exception("The resynchronisation failed")
            error = f"{type(failure).__name__}: {failure}"
        report.finish(time.monotonic() - began, error)
        level = log.INFO if report.writes else log.DEBUG
        LOG.log(level, "Resynchronised: %s", report.as_dict())
        return report

    def is_cluster_provided(self) -> bool:
        """Tell whether what exists once for the cluster is there."""
        return self._client.get(ResourceKey("ClusterInformation", "default").path) is not None

    def provide_cluster(self) -> None:
        """Provide what exists once for the cluster."""
        for _ in self._cluster(Phase("cluster")):
            pass

    def _run(self, scope: Scope, report: Report, stopping: Callable[[], bool]) -> None:
        with _phase(report, "expand") as phase:
            subnets, ports, groups = self._expand(scope, phase)
        runs: tuple[tuple[str, Callable[[Phase], Iterator[tuple[str, Outcome]]]], ...] = (
            ("subnets", lambda phase: self._subnets(phase, subnets)),
            ("policy", lambda phase: self._policies(phase, groups)),
            ("endpoints", lambda phase: self._endpoints(phase, ports)),
            ("cluster", lambda phase: self._cluster(phase) if scope.is_all else iter(())),
        )
        for name, run in runs:
            if stopping():
                return
            with _phase(report, name) as phase:
                phase.outcomes = merged(run(phase))

    def _expand(self, scope: Scope, phase: Phase) -> tuple[Ids, Ids, Ids]:
        """Return the subnets, ports and security groups in scope."""
        if scope.is_all:
            return None, None, None
        subnets, ports, groups = set(scope.subnets), set(scope.ports), set(scope.groups)
        for network in scope.networks:
            subnets.update(reading.subnets_of_network(network))
            ports.update(reading.ports_of_network(network))
        for subnet in subnets:
            ports.update(reading.ports_of_subnet(subnet))
        if scope.include_groups:
            found = read_ports(ports).values()
            groups.update(group.id for port in found for group in port.groups)
        phase.wanted = len(subnets) + len(ports) + len(groups)
        return frozenset(subnets), frozenset(ports), frozenset(groups)

    def _subnets(self, phase: Phase, ids: Ids) -> Iterator[tuple[str, Outcome]]:
        prefix = dhcp_subnet_prefix(self._region)
        with _timed(phase):
            wanted = wanted_subnets(reading.read_subnets(ids).values(), self._region)
        expected = self._compare(phase, prefix, wanted, lambda name: ids is None or name in ids)
        yield from self._repair(phase, prefix, expected, self._synchroniser.sync_subnets)

    def _policies(self, phase: Phase, ids: Ids) -> Iterator[tuple[str, Outcome]]:
        prefix = prefix_of("NetworkPolicy", self._namespace)
        with _timed(phase):
            groups = reading.read_groups(ids).values()
            wanted = wanted_policies(groups, read_logs(ids), self._namespace)

        def is_own(name: str) -> bool:
            group_id = name.removeprefix(GROUP_POLICY)
            return group_id != name and (ids is None or group_id in ids)

        def repair(names: Collection[str]) -> dict[str, Outcome]:
            group_ids = [name.removeprefix(GROUP_POLICY) for name in names]
            return self._synchroniser.sync_groups(group_ids)

        yield from self._repair(phase, prefix, self._compare(phase, prefix, wanted, is_own), repair)

    def _endpoints(self, phase: Phase, ids: Ids) -> Iterator[tuple[str, Outcome]]:
        """Compare endpoints together with the migrations between them, which share their names."""
        with _timed(phase):
            wanted = self._synchroniser.wanted_endpoints(ids)
        expected: dict[str, Outcome] = {}
        for kind in (LiveMigration.KIND, WorkloadEndpoint.KIND):
            prefix = prefix_of(kind, self._namespace)
            found = self._compare(phase, prefix, wanted, lambda name: _is_own_endpoint(name, ids))
            expected |= {prefix + name: outcome for name, outcome in found.items()}

        def repair(paths: Collection[str]) -> dict[str, Outcome]:
            names = {path.rpartition("/")[2] for path in paths}
            return self._synchroniser.sync_ports([], left=names)

        yield from self._repair(phase, "", expected, repair)
        if not self._audit:
            self._synchroniser.tell(wanted.details.keys())
        yield from ((f"binding of port {port_id}", Outcome.UPDATED) for port_id in wanted.details)

    def _compare(
        self, phase: Phase, prefix: str, wanted: Wanted, is_own: Callable[[str], bool]
    ) -> dict[str, Outcome]:
        """Return the names (keys without ``prefix``) of keys that differ, and what they need.

        Keys that are stored and own, and that nobody wants, need to be deleted.
        """
        began = time.monotonic()
        contents = {path: c for path, c in wanted.contents.items() if path.startswith(prefix)}
        phase.wanted += len(contents)
        phase.problems = [
            str(problem)
            for problems in (*wanted.problems.values(), wanted.elsewhere)
            for problem in problems
        ]
        expected: dict[str, Outcome] = {}
        for kv in self._stored(prefix):
            name = kv.key.removeprefix(prefix)
            if not is_own(name):
                continue
            phase.stored += 1
            content = contents.pop(kv.key, None)
            if content is None:
                expected[name] = Outcome.DELETED
            elif new_value(kv.value, content) is not None:
                expected[name] = Outcome.UPDATED
        for path in contents:
            if wanted.content(path, is_stored=False):
                expected[path.removeprefix(prefix)] = Outcome.CREATED
        phase.comparing += time.monotonic() - began
        return expected

    def _stored(self, prefix: str) -> Iterator[KeyValue]:
        for page in self._client.iterate_prefix(prefix):
            yield from page.kvs

    def _repair(
        self,
        phase: Phase,
        prefix: str,
        expected: dict[str, Outcome],
        sync: Callable[[Collection[str]], dict[str, Outcome]],
    ) -> Iterator[tuple[str, Outcome]]:
        if self._audit:
            yield from ((prefix + name, outcome) for name, outcome in expected.items())
            return
        ordered = sorted(expected)
        for start in range(0, len(ordered), _AT_ONCE):
            outcomes = sync(ordered[start : start + _AT_ONCE])
            for path, outcome in outcomes.items():
                if outcome is not Outcome.UNCHANGED:
                    LOG.info("Resynchronisation: %s %s", path, outcome.value)
            yield from outcomes.items()
            self._progress(phase.name, min(start + _AT_ONCE, len(ordered)), len(ordered))

    # --- what exists once for the cluster -----------------------------------------------------

    def _cluster(self, phase: Phase) -> Iterator[tuple[str, Outcome]]:
        guid = uuid.uuid4().hex
        for kind, name, complete in (
            ("Tier", cluster.TIER_NAME, cluster.default_tier),
            ("FelixConfiguration", "default", _felix_configuration),
            (
                "ClusterInformation",
                "default",
                lambda s: cluster.cluster_information(s or {}, guid),
            ),
        ):
            phase.wanted += 1
            outcome = self._provide(kind, name, complete)
            phase.stored += outcome is not Outcome.CREATED
            yield ResourceKey(kind, name).path, outcome

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
            if self._audit or self._client.put_if_unchanged(path, document, revision) is not None:
                return Outcome.UPDATED if stored else Outcome.CREATED
        return Outcome.CONTESTED


def _felix_configuration(stored: dict[str, Any] | None) -> dict[str, Any]:
    spec = cluster.felix_configuration(stored or {})
    return cluster.logging_configuration(spec) if is_logging_offered() else spec


@contextmanager
def _phase(report: Report, name: str) -> Iterator[Phase]:
    phase = Phase(name)
    report.phases.append(phase)
    began = time.monotonic()
    try:
        yield phase
    finally:
        phase.total = time.monotonic() - began


@contextmanager
def _timed(phase: Phase) -> Iterator[None]:
    began = time.monotonic()
    yield
    phase.reading_neutron += time.monotonic() - began


def _is_own_endpoint(name: str, ids: Ids) -> bool:
    """Tell whether a name is one of ours; one that cannot be taken apart is if it looks so."""
    parsed = parse_workload_endpoint_name(name)
    if parsed is None:
        return ids is None and f"-{ORCHESTRATOR}-" in name
    return parsed[1] == ORCHESTRATOR and (ids is None or parsed[3] in ids)
