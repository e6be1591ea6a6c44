"""Makes etcd equal to the translation of Neutron's database, object by object.

Nothing is taken from the event that caused it: the keys concerned are read from etcd, then the
objects from the database, and what differs is written on condition that the key has not
changed since it was read. The order is what makes this safe with any number of servers and
threads: whoever writes a key after our reading makes our write fail, and we read again; whoever
commits to the database after our reading writes etcd after its commit, and finds our value.

Policies come before the endpoints whose labels put them into effect, and the announcement of a
migration before the endpoint that it is about.
"""

from __future__ import annotations

import dataclasses
import enum
import random
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime

from oslo_config import cfg
from oslo_log import log

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import (
    DhcpSubnetKey,
    ResourceKey,
    parse_workload_endpoint_name,
)
from calico_openstack.datamodel.resource import Resource
from calico_openstack.etcd import EtcdClient, Get, KeyValue
from calico_openstack.neutron import reading
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.projects import Keystone, Project, ProjectNames, no_projects
from calico_openstack.neutron.queries import Ids
from calico_openstack.neutron.reading_logs import read_logs
from calico_openstack.neutron.reading_ports import read_ports
from calico_openstack.neutron.translate.envelope import Birth, renewed
from calico_openstack.neutron.translate.facts import PortFacts, Problem
from calico_openstack.neutron.translate.labels import GROUP_LABEL
from calico_openstack.neutron.translate.order import migration_path, writing_order
from calico_openstack.neutron.translate.policy import policy_name
from calico_openstack.neutron.translate.qos import NO_LIMITS, Limits
from calico_openstack.neutron.translate.wanted import (
    Content,
    Wanted,
    endpoint_paths,
    wanted_endpoints,
    wanted_policies,
    wanted_subnets,
)

LOG = log.getLogger(__name__)

ATTEMPTS = 5
# etcd accepts 128 operations in a transaction unless configured otherwise.
_READS_AT_ONCE = 100
_PORTS_AT_ONCE = 200
_FIRST_PAUSE = 0.02


class Outcome(enum.Enum):
    """What became of a key."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    CONTESTED = "contested"


_OPEN = (None, Outcome.CONTESTED)


def new_birth() -> Birth:
    """Return what an object that is created now is given."""
    return Birth(str(uuid.uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def new_value(stored: bytes | None, content: Content) -> bytes | None:
    """Return the value to write so that ``content`` is stored, None where it is already."""
    if isinstance(content, DhcpSubnet):
        value = content.encode()
        return None if value == stored else value
    return renewed(stored, content, new_birth())


def store(
    client: EtcdClient, path: str, stored: KeyValue | None, content: Content | None
) -> Outcome:
    """Make one key hold ``content``, or nothing for None, unless it changed since ``stored``."""
    if content is None:
        if stored is None:
            return Outcome.UNCHANGED
        deleted = client.delete_if_unchanged(path, stored.mod_revision)
        return Outcome.DELETED if deleted else Outcome.CONTESTED
    value = new_value(stored.value if stored else None, content)
    if value is None:
        return Outcome.UNCHANGED
    written = decode(path, value)
    if isinstance(written, Invalid):
        # Written all the same: readers deny what they cannot use, whereas the value before
        # may allow what the database no longer does.
        LOG.error("What was translated is refused by its readers, and so denies: %s", written)
    revision = client.put_if_unchanged(path, value, stored.mod_revision if stored else 0)
    if revision is None:
        return Outcome.CONTESTED
    return Outcome.UPDATED if stored else Outcome.CREATED


class Synchroniser:
    """Synchronises single objects, within the request that changed them.

    All methods raise `EtcdError` when etcd fails; what was not written by then is left to the
    next resynchronisation. Safe to share between threads.
    """

    def __init__(
        self,
        client: EtcdClient,
        namespace: str,
        region: str,
        *,
        limits: Limits = NO_LIMITS,
        projects: ProjectNames | None = None,
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.region = region
        self._limits = limits
        self._projects = projects or ProjectNames(no_projects)

    def sync_ports(self, ids: Collection[str], left: Collection[str] = ()) -> dict[str, Outcome]:
        """Synchronise ports; ``left`` are names of endpoints that they may have had before."""
        result: dict[str, Outcome] = {}
        names: dict[str, set[str]] = {port_id: set() for port_id in ids}
        for name in left:
            parsed = parse_workload_endpoint_name(name)
            names.setdefault(parsed[3] if parsed else "", set()).add(name)
        for some in _portions(sorted(names), _PORTS_AT_ONCE):
            paths = {
                path
                for port_id in some
                for name in names[port_id]
                for path in endpoint_paths(name, self.namespace)
            }
            result |= self._converge(paths, self._wanted_endpoints(some), self._policies_first)
        return result

    def sync_groups(self, ids: Collection[str]) -> dict[str, Outcome]:
        """Synchronise policies: those of security groups, and of network logs by `LOG_POLICY`."""

        def wanted() -> Wanted:
            groups = reading.read_groups(ids).values()
            return wanted_policies(groups, read_logs(ids), self.namespace)

        return self._converge({policy_path(i, self.namespace) for i in ids}, wanted)

    def sync_subnets(self, ids: Collection[str]) -> dict[str, Outcome]:
        """Synchronise the DHCP agents' values of subnets."""

        def wanted() -> Wanted:
            return wanted_subnets(reading.read_subnets(ids).values(), self.region)

        return self._converge({DhcpSubnetKey(self.region, i).path for i in ids}, wanted)

    def _wanted_endpoints(self, ids: Collection[str]) -> Callable[[], Wanted]:
        return lambda: self.wanted_endpoints(ids)

    def wanted_endpoints(self, ids: Ids) -> Wanted:
        """Return what must be stored for ports; for None of all of them."""
        ports = read_ports(ids).values()
        known = self._projects.look_up({port.project_id for port in ports if port.project_id})
        named = (_with_project(port, known.get(port.project_id or "")) for port in ports)
        return wanted_endpoints(named, self.namespace, self._limits)

    def _policies_first(self, endpoints: Collection[Content]) -> None:
        """Write the policies of groups that nobody has written yet.

        Those that are there follow their groups by themselves.
        """
        groups = {
            policy_path(label.removeprefix(GROUP_LABEL), self.namespace): label.removeprefix(
                GROUP_LABEL
            )
            for endpoint in endpoints
            if isinstance(endpoint, Resource)
            for label in endpoint.metadata.labels
            if label.startswith(GROUP_LABEL)
        }
        stored = get_many(self.client, groups)
        missing = {group for path, group in groups.items() if stored[path] is None}
        if missing:
            self.sync_groups(missing)

    def _converge(
        self,
        paths: Collection[str],
        wanted: Callable[[], Wanted],
        prepare: Callable[[Collection[Content]], None] | None = None,
    ) -> dict[str, Outcome]:
        """Make keys hold what ``wanted`` says; those in ``paths`` that it does not name vanish.

        ``prepare`` is called with what will be put, before it is.
        """
        result: dict[str, Outcome] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))
            stored, now = self._view(paths, wanted)
            contents = {path: now.content(path, kv is not None) for path, kv in stored.items()}
            if prepare is not None:
                prepare([c for path, c in contents.items() if c and _differs(stored[path], c)])
            removed = {path for path, content in contents.items() if content is None}
            for path in writing_order(stored, removed):
                if result.get(migration_path(path) or "") is Outcome.CONTESTED:
                    result[path] = Outcome.CONTESTED
                    continue
                outcome = store(self.client, path, stored[path], contents[path])
                if outcome in (Outcome.CREATED, Outcome.UPDATED):
                    report(now.problems.get(path, ()))
                if (
                    outcome is not Outcome.UNCHANGED
                    or path not in result
                    or result[path] is Outcome.CONTESTED
                ):
                    result[path] = outcome
            if Outcome.CONTESTED not in result.values() and stored.keys() >= now.paths:
                report(now.elsewhere)
                return result
        contested = [path for path, outcome in result.items() if outcome is Outcome.CONTESTED]
        LOG.warning(
            "Others kept writing the same keys; left to the next resynchronisation: %s",
            ", ".join(contested),
        )
        return result

    def _view(
        self, paths: Collection[str], wanted: Callable[[], Wanted]
    ) -> tuple[dict[str, KeyValue | None], Wanted]:
        """Read etcd and then the database, until no key is wanted that was not read before."""
        stored = get_many(self.client, paths)
        for _ in range(ATTEMPTS):
            now = wanted()
            missing = now.paths - stored.keys()
            if not missing:
                break
            stored |= get_many(self.client, missing)
        return stored, now


def make_synchroniser(client: EtcdClient, settings: Settings) -> Synchroniser:
    """Return the synchroniser of a cloud with these settings."""
    projects = ProjectNames(Keystone(cfg.CONF.config_file or ()))
    return Synchroniser(
        client,
        settings.namespace,
        settings.region_string,
        limits=settings.limits,
        projects=projects if settings.project_names else None,
    )


def _with_project(port: PortFacts, project: Project | None) -> PortFacts:
    if project is None:
        return port
    return dataclasses.replace(port, project_name=project.name, project_parent_id=project.parent_id)


def policy_path(group_id: str, namespace: str) -> str:
    """Return the key of a security group's policy."""
    return ResourceKey("NetworkPolicy", policy_name(group_id), namespace).path


def get_many(client: EtcdClient, paths: Iterable[str]) -> dict[str, KeyValue | None]:
    """Read keys, in few round trips; each transaction's keys are of one revision."""
    result: dict[str, KeyValue | None] = {}
    for some in _portions(sorted(paths), _READS_AT_ONCE):
        if not some:
            break
        if len(some) == 1:
            result[some[0]] = client.get(some[0])
            continue
        responses = client.txn((), [Get(path) for path in some]).responses
        for path, response in zip(some, responses, strict=True):
            assert isinstance(response, tuple)
            result[path] = response[0] if response else None
    return result


def report(problems: Iterable[Problem]) -> None:
    """Log what cannot be honoured."""
    for problem in problems:
        LOG.warning("Cannot be honoured, and stays closed: %s", problem)


def _differs(stored: KeyValue | None, content: Content) -> bool:
    return stored is None or new_value(stored.value, content) is not None


def _portions(items: list[str], size: int) -> Iterator[list[str]]:
    """Yield a list in portions; one empty portion for an empty list."""
    for start in range(0, max(len(items), 1), size):
        yield items[start : start + size]
